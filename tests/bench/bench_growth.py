"""Time and memory of `vqafeat extract` against the length and the size of a video, as a table and a plot.

python tests/bench/bench_growth.py [--plot growth.png]
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np
from measuring import Run, print_row, run_measured, start_table

mpl.use("Agg")
import matplotlib.pyplot as plt

LENGTHS = [24, 96, 384]
SIZES = {"360p": (640, 360), "540p": (960, 540), "1080p": (1920, 1080), "2160p": (3840, 2160)}
FRAMES_A_SIZE = 12


def moving_clip(path: Path, width: int, height: int, frames: int) -> Path:
    """Write a moving random pattern."""
    pattern = (
        np.random.default_rng(0)
        .integers(0, 256, (height // 8 + 64, width // 8 + 64, 3), dtype=np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
    )
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for index in range(frames):
            shift = index % 64
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pattern[shift : shift + height, shift : shift + width]), format="rgb24"
            )
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def extracted(width: int, height: int, frames: int) -> Run:
    """Run the command line on one such clip."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        moving_clip(folder / "a.mp4", width, height, frames)
        (folder / "one.csv").write_text("video,mos\na.mp4,3\n")
        options = ["--backbone", "resnet18", "--weights", "random", "--store", str(folder / "features")]
        command = "import sys; from vqafeat_cli.main import main; main(sys.argv[1:])"
        return run_measured(
            [sys.executable, "-c", command, "extract", "--dataset", str(folder / "one.csv"), *options]
        )


def main() -> None:
    """Print the tables and draw the plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path, default=Path("growth.png"))
    plot = parser.parse_args().plot
    by_length = {frames: extracted(*SIZES["540p"], frames) for frames in LENGTHS}
    by_size = {name: extracted(*size, FRAMES_A_SIZE) for name, size in SIZES.items()}
    start_table("clip", "seconds", "peak GiB")
    for frames, run in by_length.items():
        print_row(f"540p, {frames} frames", f"{run.seconds:.1f}", f"{run.peak_gib:.2f}")
    for name, run in by_size.items():
        print_row(f"{name}, {FRAMES_A_SIZE} frames", f"{run.seconds:.1f}", f"{run.peak_gib:.2f}")
    draw(by_length, by_size, plot)


def draw(by_length: Mapping[int, Run], by_size: Mapping[str, Run], path: Path) -> None:
    """Draw time and memory against length and size."""
    megapixels = [width * height / 1e6 for width, height in SIZES.values()]
    figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained")
    columns = (
        (list(by_length), by_length, "frames at 540p"),
        (megapixels, by_size, f"megapixels a frame ({FRAMES_A_SIZE} frames)"),
    )
    for column, (places, runs, label) in enumerate(columns):
        for row, (value, words) in enumerate(
            ((lambda run: run.seconds, "seconds"), (lambda run: run.peak_gib, "peak memory in GiB"))
        ):
            values = [value(run) for run in runs.values()]
            axis = axes[row][column]
            axis.plot(places, values, "o-", color="black")
            axis.set_xlabel(label)
            axis.set_ylabel(words)
            axis.set_xlim(0, 1.05 * max(places))
            axis.set_ylim(0, 1.15 * max(values))
    figure.suptitle("vqafeat extract, ResNet-18, two cores; start of the program included")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
