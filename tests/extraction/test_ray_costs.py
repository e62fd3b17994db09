"""Costs from headers: frames × pixels, the longest video first."""

from dataclasses import replace
from pathlib import Path

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from vqafeat.datasets import RawGeometry
from vqafeat.extraction.ray_backend import estimate_costs, longest_first


def test_costs_are_frames_times_pixels_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "short.mp4", noise_frames(3, 64, 48))
    write_clip(tmp_path / "long.mkv", noise_frames(30, 64, 48) // 64 * 64)
    write_clip(tmp_path / "large.mp4", noise_frames(3, 320, 240))
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 10_000)
    (tmp_path / "raw.yuv").write_bytes(bytes(32 * 24 * 3 // 2 * 7))
    names = ["broken.mp4", "short.mp4", "raw.yuv", "long.mkv", "large.mp4"]
    dataset = replace(csv_dataset(tmp_path, names), raw=RawGeometry(32, 24, "yuv420p", 25.0))
    assert estimate_costs(dataset) == [0, 3 * 64 * 48, 7 * 32 * 24, 30 * 64 * 48, 3 * 320 * 240]
    shares = longest_first(dataset, 2)
    assert [[video.name for video in share.videos] for share in shares] == [
        ["large.mp4", "long.mkv"],
        ["short.mp4", "raw.yuv"],
        ["broken.mp4"],
    ]
