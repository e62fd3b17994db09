"""Data sets and stores that commands name by --dataset, --root and --store."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click

from vqafeat.datasets import Dataset, load_dataset, load_manifest, manifest_names
from vqafeat.datasets.load import TABLE_ENDINGS
from vqafeat.datasets.locate import is_video_source
from vqafeat.errors import DatasetError, StoreError
from vqafeat.remote import StorePath, cache_folder
from vqafeat.store import FeatureStore, store_path, stores_in
from vqafeat.store.cache import Cache, cached_copy
from vqafeat.training.joint_store import JointStore


def load_with_root(
    name_or_path: str, root: StorePath | None, labels: Sequence[Path]
) -> tuple[Dataset, StorePath]:
    """Load a data set and return it with the folder of its videos; label files are local."""
    dataset = load_dataset(name_or_path, root if isinstance(root, Path) else None, labels or None)
    if dataset.note:
        click.echo(dataset.note, err=True)
    folder = root or dataset.root
    if folder is None:
        raise DatasetError(
            f"the folder of the videos of '{name_or_path}' is not given; set VQAFEAT_DATA to the folder that "
            f"holds '{name_or_path}/', or give --root FOLDER or --root s3://bucket/prefix."
        )
    return dataset, folder


def open_store(folder: StorePath, dataset: str | None, usual: str = "") -> FeatureStore:
    """Open the store of a data set below a folder; without a name, the only store, or that of `usual`."""
    command = "vqafeat extract --dataset {} --backbone resnet50"
    if dataset is not None:
        name = dataset
        if is_video_source(dataset) or dataset.lower().endswith(TABLE_ENDINGS):
            name = load_dataset(dataset).name
        elif dataset.lower().endswith(".toml"):
            name = load_manifest(dataset).name
        path = store_path(folder, name)
        if not path.exists() and name in manifest_names():
            next_step = f"make them with `{command.format(name)}`"
            raise StoreError(f"no features of '{name}' in '{folder}'; {next_step}.")
        return FeatureStore.open(path)
    paths = stores_in(folder)
    if not paths:
        raise StoreError(f"the store '{folder}' holds no data set; make one with `{command.format('NAME')}`.")
    own = [path for path in paths if usual and path == store_path(folder, usual)] or paths
    if len(own) > 1:
        names = ", ".join(path.stem for path in own)
        raise StoreError(f"the store '{folder}' holds several data sets ({names}); name one with --dataset.")
    return FeatureStore.open(own[0])


def open_stores(
    folder: StorePath, datasets: Sequence[str], any_features: bool = False
) -> FeatureStore | JointStore:
    """Open the store of a data set below a folder, or those of several as one."""
    if len(datasets) < 2:
        return open_store(folder, datasets[0] if datasets else None)
    return JointStore([open_store(folder, name) for name in datasets], any_features)


@contextmanager
def local_copies(
    source: FeatureStore | JointStore, feature_sets: Collection[str], cache_bytes: int | None
) -> Iterator[FeatureStore | JointStore]:
    """Yield the store, with local copies of at most `cache_bytes` in place of stores at a URL."""
    cache, log = Cache(cache_folder("stores"), cache_bytes), partial(click.echo, err=True)
    with ExitStack() as stack:

        def copy(store: FeatureStore) -> FeatureStore:
            return stack.enter_context(cached_copy(store, sorted(feature_sets), cache, log))

        yield copy(source) if isinstance(source, FeatureStore) else source.replaced(copy)
