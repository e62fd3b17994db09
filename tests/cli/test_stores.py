"""The data sets and stores that commands open by name."""

from pathlib import Path

import pytest
from vqafeat_cli.stores import open_stores

from tests.helpers.command_line import Run
from vqafeat.demo.video_set import DemoSettings, plan_versions


def test_load_with_root__names_where_the_videos_may_be(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VQAFEAT_DATA", raising=False)
    rows = "".join(f"{one.video},{one.proxy_score},c{one.content}\n" for one in plan_versions(DemoSettings()))
    (tmp_path / "labels.csv").write_text(f"video,mos,content\n{rows}")
    labels = ("--labels", tmp_path / "labels.csv")
    ended = run("extract", "--dataset", "demo", *labels, "--backbone", "resnet50", "--store", tmp_path)
    assert ended.code == 1
    assert (
        "the folder of the videos of 'demo' is not given; set VQAFEAT_DATA to the folder that holds 'demo/', "
        "or give --root FOLDER or --root s3://bucket/prefix." in ended.err
    )


def test_open_stores__joins_several_data_sets(stores: Path) -> None:
    assert open_stores(stores, ["konvid"]).path == stores / "konvid.zarr"
    joint = open_stores(stores, ["live-vqc", "konvid"])
    assert [dataset.name for dataset in joint.datasets] == ["live-vqc", "konvid"]
