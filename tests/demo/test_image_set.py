"""The demo image set: the same bytes from the same seed, labels that follow from the distortions, and places
that do not overlap.
"""

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vqafeat.demo.image_set import (
    DISPUTED_STD,
    IMAGE_KINDS,
    MOST_IMAGE_CONTENTS,
    SIDE_PX,
    ImageDemoSettings,
    ImageVersion,
    make_image_demo,
    plan_image_versions,
    render,
)
from vqafeat.errors import ArgumentError, DatasetError


def version(kind: str, severity: int, content: int = 0) -> np.ndarray:
    return render(0, ImageVersion("", content, kind, severity, 0.0, 0.0)).astype(float)


def test_make_image_demo__is_made_once_and_the_same_from_its_seed(tmp_path: Path) -> None:
    first, second = make_image_demo(tmp_path / "a", contents=2), make_image_demo(tmp_path / "b", contents=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [(tmp_path / "a" / name).read_bytes() for name in files] == [
        (tmp_path / "b" / name).read_bytes() for name in files
    ]
    rows = list(csv.DictReader(first.read_text().splitlines()))
    assert len(rows) == 2 * (1 + 3 * 5)
    assert {row["content"] for row in rows} == {"p01", "p02"}
    with Image.open(tmp_path / "a" / rows[0]["image"]) as image:
        assert image.size == (SIDE_PX, SIDE_PX)
    stamp = (second.parent / rows[3]["image"]).stat().st_mtime_ns
    make_image_demo(tmp_path / "b", contents=2)
    assert (second.parent / rows[3]["image"]).stat().st_mtime_ns == stamp
    (second.parent / rows[3]["image"]).unlink()
    make_image_demo(tmp_path / "b", contents=2)
    assert (second.parent / rows[3]["image"]).is_file()


def test_plan_image_versions__labels_follow_severity_and_kind() -> None:
    versions = plan_image_versions(ImageDemoSettings())
    assert len(versions) == MOST_IMAGE_CONTENTS * 16
    for kind in IMAGE_KINDS:
        entry = IMAGE_KINDS[kind]
        own = [item for item in versions if item.kind == kind]
        errors = [item.mos - (90 - entry.slope * item.severity) for item in own]
        assert abs(np.mean(errors)) < 3 * entry.opinion_std / np.sqrt(20 * len(own))
        assert {item.std for item in own} == {entry.opinion_std}
        assert np.std(errors) == pytest.approx(entry.opinion_std / np.sqrt(20), rel=0.25)
    assert {item.kind for item in versions if item.std == DISPUTED_STD} == {"exposure", "colour"}


@pytest.mark.parametrize("kind", [kind for kind in IMAGE_KINDS if kind != "pristine"])
def test_image_kinds__each_step_is_further_from_the_pristine_one(kind: str) -> None:
    pristine = version("pristine", 0)
    # the mean over a neighbourhood for noise, whose draws differ from step to step
    distances = [
        np.abs(ndimage.gaussian_filter(version(kind, step) - pristine, (0.5, 0.5, 0))).mean()
        for step in range(1, 6)
    ]
    if kind != "exposure":  # darker or brighter, as drawn
        assert all(earlier < later for earlier, later in pairwise(distances))
    assert min(distances) > 0.3


def test_plan_image_versions__crops_do_not_overlap() -> None:
    crops = [version("pristine", 0, content) for content in range(MOST_IMAGE_CONTENTS)]
    assert len({crop.tobytes() for crop in crops}) == MOST_IMAGE_CONTENTS


def test_make_image_demo__refuses_wrong_folders_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="image demo: contents: 99 must be less than or equal to 80"):
        make_image_demo(tmp_path / "a", contents=99)
    with pytest.raises(ArgumentError, match="seed: -1 must be greater than or equal to 0"):
        make_image_demo(tmp_path / "a", seed=-1)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "photo.jpg").write_text("mine")
    with pytest.raises(
        DatasetError,
        match=r"own' holds photo.jpg but no images.json, so it is not an image set; choose an empty folder",
    ):
        make_image_demo(tmp_path / "own")
    make_image_demo(tmp_path / "a", contents=1)
    with pytest.raises(
        DatasetError,
        match=r"holds an image set with \{'seed': 0, 'contents': 1.*delete the folder or choose another one",
    ):
        make_image_demo(tmp_path / "a", contents=2)
    (tmp_path / "a" / "images.json").write_text(json.dumps([]))
    with pytest.raises(DatasetError, match="is not the marker of an image set"):
        make_image_demo(tmp_path / "a", contents=1)
