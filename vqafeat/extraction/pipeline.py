"""One video through all networks in one decode pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqafeat.errors import ArgumentError, VideoError
from vqafeat.extraction.backbones import BACKBONES
from vqafeat.extraction.pooling import POOLING, gap_gsp
from vqafeat.extraction.video import RAW_SUFFIXES, Frame, VideoReader, decoder_identity
from vqafeat.extraction.views import VIEWS, View, normalised
from vqafeat.extraction.weights import LoadedNetwork, load_network
from vqafeat.features import FeatureSetIdentity, FrameTable, VideoFeatures
from vqafeat.manifest import RawGeometry

STORED_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}


@dataclass(frozen=True)
class Extractor:
    """A network under a view: what computes the rows of one feature set."""

    feature_set: str
    loaded: LoadedNetwork
    view_name: str
    view: View
    dtype: np.dtype[Any]

    @property
    def identity(self) -> FeatureSetIdentity:
        """What the rows depend on."""
        backbone = self.loaded.backbone
        return FeatureSetIdentity(
            network=backbone.name,
            weights_sha256=self.loaded.weights_sha256,
            taps=backbone.taps,
            pooling=POOLING,
            view=self.view_name,
            frame_rule="every frame",
            normalisation=f"RGB/255, mean {backbone.mean}, std {backbone.std}",
            decoder=decoder_identity(),
            precision=f"computed in float32, stored in {self.dtype}",
            channels=2 * backbone.channels,
            weights=self.loaded.weights,
        )

    @torch.inference_mode()
    def rows(self, frames: torch.Tensor) -> npt.NDArray[Any]:
        """Return (batch, channel) rows for (batch, height, width, 3) uint8 frames."""
        backbone = self.loaded.backbone
        maps = self.loaded.network(self.view(normalised(frames, backbone.mean, backbone.std)))
        # a value beyond float16's range becomes infinite here, and is refused with the video's name when all rows are there
        with np.errstate(over="ignore"):
            return gap_gsp(maps).numpy().astype(self.dtype)


def build_extractors(feature_sets: Sequence[str], weights: dict[str, str], dtype: str = "float16") -> list[Extractor]:
    """Load the networks of feature sets such as `resnet50` or `resnet50@full`, each once.

    Args:
        feature_sets: a backbone's name and, after `@`, a view's; `@full` where none is given.
        weights: for each backbone `imagenet`, `random`, `random:SEED` or a file's path.
        dtype: `float16` or `float32`, as the rows are stored.
    """
    if dtype not in STORED_DTYPES:
        raise ArgumentError(f"dtype '{dtype}' is not one of {', '.join(STORED_DTYPES)}.")
    parsed = {feature_set_name(name): _network_and_view(name) for name in feature_sets}
    views = {view: VIEWS.get(view) for _, view in parsed.values()}
    backbones = {network: BACKBONES.get(network) for network, _ in parsed.values()}
    loaded = {name: load_network(backbone, weights.get(name, "imagenet")) for name, backbone in backbones.items()}
    return [Extractor(name, loaded[network], view, views[view], STORED_DTYPES[dtype]) for name, (network, view) in parsed.items()]


def feature_set_name(name: str) -> str:
    """Return the one name of a feature set: the default view is not spelt out."""
    network, view = _network_and_view(name)
    return network if view == "full" else f"{network}@{view}"


def backbone_names(feature_sets: Iterable[str]) -> list[str]:
    """Return the backbones behind feature sets, each once, in order."""
    return list(dict.fromkeys(_network_and_view(name)[0] for name in feature_sets))


def _network_and_view(name: str) -> tuple[str, str]:
    network, _, view = name.partition("@")
    return network, view or "full"


@dataclass(frozen=True)
class ExtractedVideo:
    """All that one decode pass found out about a video."""

    table: FrameTable
    features: dict[str, VideoFeatures]


def extract_video(
    path: Path,
    extractors: Sequence[Extractor],
    raw: RawGeometry | None = None,
    batch_frames: int = 2,
    on_frames: Callable[[int], object] = lambda count: None,
) -> ExtractedVideo:
    """Decode a video once and compute the rows of every feature set from each frame.

    Args:
        batch_frames: frames that go through a network together; it changes float32 rows by rounding alone, below 1e-5.
        on_frames: told how many frames were done, for a progress line.

    Raises:
        VideoError: the video does not decode as a whole, or a row is not finite.
    """
    if batch_frames < 1:
        raise ArgumentError(f"batch is {batch_frames} frames; it has to be at least 1.")
    rows: dict[str, list[npt.NDArray[Any]]] = {extractor.feature_set: [] for extractor in extractors}
    seconds: list[float] = []
    with VideoReader(path, raw) as reader:
        for batch in _batches(reader, batch_frames):
            frames = torch.from_numpy(np.stack([frame.rgb for frame in batch]))
            _refuse_too_small(path, frames, extractors)
            for extractor in extractors:
                rows[extractor.feature_set].append(extractor.rows(frames))
            seconds.extend(frame.seconds for frame in batch)
            on_frames(len(batch))
        source = file_source(path, raw) | reader.source()
    frame = np.arange(len(seconds), dtype=np.int32)
    features = {name: VideoFeatures(np.concatenate(parts), frame) for name, parts in rows.items()}
    for name, found in features.items():
        if not np.isfinite(found.values).all():
            raise VideoError(
                "not-finite",
                f"features '{name}' of '{path}' are not finite as {found.values.dtype}; "
                "store them with --dtype float32, or check the weights.",
            )
    return ExtractedVideo(FrameTable(np.asarray(seconds, dtype=np.float64), source), features)


def file_source(path: Path, raw: RawGeometry | None) -> dict[str, Any]:
    """Return what a video file is known by again: digest, size, modification time; raw video by its geometry too.

    Raises:
        VideoError: the file cannot be read.
    """
    stamp = file_stamp(path, raw)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256")
    except OSError as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    digest.update(stamp.get("raw", "").encode())
    return {"sha256": digest.hexdigest(), **stamp}


def file_stamp(path: Path, raw: RawGeometry | None) -> dict[str, Any]:
    """Return what of a file can be compared without reading it.

    Raises:
        VideoError: the file is gone.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise VideoError("cannot-open", f"'{path}' cannot be read: {error}.") from error
    geometry = {"raw": str(raw)} if raw is not None and path.suffix.lower() in RAW_SUFFIXES else {}
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, **geometry}


def _refuse_too_small(path: Path, frames: torch.Tensor, extractors: Sequence[Extractor]) -> None:
    height, width = frames.shape[1:3]
    for backbone in (extractor.loaded.backbone for extractor in extractors):
        if min(height, width) < backbone.smallest_side:
            raise VideoError(
                "too-small", f"'{path}' is {width}x{height}; '{backbone.name}' takes no side below {backbone.smallest_side} samples."
            )


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
