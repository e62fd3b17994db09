"""A whole pre-training: checks, training, the weights file, and its model card next to it."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import PIL
import torch
import torchvision

from vqafeat import __version__
from vqafeat.backbones.weights import load_network
from vqafeat.errors import ArgumentError
from vqafeat.io import write_json
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.network import quality_backbone, start_network
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.pretraining.trainer import ComputeOptions, Progress, TrainingState, checkpoint_path, train
from vqafeat.training.results import write_weights

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class PretrainingRequest:
    """All that decides a pre-training.

    Attributes:
        backbone: a ResNet, as `resnet50`.
        weights: that its backbone starts from; see `start_network`.
        sets: pairs and validation images.
        seed: of the head's start, of orders and crops.
        out: the weights file.
    """

    backbone: str
    weights: str
    sets: tuple[DrawnPairs, ...]
    recipe: PretrainingRecipe
    seed: int
    computing: ComputeOptions
    out: Path

    def __post_init__(self) -> None:
        check_out(self.out)
        quality_backbone(self.backbone)
        if not self.sets:
            raise ArgumentError(
                "there are no image sets to train on; name at least one with --images NAME=FOLDER or "
                "NAME=FILE.csv."
            )


@dataclass(frozen=True)
class PretrainedNetwork:
    """A finished pre-training.

    Attributes:
        out, card: the weights file and its model card.
        backbone: name under which the extraction loads it.
        weights_sha256: digest that identifies its feature sets.
        result: curve and best epoch.
    """

    out: Path
    card: Path
    backbone: str
    weights_sha256: str
    result: TrainingState


def check_out(out: Path) -> None:
    """Refuse a name that the extraction would read as another kind of file."""
    if out.suffix != SUFFIX:
        raise ArgumentError(f"--out {out} has to end in {SUFFIX}, as {out.with_suffix(SUFFIX)}.")


def card_path(out: Path) -> Path:
    """Return the path of a weights file's model card."""
    return out.with_suffix(".json")


def prepare_out(out: Path, overwrite: bool) -> None:
    """Check that a weights file can be written; with `overwrite`, remove what an earlier run left of it, its
    checkpoint too.
    """
    check_out(out)
    existing = [path for path in (out, card_path(out)) if path.exists()]
    if existing and not overwrite:
        raise ArgumentError(
            f"--out {out}: '{existing[0]}' exists already; name another file, or replace it with --overwrite."
        )
    for path in [*existing, *([checkpoint_path(out)] if overwrite else [])]:
        path.unlink(missing_ok=True)


def pretrain(request: PretrainingRequest, progress: Progress | None = None) -> PretrainedNetwork:
    """Train, and write the weights and their card; a stopped run of the same request resumes from its last
    whole epoch. Raises what `train` raises.
    """
    start = start_network(request.backbone, request.weights, request.seed, request.recipe.start_std)
    config = {
        "backbone": request.backbone,
        "start": start.weights,
        "start_sha256": start.weights_sha256,
        **_config(request),
    }
    checkpoint = checkpoint_path(request.out)
    result = train(
        start.network,
        request.sets,
        request.recipe,
        request.seed,
        request.computing,
        checkpoint,
        config,
        progress,
    )
    write_weights(request.out, result.best_weights)
    # read back as the extraction will, so that the digest is of what the file holds
    backbone = quality_backbone(request.backbone)
    digest = load_network(backbone, str(request.out)).weights_sha256
    card = card_path(request.out)
    write_json(card, {**_card(backbone.name, request, result), "weights_sha256": digest, **config})
    checkpoint.unlink(missing_ok=True)
    return PretrainedNetwork(request.out, card, backbone.name, digest, result)


def _config(request: PretrainingRequest) -> dict[str, Any]:
    """Return what a resumed run has to agree with, as JSON values; neither the number of workers nor the
    paths of the images are part of it.
    """
    return {
        "recipe": asdict(request.recipe),
        "seed": request.seed,
        "precision": request.computing.precision,
        "devices": len(request.computing.devices),
        "sets": {item.image_set.name: _described(item) for item in request.sets},
    }


def _described(item: DrawnPairs) -> dict[str, Any]:
    return {
        "labels": item.image_set.labels.name,
        "labels_sha256": item.image_set.digest,
        "std": item.image_set.std_source,
        "images": len(item.image_set.images),
        "training_images": len(item.training),
        "validation_images": len(item.validation),
        "pairs": len(item.rows),
        "pairs_sha256": sha256(item.rows.tobytes()).hexdigest(),
    }


def _card(backbone: str, request: PretrainingRequest, result: TrainingState) -> dict[str, Any]:
    best = next(record for record in result.curve if record.epoch == result.best_epoch)
    return {
        "network": backbone,
        "file": request.out.name,
        "file_sha256": sha256(request.out.read_bytes()).hexdigest(),
        "kept_epoch": result.best_epoch,
        "kept_because": result.kept_because,
        "validation_srocc": dict(best.validation_srocc),
        "curve": [asdict(record) for record in result.curve],
        "made_with": {
            "vqafeat": __version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "device": request.computing.devices[0].type,
        },
    }
