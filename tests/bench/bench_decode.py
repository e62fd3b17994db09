"""Decoding alone: FFmpeg's command line, plain PyAV, the reader, and decoding processes, frames a second on
the same file.

python tests/bench/bench_decode.py [--ffmpeg PATH]
"""

import argparse
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import av
import torch
from measuring import clip_540p, median_seconds, print_row, start_table

from vqafeat.video import Chunk, DecodeJob, DecodePool, VideoEnd, decode_here
from vqafeat.video.rgb import to_rgb

ROUNDS = 5
COPIES = 6


def ffmpeg(program: str, clip: Path) -> None:
    """Decode to nothing with the command line, on one thread."""
    command = [
        program,
        "-v",
        "error",
        "-threads",
        "1",
        "-i",
        str(clip),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
    ]
    subprocess.run(command, check=True)


def plain(clip: Path, rgb: bool) -> int:
    """Decode with PyAV alone."""
    with av.open(clip) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return sum(
            1
            for picture in container.decode(video=0)
            if not rgb or picture.to_ndarray(format="rgb24") is not None
        )


def chunks(clip: Path) -> int:
    """Decode to planes in buffers, with all checks."""
    return sum(len(message.seconds) for message in decode_here(DecodeJob(clip)) if isinstance(message, Chunk))


def pool(clip: Path, workers: int) -> int:
    """Decode copies of the clip in processes, their start left out."""
    jobs = iter([(number, DecodeJob(clip)) for number in range(workers + COPIES)])
    start, frames, warm = 0.0, 0, 0
    import time

    with closing(DecodePool[int](workers, 60)) as processes:
        for _, message in processes.messages(lambda: next(jobs, None)):
            warm += isinstance(message, VideoEnd)
            if warm >= workers:
                start = start or time.perf_counter()
                frames += len(message.seconds) if isinstance(message, Chunk) else 0
    return round(frames / (time.perf_counter() - start))


def main() -> None:
    """Print frames a second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"))
    program, clip = parser.parse_args().ffmpeg, clip_540p()
    torch.set_num_threads(2)
    frames = chunks(clip)
    rates = {}
    if program:
        rates["ffmpeg -f null, one thread, its start included"] = frames / median_seconds(
            lambda: ffmpeg(program, clip), ROUNDS
        )
    rates["PyAV, decoding alone"] = frames / median_seconds(lambda: plain(clip, False), ROUNDS)
    rates["PyAV to RGB by swscale"] = frames / median_seconds(lambda: plain(clip, True), ROUNDS)
    rates["vqafeat to planes, all checks and the file's digest"] = frames / median_seconds(
        lambda: chunks(clip), ROUNDS
    )
    for workers in (1, 2):
        rates[f"vqafeat, {workers} processes"] = sorted(pool(clip, workers) for _ in range(3))[1]
    start_table(clip.name, "frames/s")
    for name, rate in rates.items():
        print_row(name, f"{rate:.0f}")
    with_planes = [message for message in decode_here(DecodeJob(clip)) if isinstance(message, Chunk)][:1]
    data = torch.from_numpy(with_planes[0].data[:1].copy())
    seconds = median_seconds(lambda: to_rgb(data, with_planes[0].layout), 50)
    print(f"planes to RGB on two threads: {seconds * 1e3:.1f} ms a frame")


if __name__ == "__main__":
    main()
