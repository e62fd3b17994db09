"""Images per second of the pre-training's loop against the bare forward and backward pass on the same device.

    python tests/bench/bench_pretraining.py [--backbone resnet50] [--side 512] [--crop 384] [--pairs 4]
    [--steps 6] [--device cpu]

The loop decodes JPEG files of 1024x768, as KonIQ-10k's, resizes and crops them in processes, computes losses,
steps and checks; the bare pass takes one batch in the device's memory forward and backward through the same
network, with the optimiser's step.
"""

import argparse
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from measuring import print_row, start_table
from PIL import Image

from vqafeat.backbones.network import resolve_precision
from vqafeat.pretraining.config import PRETRAINING_RECIPES, PretrainingRecipe
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.image_sets import load_image_set
from vqafeat.pretraining.images import PairBatch, PairLoader
from vqafeat.pretraining.network import start_network
from vqafeat.pretraining.pairs import DrawnPairs, draw_pairs
from vqafeat.pretraining.trainer import ComputeOptions, PretrainingRecord, Step, train
from vqafeat.system import device_named


def write_images(folder: Path, count: int) -> Path:
    """Write smooth random pictures with some noise, and labels."""
    random = np.random.default_rng(0)
    rows = ["image,mos,std"]
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3)).astype(np.uint8)).resize(
            (1024, 768), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse) + random.normal(0, 1 + number % 20, (768, 1024, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)
        rows.append(f"{number}.jpg,{random.uniform(1, 5):.3f},{random.uniform(0.3, 0.9):.3f}")
    (folder / "images.csv").write_text("\n".join(rows))
    return folder / "images.csv"


def bare_rate(
    backbone: str, batch: PairBatch, recipe: PretrainingRecipe, computing: ComputeOptions, steps: int
) -> float:
    """Return images per second of forward, backward and step on one batch."""
    device = computing.devices[0]
    replicas = DataParallel(start_network(backbone, "random", 0)[0], device, computing.precision)
    replicas.train(head_alone=False)
    optimiser = torch.optim.Adam(replicas.network.parameters(), lr=1e-5, fused=True)  # as the loop's
    batch = batch._replace(first=batch.first.to(device), second=batch.second.to(device))
    start = time.perf_counter()
    for number in range(steps + 1):
        if number == 1:  # the first step allocates
            _wait(device)
            start = time.perf_counter()
        optimiser.zero_grad()
        replicas.loss(batch, recipe).total.backward()
        optimiser.step()
    _wait(device)
    return 2 * len(batch.pairs) * steps / (time.perf_counter() - start)


class EnoughSteps(Exception):  # noqa: N818
    """Ends the loop."""


def loop_rate(
    backbone: str,
    sets: tuple[DrawnPairs, ...],
    recipe: PretrainingRecipe,
    computing: ComputeOptions,
    steps: int,
) -> float:
    """Return images per second of the loop after the first reading of losses, when processes have started."""
    # images and seconds of the epoch at each reading; on a GPU, one reading gives the losses of several steps
    readings: list[tuple[int, float]] = []

    def note(event: Step | PretrainingRecord) -> None:
        if not isinstance(event, Step):
            return
        images = 2 * recipe.batch_size * event.number
        seconds = images / event.images_per_second
        if readings and seconds - readings[-1][1] < 1e-6:
            readings.pop()
        elif len(readings) > 1 and event.number > steps + 1:
            raise EnoughSteps
        readings.append((images, seconds))

    with suppress(EnoughSteps):
        train(start_network(backbone, "random", 0)[0], sets, recipe, 0, computing, progress=note)
    (first, start), (last, end) = readings[0], readings[-1]
    return (last - first) / (end - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure and print a row."""
    options = argparse.ArgumentParser()
    options.add_argument("--backbone", default="resnet50")
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--crop", type=int, default=384)
    options.add_argument("--pairs", type=int, default=4, help="pairs a step")
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--device")
    options.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = options.parse_args()
    device = device_named(given.device)
    computing = ComputeOptions((device,), resolve_precision(None, device), given.workers)
    changes = {
        "head_epochs": 0,
        "batch_size": given.pairs,
        "short_side": given.side,
        "crop_side": given.crop,
        "learning_rate": 1e-5,
    }
    recipe = PRETRAINING_RECIPES.get("li-released").overridden(changes)
    start_table("network", "pairs a step", "bare pass, images/s", "loop, images/s", "loop / bare")
    with tempfile.TemporaryDirectory() as folder:
        count = given.pairs * (given.steps + 40)
        sets = draw_pairs(
            [load_image_set(f"bench={write_images(Path(folder), 200)}")], {"bench": count}, 0, 0
        )
        batch = next(PairLoader(sets, recipe, 0, 0).batches(1))
        rows = []
        for _ in range(given.rounds):  # in turn, as the machine's speed drifts
            bare = bare_rate(given.backbone, batch, recipe, computing, given.steps)
            rows.append((bare, loop_rate(given.backbone, sets, recipe, computing, given.steps)))
        bare, loop = np.median(rows, axis=0)
        share = np.median([seconds / base for base, seconds in rows])
        network = f"{given.backbone}, {given.crop}x{given.crop}, {device}"
        print_row(network, given.pairs, f"{bare:.2f}", f"{loop:.2f}", f"{share:.0%}")


if __name__ == "__main__":
    main()
