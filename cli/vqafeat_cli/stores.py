"""Which data set and which store a command means."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from vqafeat.datasets import Dataset, default_root, load_dataset, load_manifest, manifest_names
from vqafeat.errors import DatasetError, StoreError
from vqafeat.remote import StorePath, cache_folder
from vqafeat.store import FeatureStore, store_path, stores_in
from vqafeat.store.cache import Cache, cached_copy
from vqafeat.system import parse_bytes
from vqafeat.training.data import FeatureReader, split_feature_sets
from vqafeat.training.joint_store import JointStore


def load_with_root(
    name_or_path: str, root: StorePath | None, labels: Sequence[Path]
) -> tuple[Dataset, StorePath]:
    """Load a data set whose videos are needed, and say where they lie; label files are looked for on this
    machine alone.

    Raises:
        DatasetError: no folder of videos is known.
    """
    usual = default_root(name_or_path)
    folder = root or usual
    dataset = load_dataset(
        name_or_path, folder if isinstance(folder, Path) else usual, labels_argument(labels)
    )
    if folder is None:
        raise DatasetError(
            f"the videos of '{name_or_path}' are not named: set VQAFEAT_DATA to the folder that holds "
            f"'{name_or_path}/', "
            "or give --root FOLDER, or --root s3://bucket/prefix."
        )
    return dataset, folder


def labels_argument(labels: Sequence[Path]) -> Path | Sequence[Path] | None:
    """Return what `--labels`, given any number of times, is to `load_dataset`: one path may be a folder."""
    return labels[0] if len(labels) == 1 else (labels or None)


def is_own_file(name_or_path: str) -> bool:
    """Tell whether a data set is named by the path of its own CSV or manifest."""
    return name_or_path.lower().endswith((".csv", ".toml"))


def stored_name(name_or_path: str) -> str:
    """Return the name under which a data set is stored; its videos and labels need not be at hand."""
    if not is_own_file(name_or_path):
        return name_or_path
    return (
        load_dataset(name_or_path).name
        if name_or_path.lower().endswith(".csv")
        else load_manifest(name_or_path).name
    )


def open_store(folder: StorePath, dataset: str | None) -> FeatureStore:
    """Open the store of a data set below a folder; without a name, the only one there.

    Raises:
        StoreError: there is none, or there are several and none is named.
    """
    if dataset is not None:
        name = stored_name(dataset)
        path = store_path(folder, name)
        if not path.exists() and name in manifest_names():
            raise StoreError(
                f"no features of '{name}' in '{folder}'; make them with `vqafeat extract --dataset {name} "
                f"--backbone resnet50`."
            )
        return FeatureStore.open(path)
    found = stores_in(folder)
    if len(found) != 1:
        names = ", ".join(path.stem for path in found)
        what = (
            f"several: {names}; name one with --dataset"
            if found
            else "none; make one with `vqafeat extract --dataset NAME --backbone resnet50`"
        )
        raise StoreError(f"the store '{folder}' was asked for its only data set, but holds {what}.")
    return FeatureStore.open(found[0])


def open_stores(
    folder: StorePath, datasets: Sequence[str], any_features: bool = False
) -> FeatureStore | JointStore:
    """Open the store of a data set below a folder, or those of several as one; without a name, the only one
    there.

    Raises:
        StoreError: one is missing, or there are several and none is named.
        ArgumentError: a data set is named twice.
    """
    if len(datasets) < 2:
        return open_store(folder, datasets[0] if datasets else None)
    return JointStore([open_store(folder, name) for name in datasets], any_features)


def with_local_copies(
    stack: ExitStack, source: FeatureStore | JointStore, feature_sets: str, most_copied: str | None
) -> FeatureStore | JointStore:
    """Return stores that are read quickly: copies on the local disk of those at a URL; the stack holds them
    there.

    Args:
        stack: lets the copy go at its end.
        source: as it was opened.
        feature_sets: that are needed, joined by +.
        most_copied: what `--cache` says.
    """
    most = None if most_copied is None else 0 if most_copied == "none" else parse_bytes(most_copied)
    where = Cache(cache_folder("stores"), most)

    def copied(store: FeatureStore) -> FeatureStore:
        return stack.enter_context(
            cached_copy(
                store, split_feature_sets(feature_sets), where, lambda words: click.echo(words, err=True)
            )
        )

    return copied(source) if isinstance(source, FeatureStore) else source.replaced(copied)


def local_copies_for_tables(
    stack: ExitStack, most_copied: str | None, wanted: Mapping[str, set[str]]
) -> Callable[[FeatureReader, str], FeatureReader]:
    """Return what does `with_local_copies` for the stores of tables: once for each store, with all feature
    sets that the tables want of it.

    Args:
        stack: lets the copies go at its end.
        most_copied: what `--cache` says.
        wanted: data set → feature sets.
    """
    if most_copied is not None and most_copied != "none":
        parse_bytes(most_copied)  # refused before the work starts
    known: dict[StorePath, FeatureReader] = {}

    def copied(source: FeatureReader, feature_sets: str) -> FeatureReader:
        if not isinstance(source, FeatureStore):
            return source
        if source.path not in known:
            there = wanted.get(source.dataset_name, set()) & set(source.feature_sets())
            found = with_local_copies(
                stack, source, "+".join(sorted(there | set(split_feature_sets(feature_sets)))), most_copied
            )
            assert isinstance(found, FeatureStore)
            known[source.path] = found
        return known[source.path]

    return copied


def chosen_features(source: FeatureReader, features: str | None) -> str:
    """Return the feature sets asked for; without any, the only one that the data sets have.

    Raises:
        StoreError: there are several and none is named.
    """
    if features is not None:
        return features
    found = source.feature_sets()
    if len(found) != 1:
        common = " in common" if len(source.datasets) > 1 else ""
        raise StoreError(
            f"the store of '{source.dataset.name}' holds the feature sets "
            f"{', '.join(found) or '(none)'}{common}; "
            "name one, or several joined by +, with --features."
        )
    return found[0]
