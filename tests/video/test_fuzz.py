"""Two thousand damaged videos through the extraction: none stops it, each ends in the store or in the failure
log.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import SHARED_DATA, csv_dataset
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import read_failure_log
from vqafeat.store import FeatureStore, verify_store
from vqafeat.store.zarr_io import failure_log_path
from vqafeat.video.frame import DecodeLimits

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SHARES, FILES, AT_ONCE = 8, 250, 50  # two thousand in all, which several processes share
LARGEST_ODD_BYTES = 60_000
HANG_SECONDS = 3.0
SOUND = {
    "a.mp4": {"codec": "libx264"},
    "b.mkv": {"codec": "libvpx-vp9"},
    "c.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "d.webm": {"codec": "libvpx"},
    "e.ts": {"codec": "mpeg2video"},
    "f.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
}


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Damage a file: bits and bytes changed, most often in its headers, and pieces cut, doubled, moved or
    blanked.
    """
    damaged = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        reach = len(damaged) if random.random() < 0.4 else min(len(damaged), 600)
        start, length = int(random.integers(reach)), int(random.integers(1, 200))
        kind = int(random.integers(6))
        if kind == 0:
            damaged[start] ^= 1 << int(random.integers(8))
        elif kind == 1:
            damaged[start : start + 4] = int(random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(
                4, "big"
            )
        elif kind == 2:
            damaged[start : start + length] = bytes(length)
        elif kind == 3:
            damaged[start:start] = damaged[start : start + length]
        elif kind == 4:
            del damaged[start : start + length]
        else:
            damaged[start : start + length] = random.bytes(length)
        if len(damaged) < 16:
            break
    return bytes(damaged) or b"\0"


def seeds(folder: Path) -> dict[str, bytes]:
    """Return whole files to start from: tiny clips of six kinds, and the small ones of `odd/` where they are
    at hand.
    """
    folder.mkdir()
    made = {
        name: write_clip(folder / name, noise_frames(6, 48, 32), **how).read_bytes()
        for name, how in SOUND.items()
    }  # type: ignore[arg-type]
    odd = SHARED_DATA / "odd"
    files = sorted(
        path
        for path in odd.glob("*")
        if path.suffix != ".csv" and 0 < path.stat().st_size < LARGEST_ODD_BYTES
    )
    return made | {path.name: path.read_bytes() for path in files}


@pytest.mark.faults
@pytest.mark.parametrize("share", range(SHARES))
def test_extract__damaged_videos_cost_themselves_alone(tmp_path: Path, share: int) -> None:
    whole = list(seeds(tmp_path / "whole").items())
    random = np.random.default_rng(share)
    extractors = build_extractors(["tiny"], {"tiny": "random"})
    resources = Resources(timeout_seconds=HANG_SECONDS, limits=DecodeLimits(1 << 22, 500))
    stored = failed = 0
    kinds: dict[str, int] = {}
    for start in range(0, FILES, AT_ONCE):
        folder = tmp_path / f"{start}"
        folder.mkdir()
        names = []
        for number in range(start, start + AT_ONCE):
            name, content = whole[number % len(whole)]
            names.append(f"{number}-{name}")
            (folder / names[-1]).write_bytes(mutated(content, random))
        dataset = csv_dataset(folder, names)
        store = FeatureStore.create(folder / "fuzz.zarr", dataset)
        began = time.monotonic()
        summary = extract_features(dataset, extractors, store, resources=resources)
        assert time.monotonic() - began < AT_ONCE * HANG_SECONDS, "a batch stood still"
        failure_log = read_failure_log(failure_log_path(store.path))
        assert sorted(
            [*store.complete_videos("tiny"), *(failure.video for failure in failure_log)]
        ) == sorted(names)
        assert (summary.extracted, len(summary.failures)) == (len(names) - len(failure_log), len(failure_log))
        assert all(failure.message and "\n" not in failure.message for failure in failure_log)
        assert not list(verify_store(FeatureStore.open(store.path)))
        stored, failed = stored + summary.extracted, failed + len(failure_log)
        for failure in failure_log:
            kinds[failure.kind] = kinds.get(failure.kind, 0) + 1
    assert stored + failed == FILES
    assert min(stored, failed) > FILES // 25, (stored, kinds)  # damage of both sorts was tried
    print(f"{stored} stored, {failed} in the failure log: {kinds}")
