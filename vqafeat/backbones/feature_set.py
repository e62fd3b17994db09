"""What is asked for: a network, a variant of it, a view and a choice of frames make one feature set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqafeat.backbones import BACKBONES, Variant
from vqafeat.backbones.base import POOLING
from vqafeat.backbones.views import FRAME_RULES, VIEWS, FrameRule, View
from vqafeat.backbones.weights import LoadedNetwork, load_network
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.store.types import FeatureSetIdentity
from vqafeat.video.reader import decoder_identity

STORED_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class FeatureSetName:
    """A feature set's name in its parts: `NETWORK[:VARIANT][@VIEW][@FRAMES]`, for example
    `iqa-resnet34:stages@crops768@uniform128`.

    Raises:
        UnknownNameError: a part names nothing.
        ArgumentError: a part is given twice, or frames are chosen for a network that sees clips.
    """

    network: str
    variant: str = ""
    view: str = "full"
    frames: str = "every"

    @classmethod
    def parse(cls, name: str) -> "FeatureSetName":
        """Read a name as typed."""
        head, *rest = name.split("@")
        network, _, variant = head.partition(":")
        backbone = BACKBONES.get(network)
        backbone.variant(variant)
        parts: dict[str, str] = {}
        for part in rest:
            kind = "frames" if part in FRAME_RULES else "view"
            if kind == "view" and part not in VIEWS:
                raise UnknownNameError(
                    f"unknown view or choice of frames '@{part}' in '{name}'; there are: {_at(VIEWS)}, "
                    f"{_at(FRAME_RULES)}."
                )
            if kind in parts:
                raise ArgumentError(
                    f"'{name}' names two kinds of {kind}, '@{parts[kind]}' and '@{part}'; it takes one."
                )
            parts[kind] = part
        if (
            backbone.clips is not None
            and FRAME_RULES.get(parts.get("frames", "every")).frame_indices is not None
        ):
            raise ArgumentError(
                f"'{name}': '{network}' sees blocks of consecutive frames, so '@{parts['frames']}' does not "
                f"apply; leave it out."
            )
        return cls(network, variant, **parts)

    def __str__(self) -> str:
        variant = f":{self.variant}" if self.variant else ""
        view = "" if self.view == "full" else f"@{self.view}"
        frames = "" if self.frames == "every" else f"@{self.frames}"
        return self.network + variant + view + frames


def _at(names: Iterable[str]) -> str:
    return ", ".join(f"@{name}" for name in names)


@dataclass(frozen=True)
class FeatureExtractor:
    """A network with its weights, and how it is used: what makes the rows of one feature set.

    Attributes:
        dtype: of the stored rows.
        precision: in which the network computes: a key of `PRECISIONS`.
    """

    name: FeatureSetName
    loaded: LoadedNetwork
    dtype: np.dtype[Any]
    precision: str = "fp32"

    @property
    def feature_set(self) -> str:
        """The feature set's name; defaults are not spelt out."""
        return str(self.name)

    @property
    def variant(self) -> Variant:
        """What is kept of the network."""
        return self.loaded.backbone.variant(self.name.variant)

    @property
    def view(self) -> View:
        """What the network sees of a frame."""
        return VIEWS.get(self.name.view)

    @property
    def frame_rule(self) -> FrameRule:
        """Which frames it sees."""
        return FRAME_RULES.get(self.name.frames)

    @property
    def channels(self) -> int:
        """The width of a row."""
        return 2 * sum(self.loaded.backbone.channels[tap] for tap in self.variant.taps)

    @property
    def identity(self) -> FeatureSetIdentity:
        """What the rows depend on."""
        backbone, variant = self.loaded.backbone, self.variant
        return FeatureSetIdentity(
            network=backbone.name,
            weights_sha256=self.loaded.weights_sha256,
            taps=variant.taps,
            pooling=POOLING,
            view=self.view.described,
            frame_rule=str(backbone.clips) if backbone.clips else self.frame_rule.described,
            normalisation=f"RGB/255, mean {variant.mean}, std {variant.std}",
            decoder=decoder_identity(),
            precision=f"computed in {PRECISIONS[self.precision]}, stored in {self.dtype}",
            channels=self.channels,
            weights=self.loaded.weights,
        )


def build_extractors(
    feature_sets: Sequence[str], weights: dict[str, str], dtype: str = "float16", precision: str = "fp32"
) -> list[FeatureExtractor]:
    """Load the networks of feature sets, each once.

    Args:
        feature_sets: names as `FeatureSetName` reads them.
        weights: for each backbone `imagenet`, `random`, `random:SEED` or a file's path.
        dtype: `float16` or `float32`, as the rows are stored.
        precision: `fp32`, `fp16` or `bf16`, as the networks compute.
    """
    for what, value, known in (("dtype", dtype, STORED_DTYPES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ArgumentError(f"{what} '{value}' is not one of {', '.join(known)}.")
    names = list(dict.fromkeys(map(FeatureSetName.parse, feature_sets)))
    networks = dict.fromkeys(name.network for name in names)
    loaded = {
        network: load_network(BACKBONES.get(network), weights.get(network, "imagenet"))
        for network in networks
    }
    return [FeatureExtractor(name, loaded[name.network], STORED_DTYPES[dtype], precision) for name in names]


def recorded_weights(described: str) -> str | None:
    """Return the weights that an identity describes, as `build_extractors` takes them; None for those of a
    file, which has to be named.
    """
    if seeded := re.fullmatch(r"random, seed (\d+)", described):
        return f"random:{seeded.group(1)}"
    return None if described.startswith("file ") else "imagenet"


def recorded_precision(described: str) -> tuple[str, str]:
    """Return how rows are stored and were computed, by what an identity says of it, as `build_extractors`
    takes them.
    """
    computed = [name for name, dtype in PRECISIONS.items() if described.startswith(f"computed in {dtype},")]
    return "float32" if described.endswith("stored in float32") else "float16", computed[
        0
    ] if computed else "fp32"


def feature_set_name(name: str) -> str:
    """Return the one name of a feature set: defaults are not spelt out."""
    return str(FeatureSetName.parse(name))


def backbone_names(feature_sets: Iterable[str]) -> list[str]:
    """Return the backbones behind feature sets, each once, in order; names of foreign feature sets are taken
    as they stand.
    """
    return list(dict.fromkeys(name.partition("@")[0].partition(":")[0] for name in feature_sets))


@dataclass(frozen=True)
class ExtractorSpec:
    """What `build_extractors` takes, to be sent to another process."""

    feature_sets: tuple[str, ...]
    weights: Mapping[str, str]
    dtype: str
    precision: str

    def build(self) -> list[FeatureExtractor]:
        """Load the networks."""
        return build_extractors(self.feature_sets, dict(self.weights), self.dtype, self.precision)
