"""Small data sets for tests, and where the real ones are."""

import os
from pathlib import Path

from vqafeat.datasets import Dataset, Video, load_dataset, locate_videos

# real data: next to the checkout, or where the environment says
SHARED_DATA = Path(os.environ.get("VQAFEAT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def bare_dataset(names: list[str], name: str = "small") -> Dataset:
    """A data set whose videos have no files."""
    videos = tuple(Video(name=item, mos=float(index), content=item) for index, item in enumerate(names))
    return Dataset(
        name, name, "MOS", (0.0, float(len(names))), videos, "labels.csv", digest=f"digest of {names}"
    )


def csv_dataset(folder: Path, names: list[str]) -> Dataset:
    """An own data set: a CSV over the files in `folder`, located."""
    rows = "".join(f"{name},{index}.5\n" for index, name in enumerate(names))
    (folder / "scores.csv").write_text("video,mos\n" + rows)
    return locate_videos(load_dataset(str(folder / "scores.csv")), folder).dataset
