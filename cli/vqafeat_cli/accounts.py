"""What `show` says of a store and of one video in it: what there is, and where each number came from."""

from collections.abc import Iterator, Sequence
from typing import Any

from vqafeat.datasets import Video
from vqafeat.errors import StoreError
from vqafeat.store import FeatureStore, content_digest

WORDS = 19  # columns before a value


def store_lines(store: FeatureStore, digest: bool) -> Iterator[str]:
    """Yield what a store holds, and what its feature sets depend on."""
    dataset = store.dataset
    low, high = dataset.mos_range
    yield f"{store.path}: {dataset.title}, {len(dataset.videos)} videos, {dataset.score_name} {low:g} to {high:g} from {dataset.label_list}"
    yield f"  layout: {store.layout.name}"
    if digest:
        yield f"  content: {content_digest(store)}"
    if dataset.scale:
        yield f"  scale: {dataset.scale}"
    for name in store.feature_sets():
        yield f"  {name}: {len(store.complete_videos(name))} videos complete"
        for key, value in store.identity(name).as_dict().items():
            yield f"    {key:16} {value}"


def video_lines(stores: Sequence[FeatureStore], name: str) -> Iterator[str]:
    """Yield where all that is stored of a video came from: its label, its file, its frames, its rows, in each store that has it.

    Raises:
        StoreError: no data set has such a video.
    """
    having = [(store, video) for store in stores for video in store.dataset.videos if video.name == name]
    if not having:
        where = ", ".join(f"'{store.path}'" for store in stores)
        example = stores[0].dataset.videos[0].name
        raise StoreError(f"{where} has no video '{name}'; give a name as the label list writes it, such as '{example}'.")
    for store, video in having:
        yield from _one_video(store, video)


def _one_video(store: FeatureStore, found: Video) -> Iterator[str]:
    dataset, name = store.dataset, found.name
    yield f"{store.path}, {name}"
    part = f", official part {found.split}" if found.split else ""
    yield line("label", f"{dataset.score_name} {found.mos:g} of {dataset.label_list}, content {found.content}{part}")
    source, seconds = store.source(name), store.seconds(name)
    if source is None or seconds is None:
        yield line("file", "not known here: its features were imported, or are still to be extracted")
    else:
        yield line("file", ", ".join(f"{key} {value}" for key, value in source.items()))
        yield line("frames", f"{len(seconds)}, {seconds[0]:.3f} to {seconds[-1]:.3f} seconds")
    for feature_set in store.feature_sets():
        stored = store.stored(feature_set, name)
        if stored is None:
            yield line(feature_set, "not stored")
            continue
        rows = store.read(feature_set, name).values
        yield line(
            feature_set, f"{rows.shape[0]} rows of {rows.shape[1]} channels, {rows.dtype}; {made(store.identity(feature_set).as_dict())}"
        )


def made(identity: dict[str, Any]) -> str:
    """Return in a line what the numbers of a feature set depend on."""
    return (
        ", ".join(f"{key} {value}" for key, value in identity.items() if key not in ("channels", "origin")) + f"; by {identity['origin']}"
    )


def line(what: str, words: str) -> str:
    """Return words under the heading that says what they are of."""
    return f"  {what:{WORDS}} {words}"
