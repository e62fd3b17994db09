"""Stage 1 on real 540p clips: decoding against plain PyAV, and the whole pipeline against the bare network, as ratios within one run."""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import torch

from vqafeat.extraction.pipeline import Extractor, build_extractors, extract_video
from vqafeat.extraction.video import VideoReader

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "konvid-mini"
ROUNDS = 3
NETWORK_FRAMES = 24


def seconds_of(work: Callable[[], object]) -> float:
    """Return the median time of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def plain(clip: Path) -> int:
    """Decode to RGB with PyAV alone."""
    with av.open(clip) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(1 for picture in container.decode(video=0) if picture.to_ndarray(format="rgb24") is not None)


def read(clip: Path) -> int:
    """Decode with the reader."""
    with VideoReader(clip) as reader:
        return sum(1 for _ in reader)


def run_network(extractor: Extractor, repeats: int) -> None:
    """Put pairs of random 540p frames through network and pooling."""
    pictures = torch.randint(0, 256, (2, 540, 960, 3), dtype=torch.uint8)
    for _ in range(repeats):
        extractor.rows(pictures)


def main() -> None:
    """Print frames per second and the ratios."""
    if not CLIPS.is_dir():
        sys.exit(f"clips are absent: {CLIPS}")
    torch.set_num_threads(2)
    clip = sorted(CLIPS.glob("*.mp4"))[0]
    frames = plain(clip)
    bare, reader = seconds_of(lambda: plain(clip)), seconds_of(lambda: read(clip))
    print(
        f"decode {clip.name}, {frames} frames: PyAV {frames / bare:.0f} frames/s, "
        f"reader {frames / reader:.0f} frames/s, ratio {bare / reader:.2f}"
    )
    for name in ("squeezenet1_0", "resnet18", "resnet50"):
        extractors = build_extractors([name], {name: "random"})
        repeats = NETWORK_FRAMES // (1 if name == "squeezenet1_0" else 4) // 2
        network = seconds_of(partial(run_network, extractors[0], repeats)) / (2 * repeats)
        line = f"{name}: network and pooling {1 / network:.2f} frames/s"
        if name == "squeezenet1_0":
            whole = seconds_of(partial(extract_video, clip, extractors)) / frames
            line += f", whole pipeline {1 / whole:.2f} frames/s, ratio {network / whole:.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
