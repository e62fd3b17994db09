"""Which data set a command means, and where its videos lie."""

import os
from pathlib import Path

from vqafeat.errors import StoreError
from vqafeat.manifest import Dataset, load_dataset
from vqafeat.store import FeatureStore, store_path

DATA_VARIABLE = "VQAFEAT_DATA"


def video_root(name_or_path: str, root: Path | None) -> Path | None:
    """Return the folder of a data set's videos: `root`, the folder of one's own CSV or manifest, VQAFEAT_DATA/<name>, or None."""
    if root is not None:
        return root
    if Path(name_or_path).suffix in (".csv", ".toml"):
        return Path(name_or_path).parent
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder) / name_or_path if folder else None


def load_with_root(name_or_path: str, root: Path | None, labels: Path | None) -> tuple[Dataset, Path]:
    """Load a data set whose videos are needed, and say where they lie.

    Raises:
        DatasetError: no folder of videos is known.
    """
    from vqafeat.errors import DatasetError

    folder = video_root(name_or_path, root)
    dataset = load_dataset(name_or_path, folder, labels)
    if folder is None:
        raise DatasetError(
            f"the videos of '{name_or_path}' are not named: set {DATA_VARIABLE} to the folder that holds '{name_or_path}/', "
            "or give --root FOLDER."
        )
    return dataset, folder


def open_store(folder: Path, dataset: str | None) -> FeatureStore:
    """Open the store of a data set below a folder; without a name, the only one there.

    Raises:
        StoreError: there is none, or there are several and none is named.
    """
    if dataset is not None:
        name = load_dataset(dataset).name if Path(dataset).suffix in (".csv", ".toml") else dataset
        return FeatureStore.open(store_path(folder, name))
    found = sorted(folder.glob("*.zarr")) if folder.is_dir() else []
    if len(found) != 1:
        names = ", ".join(path.stem for path in found)
        what = (
            f"several ({names}); name one with --dataset"
            if found
            else "none; make one with `vqafeat extract --dataset NAME --backbone resnet50`"
        )
        raise StoreError(f"the store '{folder}' was asked for its only data set, but holds {what}.")
    return FeatureStore.open(found[0])
