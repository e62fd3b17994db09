"""How much work a video is, from its header alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from vqafeat.datasets import Dataset
from vqafeat.errors import VideoError
from vqafeat.remote import RemoteFile
from vqafeat.video.reader import stated_samples

_READING = 8  # headers at a time: on a network's file system each waits for several round trips


def costs(dataset: Dataset) -> list[int]:
    """Return frames × pixels of each video as its header states them; 0 where it cannot be opened, which is soon found out.

    Of videos at a URL it is their bytes, which the listing told: each header would cost several requests.
    """

    def cost(row: int) -> int:
        video = dataset.videos[row]
        assert video.path is not None
        if isinstance(video.path, RemoteFile):
            return video.path.size_bytes
        try:
            return stated_samples(video.path, dataset.raw_for(video))
        except VideoError:
            return 0  # whoever decodes it says why

    with ThreadPoolExecutor(_READING, "headers") as pool:
        return list(pool.map(cost, range(len(dataset.videos))))


def longest_first(dataset: Dataset, size: int) -> list[Dataset]:
    """Divide the videos into shares of `size`, those that cost most first."""
    known = costs(dataset)
    rows = sorted(range(len(known)), key=lambda row: -known[row])
    bare = replace(dataset, stored_permutations=None)  # these splits are of no use to a share, and cutting them takes long
    return [bare.subset(rows[start : start + size]) for start in range(0, len(rows), size)]
