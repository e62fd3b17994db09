"""A whole pre-training: training, the weights file, and the model card next to it."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import PIL
import torch
import torchvision

from vqafeat import __version__
from vqafeat.backbones.weights import LoadedNetwork, load_network
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
    """Everything that decides a pre-training; `backbone` and `weights` are those of `start_network`."""

    backbone: str
    weights: str
    sets: tuple[DrawnPairs, ...]
    recipe: PretrainingRecipe
    seed: int
    computing: ComputeOptions
    out: Path

    def __post_init__(self) -> None:
        if self.out.suffix != SUFFIX:
            example = self.out.with_suffix(SUFFIX)
            raise ArgumentError(f"--out {self.out} has to end in {SUFFIX}, such as {example}.")
        quality_backbone(self.backbone)
        if not self.sets:
            next_step = "name at least one with --images NAME=FOLDER or NAME=FILE.csv"
            raise ArgumentError(f"there are no image sets to train on; {next_step}.")


@dataclass(frozen=True)
class PretrainedNetwork:
    """A finished pre-training: the weights file `out`, and the name under which the extraction loads it."""

    out: Path
    card: Path
    backbone: str
    weights_sha256: str
    result: TrainingState


def card_path(out: Path) -> Path:
    """Return the path of a weights file's model card."""
    return out.with_suffix(".json")


def check_new(out: Path) -> None:
    """Refuse a weights file that exists already, or whose card does."""
    if existing := [path for path in (out, card_path(out)) if path.exists()]:
        next_step = "name another file, or replace it with --overwrite"
        raise ArgumentError(f"--out {out}: '{existing[0]}' exists already; {next_step}.")


def pretrain(
    request: PretrainingRequest, progress: Progress | None = None, overwrite: bool = False
) -> PretrainedNetwork:
    """Train a network, and write its weights and their card; a stopped run resumes from its last epoch.

    `overwrite` removes an earlier file, its card and its checkpoint when the network is loaded.
    """
    out, recipe, seed = request.out, request.recipe, request.seed
    network, start = start_network(request.backbone, request.weights, seed, recipe.start_std)
    for path in (out, card_path(out), checkpoint_path(out)) if overwrite else ():
        path.unlink(missing_ok=True)
    config = _config(request, start)
    checkpoint = checkpoint_path(out)
    result = train(network, request.sets, recipe, seed, request.computing, checkpoint, config, progress)
    write_weights(out, result.best_weights)
    # read as by the extraction, so that the digests are equal
    backbone = quality_backbone(request.backbone)
    digest = load_network(backbone, str(out)).weights_sha256
    card = card_path(out)
    write_json(card, {**_card(backbone.name, request, result), "weights_sha256": digest, **config})
    checkpoint.unlink(missing_ok=True)
    return PretrainedNetwork(out, card, backbone.name, digest, result)


def _config(request: PretrainingRequest, start: LoadedNetwork) -> dict[str, Any]:
    """Return, as JSON values, what must be equal when a run resumes."""
    return {
        "backbone": request.backbone,
        "start": start.weights,
        "start_sha256": start.weights_sha256,
        "recipe": asdict(request.recipe),
        "seed": request.seed,
        "precision": request.computing.precision,
        "devices": len(request.computing.devices),
        "sets": {
            item.image_set.name: {
                "labels": item.image_set.labels.name,
                "labels_sha256": item.image_set.digest,
                "std": item.image_set.std_source,
                "images": len(item.image_set.images),
                "training_images": len(item.training),
                "validation_images": len(item.validation),
                "pairs": len(item.rows),
                "pairs_sha256": sha256(item.rows.tobytes()).hexdigest(),
            }
            for item in request.sets
        },
    }


def _card(backbone: str, request: PretrainingRequest, result: TrainingState) -> dict[str, Any]:
    return {
        "network": backbone,
        "file": request.out.name,
        "file_sha256": sha256(request.out.read_bytes()).hexdigest(),
        "kept_epoch": result.best_epoch,
        "kept_because": result.kept_because,
        "validation_srocc": dict(result.curve[result.best_epoch - 1].validation_srocc),
        "curve": [asdict(record) for record in result.curve],
        "made_with": {
            "vqafeat": __version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "device": request.computing.devices[0].type,
        },
    }
