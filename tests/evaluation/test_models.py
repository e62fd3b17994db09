"""Published models by name and by file: fetched once, checked, on a stated scale."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import WEIGHTS, Run
from vqafeat.datasets import load_manifest
from vqafeat.errors import ArgumentError, DatasetError, WeightsError
from vqafeat.evaluation.import_head import import_head
from vqafeat.evaluation.model import load_model
from vqafeat.evaluation.models import MODELS, PublishedModel

CHANNELS = 1024  # of squeezenet1_0
FEATURES = np.random.default_rng(1).standard_normal((5, CHANNELS)).astype(np.float32)


def released_head(seed: int = 0) -> dict[str, torch.Tensor]:
    """The names of class VSFA in the released VSFA.py."""
    shapes: dict[str, tuple[int, ...]] = {"ann.fc0.weight": (4, CHANNELS), "ann.fc0.bias": (4,)}
    shapes |= {"rnn.weight_ih_l0": (9, 4), "rnn.weight_hh_l0": (9, 3)}
    shapes |= {"rnn.bias_ih_l0": (9,), "rnn.bias_hh_l0": (9,), "q.weight": (1, 3), "q.bias": (1,)}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the model `vsfa`, at an address that can be read without a network; the cache is empty."""
    path = tmp_path / "released" / "VSFA.pt"
    path.parent.mkdir()
    torch.save(released_head(), path)
    digest = sha256(path.read_bytes()).hexdigest()
    entry = replace(MODELS["vsfa"], url=path.as_uri(), sha256=digest, features="squeezenet1_0")
    monkeypatch.setitem(MODELS, "vsfa", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*VSFA.pt"))


def test_load_model__fetches_a_published_model_once(released: Path, tmp_path: Path) -> None:
    score = load_model("vsfa").predict_features(FEATURES)
    imported = import_head(released, tmp_path / "run", load_manifest("konvid"), feature_sets="squeezenet1_0")
    assert load_model(imported).predict_features(FEATURES) == score
    assert load_model(released).predict_features(FEATURES) == score  # by its file
    (file,) = cached(tmp_path)
    file.write_bytes(b"damaged")
    assert load_model("vsfa").predict_features(FEATURES) == score
    released.unlink()
    model = load_model("vsfa")
    assert model.predict_features(FEATURES) == score
    assert model.scale == "MOS of konvid, 1.22 to 4.64, not calibrated"


def test_load_model__refuses_a_fetched_file_with_another_digest(released: Path, tmp_path: Path) -> None:
    torch.save(released_head(seed=1), released)
    with pytest.raises(WeightsError, match=r"has another file: its SHA-256 is .*It is not used; give the"):
        load_model("vsfa")
    assert cached(tmp_path) == []
    with pytest.raises(
        ArgumentError, match=r"is not the file of a published model .* scale is not known; im"
    ):
        load_model(released)


def test_load_model__names_the_next_step_without_a_network(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released.unlink()
    with pytest.raises(
        WeightsError, match=r"'vsfa' cannot be fetched from file:.*or give the path of VSFA.pt"
    ):
        load_model("vsfa")
    monkeypatch.setenv("VQAFEAT_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"'vsfa' is not in the cache .*, and --offline fetches nothing"):
        load_model("vsfa")
    with pytest.raises(
        WeightsError, match=r"'vsfaa' does not exist; give a run folder, a published model \(v"
    ):
        load_model("vsfaa")


def test_load_model__a_model_without_an_address_is_loaded_by_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'mdtvsfa' is loaded by file only; get MDTVSFA.pt from github"):
        load_model("mdtvsfa")
    vsfa = released_head()
    names = {"ann.fc0": "dimemsion_reduction", "rnn": "feature_aggregation", "q": "regression"}
    state = {
        name.replace(old, new): value
        for name, value in vsfa.items()
        for old, new in names.items()
        if name.startswith(f"{old}.")
    }
    for name in ("nlm.0", "nlm.2", "lm.K", "lm.C", "lm.L"):
        state |= {f"{name}.weight": torch.ones(1, 1), f"{name}.bias": torch.zeros(1)}
    state["lm.L.weight"] = torch.full((1, 1), 57.0)
    torch.save(state, tmp_path / "MDTVSFA.pt")
    model = load_model(tmp_path / "MDTVSFA.pt")
    other = load_model(tmp_path / "MDTVSFA.pt", "live-qualcomm")
    assert model.scale.startswith("MOS of konvid, 1.22 to 4.64")
    assert other.scale.startswith("MOS of live-qualcomm, 16.5621 to 73.6428")
    score = model.predict_features(FEATURES)
    assert other.predict_features(FEATURES) == pytest.approx(57 * score, rel=1e-6)
    with pytest.raises(ArgumentError, match=r"no label scale of 'live-vqc'"):
        load_model(tmp_path / "MDTVSFA.pt", "live-vqc")


def test_published_model__an_address_needs_a_digest() -> None:
    given = vars(MODELS["vsfa"])
    with pytest.raises(DatasetError, match=r"'VSFA.pt' needs both url and sha256, or neither of them"):
        PublishedModel(**{**given, "sha256": ""})


def test_models__the_released_file_has_the_digest_of_its_entry(shared_data: Path) -> None:
    content = (shared_data / "heads" / "VSFA.pt").read_bytes()
    assert sha256(content).hexdigest() == MODELS["vsfa"].sha256
    model = load_model(shared_data / "heads" / "VSFA.pt")
    features = np.load(shared_data / "vsfa-cache" / "0_resnet-50_res5c.npy")
    assert model.predict_features(features) == pytest.approx(3.915, abs=1e-3)  # recorded in the data's README


def test_score__takes_vsfa_unless_another_model_is_named(
    released: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQAFEAT_OFFLINE", "0")  # restored after --offline has set it
    clip = write_clip(tmp_path / "clip.mp4", noise_frames(3, 64, 48))
    refused = run("score", clip, *WEIGHTS, "--offline")
    assert (refused.code, "--offline fetches nothing" in refused.err) == (1, True)
    monkeypatch.setenv("VQAFEAT_OFFLINE", "0")
    untrained = run("score", clip, *WEIGHTS)
    assert (untrained.code, "on which this head was not trained" in untrained.err) == (1, True)
    weights = (*WEIGHTS, "--any-features")
    scored = run("score", clip, *weights)
    assert (scored.code, "(MOS of konvid, 1.22 to 4.64, not calibrated)" in scored.out) == (0, True)
    by_name = run("predict", "vsfa", tmp_path, *weights, "--offline")
    by_file = run("score", "--model", released, clip, *weights)
    assert scored.out == by_name.out == by_file.out


def test_list__names_figures_licence_and_how_a_model_is_loaded(run: Run) -> None:
    vsfa, mdtvsfa = run("list", "models").out.splitlines()
    for part in ("SROCC 0.7728 ± 0.0189", "MIT", "MOS of konvid, 1.22 to 4.64", "ACM MM 2019", "fetched on"):
        assert part in vsfa
    assert "by file only: MDTVSFA.pt of github.com/lidq92/MDTVSFA" in mdtvsfa
