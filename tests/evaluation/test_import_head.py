"""Released heads: VSFA's against published and recorded numbers, MDTVSFA's and Li et al.'s layout against the
equations.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from vqafeat.backbones.weights import read_state_dict
from vqafeat.datasets import load_manifest
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.evaluation import import_head as module
from vqafeat.evaluation.model import Model
from vqafeat.heads.mdtvsfa import AlignedHead
from vqafeat.losses.label_scaling import LabelScaling

KONVID = load_manifest("konvid")


def import_head(
    path: Path,
    out: Path,
    largest_label: float | None = None,
    dataset: str = "konvid",
    mos_range: tuple[float, float] = (1.22, 4.64),
    feature_sets: str | None = None,
) -> Path:
    trained_on = replace(KONVID, name=dataset, mos_range=mos_range)
    return module.import_head(path, out, trained_on, largest_label, feature_sets)


class NeedsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a pickle runs",)


def small_released(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    shapes = {
        "ann.fc0.weight": (4, 6),
        "ann.fc0.bias": (4,),
        "ann.fc.weight": (4, 4),
        "ann.fc.bias": (4,),
        "rnn.weight_ih_l0": (9, 4),
        "rnn.weight_hh_l0": (9, 3),
        "rnn.bias_ih_l0": (9,),
        "rnn.bias_hh_l0": (9,),
        "q.weight": (1, 3),
        "q.bias": (1,),
    }
    return {**{name: torch.ones(shape) for name, shape in shapes.items()}, **changes}


@pytest.fixture(scope="module")
def vsfa(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(
        import_head(
            shared_data / "heads" / "VSFA.pt", tmp_path_factory.mktemp("import") / "run", largest_label=4.64
        )
    )


@pytest.mark.parametrize(("video", "expected"), [(0, 3.91498), (20, 3.35773), (40, 2.43061)])
def test_import_head__vsfa_gives_the_recorded_scores(
    vsfa: Model, shared_data: Path, video: int, expected: float
) -> None:
    features = np.load(shared_data / "vsfa-cache" / f"{video}_resnet-50_res5c.npy")
    assert vsfa.score(features) == pytest.approx(expected, abs=1e-4)
    assert vsfa.frame_scores(features).shape == (len(features),)


def test_import_head__vsfa_gives_the_recorded_srocc_on_58_videos(vsfa: Model, shared_data: Path) -> None:
    folder = shared_data / "konvid58"
    numbers = sorted(path.name.split("_")[0] for path in folder.glob("*_score.npy"))
    scores = [
        vsfa.score(np.load(folder / f"{number}_resnet-50_res5c.npy", mmap_mode="r")) for number in numbers
    ]
    mos = [np.load(folder / f"{number}_score.npy").item() for number in numbers]
    assert len(numbers) == 58
    assert spearmanr(scores, mos).statistic == pytest.approx(0.861, abs=5e-4)


@pytest.mark.parametrize("video", [0, 20, 40])
def test_import_head__vsfa_forgets_its_start_in_the_warm_up(
    vsfa: Model, shared_data: Path, video: int
) -> None:
    features = np.load(shared_data / "vsfa-cache" / f"{video}_resnet-50_res5c.npy")
    whole, late = vsfa.frame_scores(features)[60:], vsfa.frame_scores(features[60:])
    assert abs(whole - late)[0] > 0.4
    np.testing.assert_allclose(whole[vsfa.heads[0].warmup :], late[vsfa.heads[0].warmup :], atol=0.03)


def test_import_head__a_small_head(tmp_path: Path) -> None:
    torch.save(small_released(), tmp_path / "head.pt")
    folder = import_head(
        tmp_path / "head.pt", tmp_path / "run", largest_label=2.0, dataset="own", mos_range=(0.0, 2.0)
    )
    model = Model.load(folder)
    assert (model.config.channels, model.config.options["reduced"], model.config.options["hidden"]) == (
        6,
        4,
        3,
    )
    assert (model.scale, model.config.origin) == (
        "MOS of own, 0 to 2, not calibrated",
        "imported from head.pt",
    )
    assert json.loads((folder / "metrics.json").read_text())["notes"] == [
        "imported head: its training and test videos are not known"
    ]
    with pytest.raises(ArgumentError, match=r"run' exists; name another folder with --out"):
        import_head(tmp_path / "head.pt", folder, largest_label=2.0)
    with pytest.raises(ArgumentError, match=r"largest_label is 0; it has to be the largest label"):
        import_head(tmp_path / "head.pt", tmp_path / "other", largest_label=0)
    with pytest.raises(ArgumentError, match=r"names in 'a\+a' have to be different"):
        import_head(tmp_path / "head.pt", tmp_path / "other", feature_sets="a+a")


def test_read_state_dict__refuses_a_pickle_that_needs_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": NeedsCode()}, tmp_path / "code.pt")
    with pytest.raises(WeightsError, match="needs code to load, which could do anything"):
        read_state_dict(tmp_path / "code.pt")
    assert capsys.readouterr().out == ""


def test_read_state_dict__refuses_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.pt' does not exist; name a .pth, .pt or .safetensors file"):
        read_state_dict(tmp_path / "none.pt")
    torch.save(small_released(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:700])
    with pytest.raises(WeightsError, match=r"cut.pt' cannot be read"):
        read_state_dict(tmp_path / "cut.pt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(WeightsError, match=r"empty.pt' (cannot be read|is a pickle that needs code)"):
        read_state_dict(tmp_path / "empty.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match=r"list.pt' holds no state dict"):
        read_state_dict(tmp_path / "list.pt")


def test_import_head__names_the_first_keys_of_other_layouts(tmp_path: Path) -> None:
    wrong = small_released(**{"Ldr.weight": torch.zeros(1)})
    del wrong["q.bias"]
    torch.save(wrong, tmp_path / "wrong.pt")
    with pytest.raises(
        WeightsError,
        match=r"is not VSFA's released head: q.bias is missing; Ldr.weight is not of that network. Expected "
        r"are ann.fc0.weight",
    ):
        import_head(tmp_path / "wrong.pt", tmp_path / "run", largest_label=1)
    torch.save(small_released(**{"rnn.bias_hh_l0": torch.zeros(8)}), tmp_path / "shape.pt")
    with pytest.raises(WeightsError, match=r"recurrence.bias_hh_l0 is \(8,\) in place of \(9,\)"):
        import_head(tmp_path / "shape.pt", tmp_path / "run", largest_label=1)
    assert not (tmp_path / "run").exists()


def small_mdtvsfa(letters: str = "KCLN", channels: int = 6) -> dict[str, torch.Tensor]:
    """The names of class VQAModel in the released VQAmodel.py, with drawn values."""
    shapes: dict[str, tuple[int, ...]] = {
        "dimemsion_reduction.weight": (4, channels),
        "dimemsion_reduction.bias": (4,),
        "feature_aggregation.weight_ih_l0": (9, 4),
        "feature_aggregation.weight_hh_l0": (9, 3),
        "feature_aggregation.bias_ih_l0": (9,),
        "feature_aggregation.bias_hh_l0": (9,),
        "regression.weight": (1, 3),
        "regression.bias": (1,),
        "nlm.0.weight": (1, 1),
        "nlm.0.bias": (1,),
        "nlm.2.weight": (1, 1),
        "nlm.2.bias": (1,),
    }
    for letter in letters:
        shapes |= {f"lm.{letter}.weight": (1, 1), f"lm.{letter}.bias": (1,)}
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def three_scores(
    weights: dict[str, np.ndarray], frames: np.ndarray, letter: str
) -> tuple[float, float, float]:
    """FC, GRU, FC, hysteresis pooling frame by frame, sigmoid, logistic, line: the equations, in float64."""
    state, quality = np.zeros(3), []
    for frame in frames @ weights["dimemsion_reduction.weight"].T + weights["dimemsion_reduction.bias"]:
        new = np.split(
            weights["feature_aggregation.weight_ih_l0"] @ frame + weights["feature_aggregation.bias_ih_l0"], 3
        )
        old = np.split(
            weights["feature_aggregation.weight_hh_l0"] @ state + weights["feature_aggregation.bias_hh_l0"], 3
        )
        reset, update = sigmoid(new[0] + old[0]), sigmoid(new[1] + old[1])
        state = (1 - update) * np.tanh(new[2] + reset * old[2]) + update * state
        quality.append((weights["regression.weight"] @ state + weights["regression.bias"]).item())
    pooled = []
    for t in range(len(quality)):
        ahead = np.array(quality[t : t + 12])
        current = (ahead * np.exp(-ahead)).sum() / np.exp(-ahead).sum()
        pooled.append(0.5 * current + 0.5 * min(quality[max(0, t - 11) : t + 1]))
    relative = sigmoid(np.mean(pooled))
    inner = sigmoid(weights["nlm.0.weight"].item() * relative + weights["nlm.0.bias"].item())
    mapped = weights["nlm.2.weight"].item() * inner + weights["nlm.2.bias"].item()
    return (
        relative,
        mapped,
        weights[f"lm.{letter}.weight"].item() * mapped + weights[f"lm.{letter}.bias"].item(),
    )


@pytest.mark.parametrize(
    ("letter", "dataset"), [("K", "konvid"), ("C", "cvd2014"), ("L", "live-qualcomm"), ("N", "live-vqc")]
)
def test_import_head__mdtvsfa_equals_the_equations(tmp_path: Path, letter: str, dataset: str) -> None:
    released = small_mdtvsfa()
    torch.save(released, tmp_path / "MDTVSFA.pt")
    model = Model.load(
        import_head(tmp_path / "MDTVSFA.pt", tmp_path / "run", dataset=dataset, mos_range=(0.0, 9.0))
    )
    assert (model.config.head, model.config.options["datasets"]) == (
        "mdtvsfa",
        "konvid+cvd2014+live-qualcomm+live-vqc",
    )
    assert (model.config.feature_sets, model.trained_on.lines, model.scale) == (
        "resnet50",
        (LabelScaling(1.0),),
        f"MOS of {dataset}, 0 to 9, not calibrated",
    )
    features = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    weights = {name: value.double().numpy() for name, value in released.items()}
    relative, mapped, aligned = three_scores(weights, features.astype(np.float64), letter)
    assert model.score(features) == pytest.approx(aligned, abs=1e-5)
    head = model.heads[0]
    assert isinstance(head, AlignedHead)
    result = head.outputs(head.inner(torch.from_numpy(features), torch.tensor([30])))
    assert (result.relative.item(), result.mapped.item()) == (
        pytest.approx(relative, abs=1e-6),
        pytest.approx(mapped, abs=1e-6),
    )


def test_import_head__of_one_data_set_and_of_fused_features(tmp_path: Path) -> None:
    torch.save(small_mdtvsfa("Y", channels=4608), tmp_path / "head.pt")
    with pytest.raises(
        ArgumentError,
        match=r"dataset is 'konvid', but the file has scales of youtube-ugc; name one of them with --dataset",
    ):
        import_head(tmp_path / "head.pt", tmp_path / "run")
    with pytest.raises(
        ArgumentError,
        match=r"largest_label is 5.0, but .* maps its outputs to the labels of 'youtube-ugc'; leave",
    ):
        import_head(tmp_path / "head.pt", tmp_path / "run", 5.0, "youtube-ugc")
    assert not (tmp_path / "run").exists()
    model = Model.load(import_head(tmp_path / "head.pt", tmp_path / "run", dataset="youtube-ugc"))
    assert (model.config.feature_sets, model.config.channels) == ("iqa-resnet50+slowfast-fast", 4608)
    named = Model.load(
        import_head(tmp_path / "head.pt", tmp_path / "two", dataset="youtube-ugc", feature_sets="mine")
    )
    assert named.config.feature_sets == "mine"
    assert math.isfinite(model.score(np.ones((3, 4608), np.float32)))


def test_import_head__reports_damaged_mdtvsfa_layouts(tmp_path: Path) -> None:
    torch.save(
        {name: value for name, value in small_mdtvsfa().items() if name != "nlm.2.bias"}, tmp_path / "cut.pt"
    )
    with pytest.raises(
        WeightsError,
        match=r"is not the released head of MDTVSFA or of Li et al.: nlm.2.bias is missing. Expected are dim",
    ):
        import_head(tmp_path / "cut.pt", tmp_path / "run")
    torch.save(
        {name: value for name, value in small_mdtvsfa().items() if name != "lm.C.bias"}, tmp_path / "line.pt"
    )
    with pytest.raises(
        WeightsError, match=r"the lines lm.\* of the file need one weight and one bias each, for K, C, L, N"
    ):
        import_head(tmp_path / "line.pt", tmp_path / "run")
    torch.save(small_mdtvsfa(""), tmp_path / "none.pt")
    with pytest.raises(ArgumentError, match=r"the file has scales of none"):
        import_head(tmp_path / "none.pt", tmp_path / "run")
