"""Three networks in one decode pass against three passes, and each precision against float32, on a 540p clip.

python tests/bench/bench_passes.py [--frames N]
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from measuring import clip_540p, median_seconds, print_row, start_table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.extractions import extract_video
from vqafeat.backbones.feature_set import FeatureExtractor, build_extractors
from vqafeat.backbones.network import shared_networks
from vqafeat.extraction.pipeline import Resources

NETWORKS = ["resnet18:stages", "slowfast-fast", "squeezenet1_0"]
WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "squeezenet1_0.pth"
ROUNDS = 3


def shortened(clip: Path, folder: Path, frames: int) -> Path:
    """Return a copy with the first frames alone, not coded anew."""
    short = folder / clip.name
    with av.open(clip) as source, av.open(short, "w") as copy:
        stream = source.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.dts is None or number >= frames:
                break
            packet.stream = target
            copy.mux(packet)
    return short


def built(names: list[str], precision: str = "fp32") -> list[FeatureExtractor]:
    """Load networks, with real weights where they are at hand."""
    weights = {
        "resnet18": "random",
        "resnet50": "random",
        "slowfast-fast": "random",
        "squeezenet1_0": str(WEIGHTS),
    }
    return build_extractors(names, weights, "float32", precision)


def passes(clip: Path, frames: int) -> None:
    """Print one pass against three."""
    resources = Resources(workers=1)
    together = built(NETWORKS)
    one = median_seconds(lambda: extract_video(clip, together, resources=resources), ROUNDS)
    alone = {name: built([name]) for name in NETWORKS}
    each = {
        name: median_seconds(partial(extract_video, clip, extractors, resources=resources), ROUNDS)
        for name, extractors in alone.items()
    }
    start_table("", "frames/s")
    print_row(f"{', '.join(NETWORKS)} in one pass", f"{frames / one:.2f}")
    print_row("in three passes", f"{frames / sum(each.values()):.2f}")
    for name, seconds in each.items():
        print_row(f"{name} alone", f"{frames / seconds:.2f}")


def precisions() -> None:
    """Print the speed of a ResNet-50 frame in bf16 against fp32, and the difference of rows of a real
    network.
    """
    frame = torch.randint(0, 256, (1, 3, 540, 960), dtype=torch.uint8)
    seconds = {}
    for precision in ("fp32", "bf16"):
        (network,) = shared_networks(built(["resnet50"], precision), torch.device("cpu"))
        network.frame_rows(frame)
        seconds[precision] = median_seconds(lambda: network.frame_rows(frame), 9)  # noqa: B023
    start_table("ResNet-50", "s a frame")
    for precision, value in seconds.items():
        print_row(precision, f"{value:.3f}")


def differences(clip: Path) -> None:
    """Print how far bf16 and float16 storage move real features."""
    full = extract_video(clip, built(["squeezenet1_0"])).features["squeezenet1_0"].values
    half = extract_video(clip, built(["squeezenet1_0"], "bf16")).features["squeezenet1_0"].values
    start_table("squeezenet1_0", "relative difference of a row, median", "largest")
    for name, rows in (
        ("computed in bf16", half),
        ("stored in float16", full.astype(np.float16).astype(np.float32)),
    ):
        error = np.linalg.norm(rows - full, axis=1) / np.linalg.norm(full, axis=1)
        print_row(name, f"{np.median(error):.1e}", f"{error.max():.1e}")


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=70)
    count = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as folder:
        clip = shortened(clip_540p(), Path(folder), count)
        frames = len(extract_video(clip, built(["squeezenet1_0"])).table.seconds)
        passes(clip, frames)
        precisions()
        differences(clip)


if __name__ == "__main__":
    main()
