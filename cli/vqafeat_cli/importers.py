"""`vqafeat import` and `vqafeat export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import option

import vqafeat as vf
from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.options import PATH

if TYPE_CHECKING:
    from vqafeat.extraction.importers import ImportSummary

_KNOWN_OR_OWN = "Known data set, manifest or CSV; or a new name, for which the labels are those in the files."
_LARGEST = "For VSFA: the value by which the labels were divided.  [default: the largest MOS of the data set]"
_TRAINED_ON = "Data set of the head's training; if there are several, the one whose label scale is used."
_SET_NAME = "Name of the feature set.  [default: the network in the file's name, else the file's name]"
_root = option("--root", type=PATH, help=f"Folder of the label files.  {options.ROOT_DEFAULT}")
_where_options = options.together(_root, options.labels_option, options.store_option)


@click.group(name="import")
def importing() -> None:
    """Import published features and heads."""


@importing.command()
@click.argument("folder", type=PATH)
@option("--dataset", required=True, metavar="NAME|FILE", help=_KNOWN_OR_OWN)
@_where_options
def vsfa(folder: Path, dataset: str, **where: Any) -> int:
    """Import a feature folder of VSFA, MDTVSFA or Li et al.

    The folder holds <index>_score.npy for each video, and <index>_resnet-50_res5c.npy or
    <index>_ResNet-50_last_conv.npy, which becomes `resnet50`, or <index>_SpatialMotion_last_conv.npy, which
    becomes `iqa-resnet50` and `slowfast-fast`. With a known data set, the index is the position in its label
    list, and the scores are checked against it. With a new name, videos are named by their index, and the
    scores are the labels.

    \b
    Examples:
      vqafeat import vsfa CNN_features_KoNViD-1k/ --dataset konvid --labels KoNViD-1kinfo.mat
      vqafeat import vsfa my_features/ --dataset mine
    """
    from vqafeat.datasets import manifest_names
    from vqafeat.extraction.importers import import_vsfa, vsfa_dataset

    known = dataset in manifest_names() or Path(dataset).suffix.lower() in (".csv", ".tsv", ".toml")
    loaded, path = _labels_and_store(dataset if known else vsfa_dataset(folder, dataset), **where)
    return _print_summary(path, import_vsfa(folder, loaded, path))


@importing.command()
@click.argument("file", type=PATH)
@options.dataset_option
@_where_options
@option("--name", metavar="SET", help=_SET_NAME)
@option("--key", help="Variable in the file.  [default: the only matrix]")
def mat(file: Path, dataset: str, name: str | None, key: str | None, **where: Any) -> int:
    """Import a feature matrix from a .mat file.

    The matrix is (video, channel), with one row per video in the order of the label list. If the file name
    contains the name of a network with the same number of channels, the feature set is named after it.

    \b
    Example:
      vqafeat import mat CVD2014_ResNet-50_feature.mat --labels CVD2014info.mat --dataset cvd2014
    """
    from vqafeat.extraction.importers import import_matrix

    loaded, path = _labels_and_store(dataset, **where)
    return _print_summary(path, import_matrix(file, loaded, path, name, key))


@importing.command()
@click.argument("file", type=PATH)
@option("--out", required=True, type=PATH, help="Run folder to write.")
@option("--dataset", default="konvid", metavar="NAME", help=_TRAINED_ON)
@option("--features", metavar="SET[+SET]", help="Feature sets of the head.  [default: by its channels]")
@option("--largest-label", type=float, help=_LARGEST)
def head(file: Path, out: Path, dataset: str, features: str | None, largest_label: float | None) -> None:
    """Import a head of VSFA, MDTVSFA or Li et al. as a run folder.

    The file has to be written by the released code of one of these papers.

    \b
    Examples:
      vqafeat import head VSFA.pt --out runs/vsfa-released
      vqafeat import head MDTVSFA.pt --dataset cvd2014 --out runs/mdtvsfa-released
    """
    from vqafeat.datasets import load_manifest
    from vqafeat.evaluation.import_head import import_head

    run = import_head(file, out, load_manifest(dataset), largest_label, features)
    click.echo(f"run folder: {run}")


def _labels_and_store(
    dataset: "str | vf.Dataset", root: Path | None, labels: tuple[Path, ...], store: StorePath
) -> "tuple[vf.Dataset, StorePath]":
    from vqafeat.store import store_path

    if isinstance(dataset, str):
        dataset = vf.load_dataset(dataset, root, labels or None)
        if dataset.note:
            click.echo(dataset.note, err=True)
    return dataset, store_path(store, dataset.name)


def _print_summary(store: StorePath, summary: "ImportSummary") -> int:
    imported = f"{summary.imported} videos imported as '{summary.feature_set}'"
    click.echo(f"{store}: {imported}, {summary.channels} channels.")
    if not summary.left_out:
        return 0
    left_out, first = len(summary.left_out), ", ".join(summary.left_out[:3])
    click.echo(f"{left_out} videos were left out: their features are not finite (first: {first}).", err=True)
    return options.FINISHED_WITH_FAILURES


@click.command()
@click.argument("store")
@options.paths_option("store")
@option("--format", required=True, help="npy, pt, hdf5, parquet or vsfa; see above.")
@option("--out", required=True, type=PATH, help="Folder or file to write.")
@option("--features", metavar="SET[+SET]", help=f"Feature sets, joined by +.  {options.ONLY_ONE}")
@options.skip_missing_option
def export(store: StorePath, format: str, out: Path, features: str | None, skip_missing: bool) -> int:
    """Write features and labels as files that other programs read.

    \b
    npy      a folder: for each video NAME.npy (row, channel), NAME.frame.npy and NAME.seconds.npy
    pt       a folder: a dictionary of tensors per video, for torch.load
    hdf5     a file: a group per video with features, frame and seconds, and its labels as attributes
    parquet  a file: a row per feature row, values as float32
    vsfa     a folder that the training scripts of VSFA, MDTVSFA and Li et al. read, with its info.mat

    The folders of npy and pt have videos.csv, which lists the files and labels, and features.json, which says
    what the features are.

    \b
    Examples:
      vqafeat export features/konvid.zarr --features resnet50 --format npy --out konvid-npy
      vqafeat export features/konvid.zarr --features resnet50 --format parquet --out konvid.parquet
      vqafeat export features/mine.zarr --features iqa-resnet50+slowfast-fast --format vsfa --out mine-li
    """
    from vqafeat.store.export import export_features

    summary = export_features(vf.FeatureStore.open(store), out, format, features or "", skip_missing)
    click.echo(f"wrote {summary.out}: {summary.videos} videos, {summary.channels} channels")
    if not summary.left_out:
        return 0
    count, first = len(summary.left_out), ", ".join(summary.left_out[:3])
    problem = f"{count} of {summary.videos + count} videos have no complete features"
    click.echo(f"left out: {problem} (first: {first}).", err=True)
    return options.FINISHED_WITH_FAILURES
