"""Decoding processes that crash, hang and are killed, next to videos that are not affected."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import crashing_decoder
from tests.helpers.clips import jobs_of, noise_frames, write_clip
from vqafeat.errors import ArgumentError
from vqafeat.video import Chunk, DecodeJob, DecodePool, VideoEnd, VideoFailed, decode_here
from vqafeat.video import pool as pool_module


def decoded(pool: DecodePool[str], paths: list[Path]) -> dict[str, tuple[int, str]]:
    """Return, for each video, the frames that came and how it ended."""
    frames: dict[str, int] = {}
    ends: dict[str, str] = {}
    for name, message in pool.messages(jobs_of(paths)):
        if isinstance(message, Chunk):
            frames[name] = frames.get(name, 0) + len(message.seconds)
        elif isinstance(message, VideoFailed):
            ends[name] = message.kind
        elif isinstance(message, VideoEnd):
            ends[name] = "end"
    return {name: (frames.get(name, 0), end) for name, end in ends.items()}


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return [write_clip(tmp_path / f"{index}.mp4", noise_frames(30 + index, seed=index)) for index in range(5)]


def children() -> set[str]:
    result = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {line for line in result.splitlines() if "worker_main" in line}


@pytest.mark.parametrize("workers", [1, 3])
def test_decode_pool__gives_what_this_process_gives(clips: list[Path], workers: int) -> None:
    with closing(DecodePool[str](workers, 30)) as pool:
        result: dict[str, list[np.ndarray]] = {path.name: [] for path in clips}
        for name, message in pool.messages(jobs_of(clips)):
            if isinstance(message, Chunk):
                result[name].append(message.data.copy())
        # a container has 64 MB there, which a frame of 8K fills
        mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "/dev/shm/" in line]
        assert [line for line in mapped if "/dev/shm/sem." not in line] == []  # locks of multiprocessing
    for path in clips:
        expected = [
            message.data.copy() for message in decode_here(DecodeJob(path)) if isinstance(message, Chunk)
        ]
        np.testing.assert_array_equal(np.concatenate(result[path.name]), np.concatenate(expected))
    assert children() == set()


def test_decode_pool__survives_a_crash_a_hang_and_a_bug(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_START", crashing_decoder.START)
    bad = [
        clips[0].rename(tmp_path / "crash.mp4"),
        clips[1].rename(tmp_path / "hang.mp4"),
        clips[2].rename(tmp_path / "bug.mp4"),
    ]
    with closing(DecodePool[str](2, 2.0)) as pool:
        result = decoded(pool, [*bad, *clips[3:]])
    assert result == {
        "crash.mp4": (0, "decoder-crashed"),
        "hang.mp4": (0, "timeout"),
        "bug.mp4": (0, "decoder-error"),
        "3.mp4": (33, "end"),
        "4.mp4": (34, "end"),
    }
    assert children() == set()


def test_decode_pool__messages_say_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_START", crashing_decoder.START)
    paths = [tmp_path / "crash.mp4", tmp_path / "hang.mp4"]
    with closing(DecodePool[str](2, 1.0)) as pool:
        messages = {
            name: message
            for name, message in pool.messages(jobs_of(paths))
            if isinstance(message, VideoFailed)
        }
    assert messages["crash.mp4"].message == f"'{paths[0]}' crashed its decoder (SIGABRT)."
    assert (
        messages["hang.mp4"].message == f"'{paths[1]}' gave no frame for 1 seconds; its decoder was stopped."
    )


def test_decode_pool__a_killed_process_costs_its_video_alone(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{index}.mp4", noise_frames(200, seed=index)) for index in range(3)]
    with closing(DecodePool[str](1, 30)) as pool:
        ends, killed = {}, False
        for name, message in pool.messages(jobs_of(clips)):
            if isinstance(message, Chunk) and name == "1.mp4" and not killed:
                killed = True
                (line,) = children()
                os.kill(int(line.split()[0]), signal.SIGKILL)
            if isinstance(message, VideoEnd | VideoFailed):
                ends[name] = getattr(message, "kind", "end")
    assert ends == {"0.mp4": "end", "1.mp4": "decoder-crashed", "2.mp4": "end"}


def test_decode_pool__takes_a_slow_reader_for_no_hang(clips: list[Path]) -> None:
    with closing(DecodePool[str](2, 1.0)) as pool:
        ends = []
        for _, message in pool.messages(jobs_of(clips[:2])):
            if isinstance(message, Chunk):
                time.sleep(1.2)
            else:
                ends.append(type(message))
    assert ends == [VideoEnd, VideoEnd]


ORPHANED = """
import sys, time
from pathlib import Path
from vqafeat.video import DecodeJob, DecodePool
jobs = iter([("a", DecodeJob(Path(sys.argv[1])))])
for key, message in DecodePool(1, 30).messages(lambda: next(jobs, None)):
    print("decoding", flush=True)
    time.sleep(60)
"""


def test_decode_pool__processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", noise_frames(200))
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANED, str(clip)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "decoding\n"
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True, check=True
        ).stdout
        parent.kill()
    (worker,) = map(int, children.split())
    for _ in range(100):
        state = Path(f"/proc/{worker}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError(f"process {worker} is still there")


def test_decode_pool__refuses_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match="workers is 0; at least 1 decoding process is needed"):
        DecodePool[str](0, 1.0)
