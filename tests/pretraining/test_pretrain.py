"""A whole pre-training: the weights file, its card, resuming, and what is refused before work starts."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.weights import load_network
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.pretraining.pretrain import PretrainingRequest, card_path, check_new, pretrain
from vqafeat.pretraining.trainer import ComputeOptions, PretrainingRecord, Step, checkpoint_path


def request(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, out: Path, seed: int = 0
) -> PretrainingRequest:
    return PretrainingRequest("tiny", "random:1", pair_sets, recipe, seed, ComputeOptions(), out)


class Stop(Exception):  # noqa: N818
    """Ends a training as an interruption would."""


def stop_after_two(event: Step | PretrainingRecord) -> None:
    if isinstance(event, PretrainingRecord) and event.epoch == 2:
        raise Stop


def test_pretrain__writes_a_quality_network_and_its_model_card(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "made" / "iqa-tiny.safetensors"
    made = pretrain(request(pair_sets, recipe, out))
    loaded = load_network(BACKBONES.get("iqa-tiny"), str(out))
    assert loaded.weights_sha256 == made.weights_sha256
    card = json.loads(card_path(out).read_text())
    assert (card["network"], card["file"], card["weights_sha256"]) == (
        "iqa-tiny",
        "iqa-tiny.safetensors",
        made.weights_sha256,
    )
    assert card["file_sha256"] == sha256(out.read_bytes()).hexdigest()
    assert (card["backbone"], card["start"], card["seed"]) == ("tiny", "random, seed 1", 0)
    assert card["recipe"] == asdict(recipe)
    described = card["sets"]["mine"]
    assert (described["training_images"], described["validation_images"], described["pairs"]) == (15, 5, 40)
    assert described["std"] == "column std"
    assert [row["epoch"] for row in card["curve"]] == [1, 2, 3]
    assert card["validation_srocc"] == card["curve"][card["kept_epoch"] - 1]["validation_srocc"]
    assert {"vqafeat", "torch", "torchvision", "pillow", "device"} == card["made_with"].keys()
    assert sorted(path.name for path in out.parent.iterdir()) == ["iqa-tiny.json", "iqa-tiny.safetensors"]


def test_pretrain__resumes_a_stopped_run_to_the_same_file(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    pretrain(request(pair_sets, recipe, whole))
    with pytest.raises(Stop):
        pretrain(request(pair_sets, recipe, resumed), stop_after_two)
    assert checkpoint_path(resumed).is_file()
    assert not resumed.exists()
    check_new(resumed)
    pretrain(request(pair_sets, recipe, resumed))
    assert resumed.read_bytes() == whole.read_bytes()
    assert not checkpoint_path(resumed).exists()


def test_pretrain__writes_the_kept_epoch(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    made = pretrain(request(pair_sets, recipe, tmp_path / "all.safetensors"))
    kept = made.result.best_epoch
    shorter = pretrain(request(pair_sets, recipe.overridden({"epochs": kept}), tmp_path / "kept.safetensors"))
    first, second = load_file(made.out), load_file(shorter.out)
    assert all((first[key] == second[key]).all() for key in first)


def test_pretrain__an_overwrite_that_cannot_start_keeps_the_file(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "net.safetensors"
    out.write_text("finished")
    checkpoint_path(out).write_text("left over")
    first = request(pair_sets, recipe, out)
    with pytest.raises(WeightsError):
        pretrain(replace(first, weights=str(tmp_path / "none.pth")), overwrite=True)
    assert out.read_text() == "finished"
    with pytest.raises(Stop):
        pretrain(first, stop_after_two, overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("net*")) == ["net.safetensors.checkpoint"]


def test_pretrain__refuses_finished_files_and_wrong_names(
    pair_sets: tuple[DrawnPairs, ...], recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    out = tmp_path / "net.safetensors"
    out.write_text("finished")
    with pytest.raises(
        ArgumentError,
        match=r"net.safetensors' exists already; name another file, or replace it with --overwrite",
    ):
        check_new(out)
    with pytest.raises(
        ArgumentError, match=r"--out .*net.pth has to end in .safetensors, such as .*net.safetensors"
    ):
        request(pair_sets, recipe, tmp_path / "net.pth")
    with pytest.raises(
        ArgumentError, match=r"there are no image sets to train on; name at least one with --images"
    ):
        request((), recipe, out)
