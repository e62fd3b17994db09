"""Feature sets by name, `NETWORK[:VARIANT][@VIEW][@FRAMES]`, and the extractors that compute them."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqafeat.backbones import BACKBONES, Variant
from vqafeat.backbones.base import POOLING, ClipRule
from vqafeat.backbones.views import FRAME_RULES, VIEWS
from vqafeat.backbones.weights import LoadedNetwork, load_network
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.store.types import FeatureSetIdentity
from vqafeat.video.reader import decoder_identity

STORED_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.float16), "float32": np.dtype(np.float32)}
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class FeatureSetName:
    """The parts of a feature set's name, for example of `iqa-resnet34:stages@crops768@uniform128`."""

    network: str
    variant: str = ""
    view: str = "full"
    frames: str = "every"

    @classmethod
    def parse(cls, name: str) -> "FeatureSetName":
        """Read a name, with its parts after `@` in any order."""
        head, *rest = name.split("@")
        network, _, variant = head.partition(":")
        BACKBONES.get(network).variant(variant)
        known = (*VIEWS, *FRAME_RULES)
        if unknown := [part for part in rest if part not in known]:
            problem = f"unknown view or choice of frames '@{unknown[0]}' in '{name}'"
            raise UnknownNameError(f"{problem}; known are: {', '.join(f'@{key}' for key in known)}.")
        views, frames = ([part for part in rest if part in table] for table in (VIEWS, FRAME_RULES))
        for kind, parts in (("view", views), ("frames", frames)):
            if len(parts) > 1:
                given = " and ".join(f"'@{part}'" for part in parts)
                raise ArgumentError(f"'{name}' names two kinds of {kind}, {given}; it takes one.")
        return cls(network, variant, *(views or ["full"]), *(frames or ["every"]))

    def __str__(self) -> str:
        variant = f":{self.variant}" if self.variant else ""
        view = "" if self.view == "full" else f"@{self.view}"
        frames = "" if self.frames == "every" else f"@{self.frames}"
        return self.network + variant + view + frames


@dataclass(frozen=True)
class FeatureExtractor:
    """A network with its weights and everything else that decides the rows of one feature set."""

    name: FeatureSetName
    loaded: LoadedNetwork
    dtype: np.dtype[Any]  # of the stored rows
    precision: str = "fp32"  # of the network's computation, a key of `PRECISIONS`

    @property
    def feature_set(self) -> str:
        """The name without defaults."""
        return str(self.name)

    @property
    def variant(self) -> Variant:
        """The layers and normalisation; without a name, the variant that the weights were trained as."""
        return self.loaded.backbone.variant(self.name.variant or self.loaded.trained_variant or "")

    @property
    def clips(self) -> ClipRule | None:
        """The blocks of frames that the network sees together; None if it sees single frames."""
        clips = self.loaded.backbone.clips
        return clips and clips.strided(FRAME_RULES[self.name.frames].stride)

    @property
    def identity(self) -> FeatureSetIdentity:
        """What the rows depend on."""
        backbone, variant = self.loaded.backbone, self.variant
        described = FRAME_RULES[self.name.frames].described
        if self.clips is not None:
            described = str(self.clips) + (f"; {described}" if self.name.frames != "every" else "")
        return FeatureSetIdentity(
            network=backbone.name,
            weights_sha256=self.loaded.weights_sha256,
            taps=variant.taps,
            pooling=POOLING,
            view=VIEWS[self.name.view].described,
            frame_rule=described,
            normalisation=f"RGB/255, mean {variant.mean}, std {variant.std}",
            decoder=decoder_identity(),
            precision=f"computed in {PRECISIONS[self.precision]}, stored in {self.dtype}",
            channels=backbone.row_channels(variant),
            weights=self.loaded.weights,
        )


def build_extractors(
    feature_sets: Sequence[str], weights: Mapping[str, str], dtype: str = "float16", precision: str = "fp32"
) -> list[FeatureExtractor]:
    """Load the networks of feature sets, each once; backbones without an entry get published weights."""
    for what, value, known in (("dtype", dtype, STORED_DTYPES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ArgumentError(f"{what} '{value}' is not one of {', '.join(known)}.")
    names = list(dict.fromkeys(map(FeatureSetName.parse, feature_sets)))
    loaded = {
        network: load_network(BACKBONES.get(network), weights.get(network, "imagenet"))
        for network in dict.fromkeys(name.network for name in names)
    }
    for name in names:
        own = loaded[name.network]
        trained, classes = own.trained_variant, own.backbone.classes
        if trained is not None and name.variant not in ("", trained):
            right = name.network + (f":{trained}" if trained else "")
            problem = f"'{name}' does not fit the weights {own.weights}, which were trained as '{right}'"
            raise WeightsError(f"{problem}; extract that feature set, or give the file of the other release.")
        if trained is None and classes and own.weights.startswith("file "):
            others = ", ".join(f"'{name.network}:{key}'" if key else f"'{name.network}'" for key in classes)
            problem = f"weights {own.weights} do not show whether they were trained as {others}"
            warnings.warn(f"{problem}; '{name}' is assumed.", RuntimeWarning, stacklevel=2)
    return [FeatureExtractor(name, loaded[name.network], STORED_DTYPES[dtype], precision) for name in names]


def recorded_weights(described: str) -> str | None:
    """Return the weights of an identity as `build_extractors` takes them; None if they came from a file."""
    if seeded := re.fullmatch(r"random, seed (\d+)", described):
        return f"random:{seeded.group(1)}"
    return None if described.startswith("file ") else "imagenet"


def recorded_precision(described: str) -> tuple[str, str]:
    """Return dtype and precision of an identity as `build_extractors` takes them."""
    dtype = "float32" if described.endswith("stored in float32") else "float16"
    computed = (name for name, kind in PRECISIONS.items() if described.startswith(f"computed in {kind},"))
    return dtype, next(computed, "fp32")


def backbone_names(feature_sets: Iterable[str]) -> list[str]:
    """Return the backbones of feature sets, each once, in order; imported sets keep their names."""
    return list(dict.fromkeys(name.partition("@")[0].partition(":")[0] for name in feature_sets))
