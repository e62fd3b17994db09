"""`vqafeat import`: features and heads that others made."""

from pathlib import Path

import click

from vqafeat.remote import StorePath
from vqafeat_cli.options import FINISHED_WITH_FAILURES, labels_option, root_option, store_option

dataset_name_option = click.option(
    "--dataset",
    required=True,
    metavar="NAME",
    help="A known data set, or a name of your own where the files hold the labels.",
)


@click.group(name="import")
def importing() -> None:
    """Bring features and heads that others made into a store or a run folder."""


@importing.command()
@click.argument("folder", type=click.Path(path_type=Path))
@dataset_name_option
@root_option
@labels_option
@store_option
def vsfa(folder: Path, dataset: str, root: Path | None, labels: tuple[Path, ...], store: StorePath) -> None:
    """Import a VSFA feature folder (<index>_resnet-50_res5c.npy with <index>_score.npy) as the feature set
    `resnet50`.

    With a known data set, the index counts in its label list and the scores are compared with it; with a name
    of your own, videos are named by their index and the scores are the labels.

    \b
    Examples:
      vqafeat import vsfa CNN_features_KoNViD-1k/ --dataset konvid --labels KoNViD-1kinfo.mat
      vqafeat import vsfa my_features/ --dataset mine
    """
    from vqafeat.datasets import load_dataset, manifest_names
    from vqafeat.extraction.importers import import_vsfa, vsfa_dataset
    from vqafeat.store import FeatureStore, store_path
    from vqafeat_cli.stores import is_own_file, labels_argument

    known = dataset in manifest_names() or is_own_file(dataset)
    target = load_dataset(dataset, root, labels_argument(labels)) if known else vsfa_dataset(folder, dataset)
    feature_store = FeatureStore.create(store_path(store, target.name), target)
    summary = import_vsfa(folder, target, feature_store)
    _tell(feature_store.path, summary.feature_set, summary.imported, summary.channels, summary.left_out)


@importing.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    required=True,
    metavar="NAME|FILE",
    help="A known data set, a manifest (.toml), or your own CSV.",
)
@root_option
@labels_option
@store_option
@click.option("--name", metavar="SET", help="Name of the feature set.  [default: the file's name]")
@click.option("--key", help="Variable in the file.  [default: the only matrix]")
def mat(
    file: Path,
    dataset: str,
    root: Path | None,
    labels: tuple[Path, ...],
    store: StorePath,
    name: str | None,
    key: str | None,
) -> None:
    """Import a (video, channel) matrix of a .mat file, whose rows are in the order of the label list: one row
    a video.

    \b
    Example:
      vqafeat import mat CVD2014_ResNet-50_feature.mat --labels CVD2014info.mat --dataset cvd2014
    """
    from vqafeat.datasets import load_dataset
    from vqafeat.extraction.importers import import_matrix
    from vqafeat.store import FeatureStore, store_path
    from vqafeat_cli.stores import labels_argument

    target = load_dataset(dataset, root, labels_argument(labels))
    feature_store = FeatureStore.create(store_path(store, target.name), target)
    summary = import_matrix(file, target, feature_store, name or file.stem, key)
    _tell(feature_store.path, summary.feature_set, summary.imported, summary.channels, summary.left_out)


@importing.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder to make.")
@click.option(
    "--dataset",
    default="konvid",
    show_default=True,
    help="Data set that the head was trained on, or of several the one whose scale the score is to have.",
)
@click.option(
    "--features", metavar="SET[+SET]", help="Feature sets that the head takes.  [default: by their width]"
)
@click.option(
    "--score-scale",
    type=float,
    help="VSFA alone: largest label, by which labels were divided in training.  [default: the data set's "
    "largest MOS]",
)
def head(file: Path, out: Path, dataset: str, features: str | None, score_scale: float | None) -> None:
    """Import a head that the released code of VSFA, MDTVSFA or Li et al. trained, as a run folder; the file's
    names say which it is.

    \b
    Examples:
      vqafeat import head VSFA.pt --out runs/vsfa-released
      vqafeat import head MDTVSFA.pt --dataset live-vqc --out runs/mdtvsfa-released
    """
    from vqafeat.datasets import load_manifest
    from vqafeat.evaluation.import_head import import_head

    manifest = load_manifest(dataset)
    run = import_head(
        file, out, score_scale, manifest.name, manifest.score_name, manifest.mos_range, features
    )
    click.echo(f"run folder: {run}")


def _tell(
    store: StorePath, feature_set: str, imported: int, channels: int, left_out: tuple[str, ...]
) -> None:
    click.echo(f"{store}: {imported} videos imported as '{feature_set}', {channels} channels.")
    if left_out:
        click.echo(
            f"{len(left_out)} videos left out, whose features are not finite (first: "
            f"{', '.join(left_out[:3])}).",
            err=True,
        )
        click.get_current_context().exit(FINISHED_WITH_FAILURES)
