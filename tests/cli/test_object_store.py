"""A store at a URL as users type it: packed to it, fitted from it, extracted to it; no credential is seen
anywhere.
"""

import json
import os
from pathlib import Path

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import WEIGHTS, Run
from tests.helpers.s3 import SECRET, LoopbackS3
from tests.helpers.tables import OWN_TABLE, make_store
from vqafeat.remote import listed_files, parse_path
from vqafeat.store import FeatureStore, content_digest

FIT = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 2, "--json")


def extracted(run: Run, data: Path, *options: object) -> None:
    assert (
        run("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS, *options).code
        == 0
    )


def test_fit__reads_a_packed_store_at_a_url_from_a_copy(
    run: Run, here: Path, data: Path, s3: LoopbackS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    extracted(run, data)
    plain = run(*FIT, "--out", "runs/plain")
    option, store = ("--storage-option", f"endpoint_url={s3.url}"), ("--store", "s3://bucket/features")
    packed = run("pack", "features/mine.zarr", "--out", "s3://bucket/features/mine.zarr", *option)
    assert packed.out.startswith("s3://bucket/features/mine.zarr: packed, 20 complete entries")
    first = run(*FIT, "--out", "runs/first", *store, *option)
    assert (first.code, first.out.replace("/first", "/plain")) == (0, plain.out)
    assert "of s3://bucket/features/mine.zarr to" in first.err
    with s3.seen() as requests:
        again = run(*FIT, "--out", "runs/again", *store, *option)
    assert again.out.replace("/again", "/plain") == plain.out
    assert "reading the copy of s3://bucket/features/mine.zarr" in again.err
    assert not any("float16" in request for request in requests)
    streamed = run(*FIT, "--out", "runs/streamed", *store, *option, "--cache", "none")
    assert streamed.out.replace("/streamed", "/plain") == plain.out
    assert "exceed the 0.00 GiB of --cache; each access reads it there" in streamed.err
    endings = [
        first,
        again,
        streamed,
        run("evaluate", "runs/first", *store, *option),
        run("show", "s3://bucket/features", *option),
    ]
    endings += [
        run("verify", "s3://bucket/features", *option),
        run("report", "runs/first", "--out", "page.html", *store, *option),
    ]
    assert [ended.code for ended in endings] == [0] * len(endings)
    assert not any(SECRET in ended.out + ended.err for ended in endings)
    assert not any(SECRET.encode() in path.read_bytes() for path in here.rglob("*") if path.is_file())


def test_extract__to_a_url_resumes_and_logs_failures_there(run: Run, here: Path, s3: LoopbackS3) -> None:
    for index in range(2):
        write_clip(here / f"v{index}.mp4", noise_frames(6, 64, 48, seed=index))
    (here / "v2.mp4").write_bytes(b"no video")
    (here / "mine.csv").write_text("video,mos\nv0.mp4,1\nv1.mp4,2\nv2.mp4,3\n")
    given = ("--dataset", here / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    store = ("--store", "s3://bucket/features", "--storage-option", f"endpoint_url={s3.url}")
    first = run("extract", *given, *store)
    assert (first.code, "2 videos extracted" in first.out, "1 failed" in first.out) == (3, True, True)
    assert "the failure log is s3://bucket/features/mine.failures.jsonl" in first.err
    again = run("extract", *given, *store)
    assert (again.code, "0 videos extracted (0 frames decoded), 2 already done, 1 failed" in again.out) == (
        3,
        True,
    )
    assert run("verify", "s3://bucket/features/mine.zarr", *store[2:]).code == 0


def test_extract__fetches_videos_at_a_url_once_to_the_same_store(
    run: Run, here: Path, s3: LoopbackS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    option = ("--storage-option", f"endpoint_url={s3.url}")
    (here / "videos" / "deep").mkdir(parents=True)
    names = ["v0.mp4", "v1.mp4", "deep/v2.mp4", "v3.mp4", "v4.mp4"]
    for index, name in enumerate(names[:4]):
        write_clip(here / "videos" / name, noise_frames(6, 64, 48, seed=index))
    (here / "videos" / "v4.mp4").write_bytes(b"no video")
    remote = parse_path("s3://bucket/videos", option[1:])
    for name in names:
        (remote / name).write_bytes((here / "videos" / name).read_bytes())
    (remote / "left.zarr" / "v9.mp4").write_bytes(b"part of a store")
    (here / "mine.csv").write_text(
        "video,mos\n" + "".join(f"{name},{row}\n" for row, name in enumerate([*names, "gone.mp4"]))
    )
    given = (
        "extract",
        "--dataset",
        here / "mine.csv",
        "--backbone",
        "squeezenet1_0",
        *WEIGHTS,
        "--skip-missing",
    )
    files = listed_files(remote)
    for name in names:
        file = files[name]
        os.utime(
            here / "videos" / name, ns=(file.modified_ns, file.modified_ns)
        )  # as a tool that copies leaves it
    local = run(*given, "--root", here / "videos", "--store", "local")
    s3.refused = 2  # busy replies are repeated
    first = run(*given, "--root", "s3://bucket/videos", *option)
    assert (first.code, first.out) == (local.code, local.out.replace("local/", "features/")) == (3, first.out)
    assert f"cannot-open: '{remote}/v4.mp4' cannot be opened" in first.err
    assert content_digest(FeatureStore.open(here / "features/mine.zarr")) == content_digest(
        FeatureStore.open(here / "local/mine.zarr")
    )
    assert not list((here / "cache/vqafeat/videos").glob("*/"))
    with s3.seen() as requests:
        again = run(*given, "--root", "s3://bucket/videos", *option)
    assert "0 videos extracted (0 frames decoded), 4 already done, 2 failed" in again.out
    assert [request for request in requests if ".mp4" in request] == [
        request for request in requests if "v4.mp4" in request
    ]
    checked = run("verify", "features/mine.zarr", "--against", "s3://bucket/videos", *option, *WEIGHTS)
    assert (
        checked.code,
        "4 entries of 4 videos compared with 's3://bucket/videos', 0 differ" in checked.err,
    ) == (0, True)
    nowhere = run(*given, "--root", "s3://nowhere/videos", *option)
    assert (nowhere.code, "the folder of videos 's3://nowhere/videos' does not exist" in nowhere.err) == (
        1,
        True,
    )
    assert not any(SECRET in ended.out + ended.err for ended in (first, again, checked, nowhere))


def test_table__and_coral_read_a_store_at_a_url(
    run: Run, here: Path, s3: LoopbackS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    option = ("--storage-option", f"endpoint_url={s3.url}")
    for name in ("konvid", "live-vqc"):
        make_store(here / "local", name)
    run("pack", "local/konvid.zarr", "--out", "s3://bucket/features/konvid.zarr", *option)
    (here / "own.toml").write_text(OWN_TABLE)
    local = run("table", "own.toml", "--store", "local", "--runs", "a", "--jobs", 1, "--json")
    given = ("table", "own.toml", "--store", "s3://bucket/features", *option, "--jobs", 1, "--json")
    first, again = run(*given, "--runs", "b"), run(*given, "--runs", "c")
    cells = [json.loads(ended.out)["cells"][0] for ended in (local, first, again)]
    assert [cell["measured"] for cell in cells] == [cells[0]["measured"]] * 3
    assert first.err.count("of s3://bucket/features/konvid.zarr to") == 1
    assert "reading the copy of s3://bucket/features/konvid.zarr" in again.err
    domains = ("local/live-vqc.zarr", "--features", "resnet18", "--json")
    there = run("coral", "s3://bucket/features/konvid.zarr", *domains, *option)
    assert (there.code, there.out) == (0, run("coral", "local/konvid.zarr", *domains).out)


def test_url__with_credentials_or_for_label_files_is_refused(run: Run) -> None:
    ended = run("fit", "--store", "s3://bucket/features", "--storage-option", "secret=HIDDEN")
    assert (ended.code, "looks like a credential" in ended.err, "HIDDEN" in ended.err) == (1, True, False)
    ended = run("extract", "--dataset", "konvid", "--backbone", "resnet18", "--root", "s3://bucket/videos")
    assert (ended.code, "or the file with --labels FILE" in ended.err) == (1, True)
