"""What an extraction may use, and how it looks at frames, as users type it."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import Run
from vqafeat.store import FeatureStore

pytestmark = pytest.mark.usefixtures("networks_drawn_once")


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for index, frames in enumerate((6, 140)):
        write_clip(tmp_path / f"v{index}.mp4", noise_frames(frames, 64, 48, seed=index))
    (tmp_path / "mine.csv").write_text("video,mos\nv0.mp4,3\nv1.mp4,2\n")
    return tmp_path / "mine.csv"


def extract(run: Run, labels: Path, *options: object) -> tuple[int, str]:
    ended = run("extract", "--dataset", labels, "--weights", "random", *options)
    return ended.code, ended.out + ended.err


def test_extract__several_networks_views_and_frames_in_one_pass(run: Run, labels: Path) -> None:
    names = ["squeezenet1_0@uniform128", "resnet18:stages@crops768", "slowfast-fast:kinetics"]
    code, output = extract(
        run,
        labels,
        *(item for name in names for item in ("--backbone", name)),
        "--workers",
        1,
        "--memory",
        "16G",
    )
    assert (code, output.strip()) == (
        0,
        "features/mine.zarr: 2 videos extracted (146 frames decoded), 0 already done, 0 failed.",
    )
    store = FeatureStore.open(Path("features/mine.zarr"))
    assert store.feature_sets() == [
        "resnet18:stages@crops768",
        "slowfast-fast:kinetics",
        "squeezenet1_0@uniform128",
    ]
    shapes = {name: store.read(name, "v1.mp4").values.shape for name in store.feature_sets()}
    assert shapes == {
        "squeezenet1_0@uniform128": (128, 1024),
        "resnet18:stages@crops768": (140, 1920),
        "slowfast-fast:kinetics": (32 + 32 + 6, 512),
    }
    shown = run("show", "features").out
    for words in (
        "128 frames at equal intervals",
        "4 crops of 768x768",
        "blocks of 64 frames",
        "mean (0.45, 0.45, 0.45)",
    ):
        assert words in shown


def test_extract__workers_and_batch_change_nothing(run: Run, labels: Path) -> None:
    stored = []
    for number, options in enumerate(
        (("--workers", 0), ("--workers", 3, "--batch", 7), ("--device", "cpu", "--batch", 1))
    ):
        common = ("--backbone", "squeezenet1_0", "--dtype", "float32", "--store", f"f{number}")
        assert extract(run, labels, *options, *common)[0] == 0
        stored.append(FeatureStore.open(Path(f"f{number}/mine.zarr")).read("squeezenet1_0", "v1.mp4").values)
    np.testing.assert_array_equal(stored[0], stored[1])
    np.testing.assert_array_equal(stored[0], stored[2])


def test_extract__bf16_is_another_identity(run: Run, labels: Path) -> None:
    assert extract(run, labels, "--backbone", "squeezenet1_0")[0] == 0
    code, output = extract(run, labels, "--backbone", "squeezenet1_0", "--precision", "bf16")
    assert code == 1
    assert (
        "precision: 'computed in float32, stored in float16' against 'computed in bfloat16, stored in "
        "float16'" in output
    )
    assert (
        extract(run, labels, "--backbone", "squeezenet1_0", "--precision", "bf16", "--store", "half")[0] == 0
    )


@pytest.mark.usefixtures("decoding_processes")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "fp16"), "precision 'fp16' needs a GPU; a CPU computes in fp32, or in bf16"),
        (("--decoder", "nvdec"), "decoder 'nvdec' needs a GPU, device is 'cpu'; use --decoder cpu"),
        (("--memory", "lots"), "memory is 'lots'; write an amount such as 1500M, 1.5G or 16G"),
        (("--device", "tpu"), "device is 'tpu'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'"),
        (("--timeout", "0"), "timeout is 0 seconds; it has to be positive"),
    ],
)
def test_extract__refuses_what_cannot_be_used(
    run: Run, labels: Path, options: tuple[str, ...], words: str
) -> None:
    code, output = extract(run, labels, "--backbone", "squeezenet1_0", "--device", "cpu", *options)
    assert code == 1
    assert words in output
    assert not Path("features/mine.zarr/frames").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_extract__refuses_an_absent_gpu(run: Run, labels: Path) -> None:
    code, output = extract(run, labels, "--backbone", "squeezenet1_0", "--device", "cuda:1")
    assert (code, "device is 'cuda:1', but PyTorch finds no CUDA device here" in output) == (1, True)


def test_extract__logs_a_video_beyond_the_memory(run: Run, labels: Path) -> None:
    code, output = extract(run, labels, "--backbone", "squeezenet1_0", "--memory", "100M")
    assert code == 3
    assert "over-memory: " in output
    assert "needs about" in output
    assert "give --memory" in output


def test_list__views_and_backbones(run: Run) -> None:
    lines = run("list", "views").out.splitlines()
    views, rules = "@full @short540 @crops768 @center112", "@every @stride2 @uniform128"
    assert [line.split()[0] for line in lines] == f"{views} {rules}".split()
    backbones = run("list", "backbones").out
    assert re.search(
        r"resnet50:stages +7680 channels \(GAP ‖ GSP of layer1, layer2, layer3, layer4\)", backbones
    )
    assert re.search(r"slowfast-fast +512 channels \(GAP ‖ GSP of res5\); blocks of 64 frames", backbones)
