"""`pretrain` and `coral` as a user runs them, on the tiny network."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Run
from tests.helpers.image_sets import MakeSet
from vqafeat.backbones.feature_set import build_extractors

pytestmark = pytest.mark.usefixtures("tiny_backbone")

SMALL = ("--recipe", "demo", "--crop-side", 16, "--epochs", 2, "--workers", 0, "--device", "cpu")


def test_pretrain__writes_a_network_that_extract_takes(run: Run, make_set: MakeSet, tmp_path: Path) -> None:
    out = tmp_path / "iqa-tiny.safetensors"
    command = (
        "pretrain",
        "--backbone",
        "tiny",
        "--images",
        f"mine={make_set(20)}",
        "--weights",
        "random",
        "--pairs",
        30,
        "--out",
        out,
        *SMALL,
        "--short-side",
        24,
    )
    ended = run(*command)
    assert ended.code == 0, ended.err
    assert (
        "mine: 20 images (16 for training, 4 for validation), 30 pairs; standard deviations: column std"
        in ended.err
    )
    assert "epoch  2 of 2: fidelity 0." in ended.err
    card = json.loads((tmp_path / "iqa-tiny.json").read_text())
    assert f"digest of its feature sets: {card['weights_sha256']}" in ended.out
    (extractor,) = build_extractors(["iqa-tiny"], {"iqa-tiny": str(out)})
    assert extractor.identity.weights_sha256 == card["weights_sha256"]
    assert (card["recipe"]["preparation"], card["recipe"]["detach_variance"]) == ("crop", True)
    again = run(*command)
    assert (again.code, "exists already" in again.err) == (1, True)
    (tmp_path / "bad.csv").write_text("image,mos,std\n" + "".join(f"{name}.png,1,1\n" for name in "abcdefgh"))
    assert run(*command, "--images", f"bad={tmp_path / 'bad.csv'}", "--overwrite").code == 1
    assert out.is_file(), "an overwrite that cannot start keeps the finished file"
    shown = json.loads(run(*command, "--overwrite", "--json").out)
    assert (shown["weights_sha256"], shown["network"]) == (card["weights_sha256"], "iqa-tiny")


def test_pretrain__options_replace_values_of_the_recipe(run: Run, make_set: MakeSet, tmp_path: Path) -> None:
    # what Li et al. print where `li-released` follows their code: eq. 3 detaches nothing, "384×384×3"
    printed = ("--preparation", "square", "--no-detach-variance", "--margin", 0.05, "--weight-decay", 0.01)
    given = ("--images", f"mine={make_set(8)}", "--weights", "random", "--validation-percent", 0)
    out = ("--pairs", 4, "--out", tmp_path / "a.safetensors")
    ended = run("pretrain", "--backbone", "tiny", *given, *SMALL, *printed, *out)
    assert ended.code == 0, ended.err
    recipe = json.loads((tmp_path / "a.json").read_text())["recipe"]
    names = ("preparation", "detach_variance", "margin", "weight_decay")
    assert [recipe[name] for name in names] == ["square", False, 0.05, 0.01]
    unused = run("pretrain", "--backbone", "tiny", *given, *SMALL, *printed, *out, "--short-side", 24)
    assert (unused.code, "preparation 'square' takes no short_side" in unused.err) == (1, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--backbone", "swin3d-t"), "--backbone swin3d-t cannot be pre-trained"),
        (("--pairs", "other=3"), "--pairs names 'other', which is not among the image sets mine"),
        (("--recipe", "li"), "unknown pre-training recipe 'li'"),
        (("--precision", "fp16"), "precision 'fp16' needs a GPU"),
        (("--out", "net.pth"), "has to end in .safetensors"),
        (("--epochs", "0"), "epochs: 0 must be greater than or equal to 1"),
        (("--preparation", "pad"), "preparation: 'pad' must be 'crop' or 'square'"),
        (("--margin", "-1"), "margin: -1.0 must be greater than or equal to 0"),
    ],
)
def test_pretrain__refuses_wrong_arguments_before_work_starts(
    run: Run, make_set: MakeSet, tmp_path: Path, changes: tuple[str, str], message: str
) -> None:
    given = {
        "--backbone": "tiny",
        "--images": f"mine={make_set(20)}",
        "--weights": "random",
        "--out": str(tmp_path / "x.safetensors"),
    }
    ended = run(
        "pretrain",
        *(word for pair in {**given, **dict([changes])}.items() for word in pair),
        "--device",
        "cpu",
    )
    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err
    assert not list(tmp_path.glob("x*"))


def test_pretrain__refuses_bad_images_before_work_starts(run: Run, make_set: MakeSet, tmp_path: Path) -> None:
    scores = make_set(20)
    (scores.parent / "03.png").unlink()
    (scores.parent / "04.png").write_text("no image")
    ended = run(
        "pretrain",
        "--backbone",
        "tiny",
        "--images",
        f"mine={scores}",
        "--weights",
        "random",
        "--out",
        tmp_path / "x.safetensors",
        *SMALL,
    )
    assert ended.code == 1
    assert "2 of 20 images cannot be used: " in ended.err
    assert "03.png' does not exist" in ended.err
    assert "04.png' is not an image that Pillow can read" in ended.err


def test_coral__prints_distances_of_images_and_stores(
    run: Run, make_set: MakeSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_set(6, "a"), make_set(7, "b")
    weights = ("--weights", "random", "--device", "cpu", "--features", "tiny", "--features", "iqa-tiny")
    ended = run(
        "coral",
        f"a={first}",
        f"folder={second.parent}",
        f"b={second}",
        *weights,
        "--plot",
        tmp_path / "coral.png",
    )
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        [s, d, "to", "b"] for s in ("tiny:", "iqa-tiny:") for d in ("a", "folder")
    ]
    assert "6 and 7 samples, 32 channels" in lines[0]
    assert float(lines[1].split()[4]) == 0
    assert (tmp_path / "coral.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads(run("coral", f"a={first}", f"b={second}", "--json", *weights).out)
    assert result["target"] == "b"
    assert result["distances"]["tiny"]["a"] == pytest.approx(float(lines[0].split()[4]), rel=1e-3)
    sampled = run("coral", f"folder={second.parent}", f"b={second}", "--sample", 3, "--seed", 5, *weights)
    assert "3 and 7 samples, 32 channels" in sampled.out
    missing = run("coral", f"a={first}", tmp_path / "none.zarr", *weights)
    assert (missing.code, "none.zarr' does not exist" in missing.err) == (1, True)


def test_list__image_sets_and_pretraining_recipes(run: Run) -> None:
    sets = run("list", "image-sets").out.splitlines()
    assert [line.split()[0] for line in sets] == ["bid", "clive", "koniq", "spaq", "kadid"]
    assert "20000 pairs" in sets[0]
    assert "ten pairs per training image" in sets[4]
    assert [line.split()[0] for line in run("list", "pretraining-recipes").out.splitlines()] == [
        "li-released",
        "li-paper",
        "demo",
    ]
