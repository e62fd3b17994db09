"""Damaged stores mended from their videos, and stores held against them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import Run
from tests.helpers.datasets import bare_dataset, csv_dataset
from tests.helpers.extractions import tree
from vqafeat.datasets import load_manifest
from vqafeat.errors import ArgumentError, IdentityError
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.verify import (
    Comparison,
    compared,
    damaged_videos,
    repair,
    stored_dataset,
    stored_extractors,
)
from vqafeat.store import FeatureStore, pack_store, verify_store

pytestmark = pytest.mark.usefixtures("tiny_backbone", "decode_here")
NAMES = [f"night/{number}.mp4" for number in range(4)]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "night").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        write_clip(folder / name, noise_frames(5, 64, 48, seed))
    return folder


@pytest.fixture
def store(videos: Path, tmp_path: Path) -> FeatureStore:
    """Return a store of the videos with two feature sets of random weights."""
    dataset = csv_dataset(videos, NAMES)
    created = FeatureStore.create(tmp_path / "scores.zarr", dataset)
    weights = {"tiny": "random:3", "iqa-tiny": "random:4"}
    extract_features(dataset, list(weights), created, weights=weights, resources=Resources(workers=0))
    return FeatureStore.open(created.path, writable=True)


def chunk(store: FeatureStore, kind: str, number: int) -> Path:
    """Return the file of a chunk of a video."""
    return next(
        path
        for path in sorted((store.path / kind).rglob("*"))
        if path.is_file() and "c" in path.parts and f"{number}.mp4" in str(path)
    )


def test_repair__finds_and_extracts_again_what_is_damaged(store: FeatureStore, videos: Path) -> None:
    whole, untouched = tree(store.path), chunk(store, "features/tiny", 0).stat().st_mtime_ns
    flipped, cut, lost = (
        chunk(store, "features/tiny", 1),
        chunk(store, "features/iqa-tiny", 2),
        chunk(store, "frames", 3),
    )
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    cut.write_bytes(cut.read_bytes()[:-10])
    lost.unlink()
    assert damaged_videos(store) == NAMES[1:]
    summary = repair(store, damaged_videos(store), videos, stored_extractors(store, {}))
    assert (summary.extracted, summary.failures) == (3, ())
    assert tree(store.path) == whole
    assert chunk(store, "features/tiny", 0).stat().st_mtime_ns == untouched
    assert not list(verify_store(FeatureStore.open(store.path)))


def test_verify_command__repairs_and_reports(store: FeatureStore, videos: Path, run: Run) -> None:
    flipped = chunk(store, "features/tiny", 1)
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    ended = run("verify", store.path)
    assert (ended.code, ended.out.count("\n")) == (3, 1)
    assert run("verify", store.path, "--repair").code == 2
    ended = run("verify", store.path, "--repair", "--root", videos)
    assert ended.code == 0, ended.err
    assert "1 of 1 damaged videos extracted again" in ended.err
    (videos / NAMES[2]).unlink()
    cut = chunk(store, "features/tiny", 2)
    cut.write_bytes(b"")
    ended = run("verify", store.path, "--repair", "--root", videos)
    assert (ended.code, "1 of 1 videos are missing below" in ended.err) == (1, True)
    assert cut.exists(), "nothing was removed"


def test_verify_command__says_why_a_video_is_not_repaired(
    store: FeatureStore, videos: Path, run: Run
) -> None:
    chunk(store, "features/tiny", 1).write_bytes(b"")
    (videos / NAMES[1]).write_bytes(b"no video")
    ended = run("verify", store.path, "--repair", "--root", videos)
    assert f"  cannot-open: '{videos / NAMES[1]}' cannot be opened" in ended.err
    assert (ended.code, "0 of 1 damaged videos extracted again" in ended.err) == (3, True)


def test_verify_command__lists_what_a_repair_leaves(store: FeatureStore, videos: Path, run: Run) -> None:
    (store.path / "features" / "tiny" / "zarr.json").write_text("{")
    ended = run("verify", store.path, "--repair", "--root", videos)
    damage = "features/tiny: its zarr.json is damaged; delete the folder and run `vqafeat extract` again"
    assert (ended.code, ended.out.splitlines()) == (3, [damage, f"still wrong: {damage}"]), ended.err


def test_verify_command__refuses_options_without_effect(store: FeatureStore, videos: Path, run: Run) -> None:
    ended = run("verify", store.path, "--root", videos)
    expected = "--root has no effect without --repair; add it, or leave --root out.\n"
    assert (ended.code, ended.err.endswith(expected)) == (2, True), ended.err
    for name in ("sample", "seed", "tolerance"):
        ended = run("verify", store.path, f"--{name}", 1)
        expected = f"--{name} has no effect without --against FOLDER; add it, or leave this option out.\n"
        assert (ended.code, ended.err.endswith(expected)) == (2, True), ended.err


def test_verify_command__compares_a_sample_with_the_videos(
    store: FeatureStore, videos: Path, tmp_path: Path, run: Run
) -> None:
    assert run("verify", store.path, "--tolerance", -1).code == 2
    assert run("verify", store.path, "--seed", -1).code == 2
    ended = run("verify", store.path, "--against", videos, "--sample", 3, "--tolerance", 0)
    assert ended.code == 0, ended.err
    assert ended.out.count(": equal\n") == 6
    assert "6 entries of 3 videos compared" in ended.err
    write_clip(videos / NAMES[1], noise_frames(5, 64, 48, 99))
    shutil.copy(videos / NAMES[0], videos / NAMES[2])
    write_clip(videos / NAMES[3], noise_frames(4, 64, 48, 3))
    comparisons = {
        str(one).split(":")[0]: one
        for one in compared(store, NAMES, videos, stored_extractors(store, {}), 0.001)
    }
    assert [comparisons[f"tiny/{name}"].passed for name in NAMES] == [True, False, False, False]
    assert np.isinf(comparisons[f"tiny/{NAMES[3]}"].difference)
    assert "has other frames or rows, more than 0.001" in str(comparisons[f"tiny/{NAMES[3]}"])
    assert run("verify", store.path, "--against", videos, "--sample", 4).code == 3


def test_verify_command__compares_a_packed_store_and_refuses_its_repair(
    store: FeatureStore, videos: Path, run: Run
) -> None:
    pack_store(store.path)
    assert run("verify", store.path, "--against", videos).code == 0
    shard = max(
        (path for path in store.path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    ended = run("verify", store.path, "--repair", "--root", videos)
    assert (ended.code, "unpack" in ended.err) == (1, True)


def test_stored_extractors__refuse_other_weights(store: FeatureStore) -> None:
    with pytest.raises(
        IdentityError,
        match=r"feature set 'tiny' of .* cannot be made here as it was; .*weights_sha256.* Use the same "
        r"--weights",
    ):
        stored_extractors(store, {"tiny": "random:7"})
    with pytest.raises(ArgumentError, match=r"tolerance is -1; it has to be at least 0"):
        Comparison("a", "tiny", 0.0, -1)


def test_stored_dataset__finds_files_as_the_manifest_of_its_name_says(tmp_path: Path) -> None:
    names = ["0912_Cheer.yuv", "0913_Walk.yuv"]
    store = FeatureStore.create(tmp_path / "live-qualcomm.zarr", bare_dataset(names, "live-qualcomm"))
    (tmp_path / "videos" / "Artifacts").mkdir(parents=True)
    (tmp_path / "videos" / "Artifacts" / names[1]).touch()
    dataset = stored_dataset(store, names[1:], tmp_path / "videos")
    assert [video.path for video in dataset.videos] == [tmp_path / "videos" / "Artifacts" / names[1]]
    manifest = load_manifest("live-qualcomm")
    assert dataset.raw is not None
    assert (dataset.raw, dataset.files) == (manifest.raw, manifest.files)


def test_compared__a_video_that_cannot_be_decoded_differs(store: FeatureStore, videos: Path) -> None:
    (videos / NAMES[0]).write_bytes(b"no video")
    extractors = stored_extractors(store, {})
    comparisons = compared(store, NAMES[:2], videos, extractors, 0.001)
    differences = {(one.feature_set, one.video): one.difference for one in comparisons}
    assert differences == {
        (extractor.feature_set, name): difference
        for extractor in extractors
        for name, difference in ((NAMES[0], np.inf), (NAMES[1], 0.0))
    }
    failed, equal = (str(one) for one in comparisons if one.feature_set == "tiny")
    assert failed.startswith(f"tiny/{NAMES[0]}: cannot be compared: '{videos / NAMES[0]}' cannot be opened")
    assert (failed[-1], equal) == (".", f"tiny/{NAMES[1]}: equal")
