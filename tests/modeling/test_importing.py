"""VSFA's released head, held against published and recorded numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.modeling.importing import import_vsfa
from vqafeat.modeling.trained import TrainedModel
from vqafeat.state_dicts import read_state_dict


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
def vsfa(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return TrainedModel.load(import_vsfa(shared_data / "heads" / "VSFA.pt", tmp_path_factory.mktemp("import") / "run", score_scale=4.64))


@pytest.mark.parametrize(("video", "expected"), [(0, 3.91498), (20, 3.35773), (40, 2.43061)])
def test_recorded_scores_of_float32_features(vsfa: TrainedModel, shared_data: Path, video: int, expected: float) -> None:
    features = np.load(shared_data / "vsfa-cache" / f"{video}_resnet-50_res5c.npy")
    assert vsfa.score(features) == pytest.approx(expected, abs=1e-4)
    assert vsfa.frame_scores(features).shape == (len(features),)


def test_recorded_srocc_on_58_videos(vsfa: TrainedModel, shared_data: Path) -> None:
    folder = shared_data / "konvid58"
    numbers = sorted(path.name.split("_")[0] for path in folder.glob("*_score.npy"))
    scores = [vsfa.score(np.load(folder / f"{number}_resnet-50_res5c.npy", mmap_mode="r")) for number in numbers]
    mos = [np.load(folder / f"{number}_score.npy").item() for number in numbers]
    assert len(numbers) == 58
    assert spearmanr(scores, mos).statistic == pytest.approx(0.861, abs=5e-4)


def test_a_small_head_imports(tmp_path: Path) -> None:
    torch.save(small_released(), tmp_path / "head.pt")
    folder = import_vsfa(tmp_path / "head.pt", tmp_path / "run", score_scale=2.0, dataset="own", mos_range=(0.0, 2.0))
    model = TrainedModel.load(folder)
    assert (model.config.channels, model.config.options["reduced"], model.config.options["hidden"]) == (6, 4, 3)
    assert (model.scale, model.config.origin) == ("MOS of own, 0 to 2", "imported from head.pt")
    assert json.loads((folder / "metrics.json").read_text())["notes"] == ["imported head: its training and test videos are not known"]
    with pytest.raises(ArgumentError, match=r"run' is there already; name another folder with --out"):
        import_vsfa(tmp_path / "head.pt", folder, score_scale=2.0)
    with pytest.raises(ArgumentError, match=r"score_scale is 0; it has to be the largest label"):
        import_vsfa(tmp_path / "head.pt", tmp_path / "other", score_scale=0)


def test_a_pickle_that_needs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": NeedsCode()}, tmp_path / "code.pt")
    with pytest.raises(WeightsError, match="needs code to load, which could do anything"):
        read_state_dict(tmp_path / "code.pt")
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights_are_told(tmp_path: Path) -> None:
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


def test_other_layouts_are_told_by_their_first_names(tmp_path: Path) -> None:
    wrong = small_released(**{"Ldr.weight": torch.zeros(1)})
    del wrong["q.bias"]
    torch.save(wrong, tmp_path / "wrong.pt")
    with pytest.raises(
        WeightsError,
        match=r"is not VSFA's released head: q.bias is missing; Ldr.weight is not of that network. Expected are ann.fc0.weight",
    ):
        import_vsfa(tmp_path / "wrong.pt", tmp_path / "run", score_scale=1)
    torch.save(small_released(**{"rnn.bias_hh_l0": torch.zeros(8)}), tmp_path / "shape.pt")
    with pytest.raises(WeightsError, match=r"recurrence.bias_hh_l0 is \(8,\) in place of \(9,\)"):
        import_vsfa(tmp_path / "shape.pt", tmp_path / "run", score_scale=1)
    assert not (tmp_path / "run").exists()
