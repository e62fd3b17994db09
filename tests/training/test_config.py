"""Training recipes against the released code and the papers."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from vqafeat.errors import ArgumentError, UnknownNameError, VqafeatError
from vqafeat.heads.base import build_head
from vqafeat.training.config import RECIPES, SCHEDULES, FitConfig, Recipe


def rates_of(recipe: Recipe, steps_per_epoch: int = 1) -> list[float]:
    """Return the learning rate of each step."""
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    scheduler, rates = recipe.scheduler(optimiser, steps_per_epoch), list[float]()
    for _ in range(recipe.epochs * steps_per_epoch):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_recipes__vsfa_is_the_released_one() -> None:
    recipe = RECIPES.get("vsfa")
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.weight_decay) == (
        1e-5,
        16,
        2000,
        0,
    )
    assert (recipe.schedule, recipe.loss, recipe.pooling, recipe.label_scaling) == (
        "none",
        "l1",
        "released",
        "largest-of-dataset",
    )
    assert (recipe.split_rounding, recipe.standardise, recipe.start_at_mean) == ("ceil", False, False)


@pytest.mark.parametrize(("epochs", "first"), [(2000, 335), (12, 4), (1, 1)])
def test_first_checkpoint_epoch__is_the_released_condition(epochs: int, first: int) -> None:
    kept = [number + 1 for number in range(epochs) if number > epochs / 6]
    assert (
        RECIPES.get("vsfa").overridden({"epochs": epochs}).first_checkpoint_epoch()
        == (kept[0] if kept else epochs)
        == first
    )


def test_recipes__are_named_by_their_key() -> None:
    assert {name: RECIPES.get(name).name for name in RECIPES} == {name: name for name in RECIPES}


def test_recipes__are_listed_by_what_they_hold() -> None:
    assert RECIPES.summaries() == {name: RECIPES.get(name).__doc__ for name in RECIPES}


def test_cosine__falls_from_one_to_zero() -> None:
    cosine = SCHEDULES["cosine"]
    assert [cosine(done, 1) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine(1 / 3, 1) == pytest.approx(math.cos(math.pi / 6) ** 2)


def test_step__equals_steplr_of_pytorch_as_in_the_released_code() -> None:
    recipe = RECIPES.get("li-released")
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, step_size=recipe.epochs // 20, gamma=0.8)
    rates = rates_of(recipe, steps_per_epoch=5)
    for epoch in range(recipe.epochs):
        expected = optimiser.param_groups[0]["lr"]
        assert rates[5 * epoch : 5 * (epoch + 1)] == pytest.approx([expected] * 5, rel=1e-12)
        optimiser.step()
        scheduler.step()
    slower = rates_of(recipe.overridden({"decay": 0.2, "decay_every": 3}))
    assert [slower[epoch - 1] for epoch in (3, 4, 7)] == pytest.approx([5e-4, 1e-4, 2e-5])


def test_scheduler__follows_the_share_of_steps() -> None:
    recipe = RECIPES.get("default").overridden({"schedule": "cosine", "epochs": 4})
    rates = rates_of(recipe, steps_per_epoch=2)
    assert rates[5] == pytest.approx(1e-4 * 0.5 * (1 + math.cos(math.pi * 5 / 8)))
    assert rates[5] == 1e-4 * SCHEDULES["cosine"](5 / 8, 3)
    assert set(rates_of(RECIPES.get("default"), steps_per_epoch=9)) == {1e-4}


def test_videos_an_epoch__drops_an_incomplete_batch_next_to_full_ones_only() -> None:
    recipe = RECIPES.get("mdtvsfa")
    assert [recipe.videos_an_epoch(videos) for videos in (720, 32, 31, 1)] == [704, 32, 31, 1]
    assert RECIPES.get("vsfa").videos_an_epoch(721) == 721


def test_recipes__equal_those_of_the_papers() -> None:
    rows = {
        name: (
            recipe.learning_rate,
            recipe.batch_size,
            recipe.epochs,
            recipe.loss,
            recipe.label_scaling,
            recipe.schedule,
        )
        for name in ("mdtvsfa", "li-released", "li", "li-rescaled", "li-rescaled-released", "fang", "a2inet")
        for recipe in [RECIPES.get(name)]
    }
    assert rows == {
        "mdtvsfa": (1e-4, 32, 40, "plcc+rank-mdtvsfa+l1", "range-of-dataset", "step"),
        "li-released": (5e-4, 32, 40, "plcc+srcc", "none", "step"),
        "li": (5e-4, 32, 40, "plcc+srcc", "unit-of-training", "step"),
        "li-rescaled": (5e-4, 32, 40, "l1", "unit-of-dataset", "step"),
        "li-rescaled-released": (5e-4, 32, 40, "l1", "unit-of-dataset", "step"),
        "fang": (1e-5, 128, 2000, "l1", "largest-of-dataset", "none"),
        "a2inet": (2e-5, 8, 40, "l1+rank", "unit-of-training", "none"),
    }
    assert list(RECIPES.get("li-released").loss_options().values()) == ["l2", 1.0, 1.0, "relative"]
    assert list(RECIPES.get("li").loss_options().values()) == ["l2", 0.01, 1.0, "mapped"]
    # 0.2 every two epochs in print, 0.8 in the code
    assert [rates_of(RECIPES.get(name))[4] / 5e-4 for name in ("li", "li-released")] == pytest.approx(
        [0.04, 0.64]
    )
    assert {name for name in RECIPES if RECIPES.get(name).multi_dataset == "pooled"} == {"li-rescaled"}
    assert {RECIPES.get(name).select for name in RECIPES} == {"validation"}
    # no paper and no released code starts scores at the mean label
    assert {name for name in RECIPES if RECIPES.get(name).start_at_mean} == {"default", "demo"}


def test_overridden__refuses_a_change_that_nothing_reads() -> None:
    recipe = RECIPES.get("default")
    changed = recipe.overridden({"loss": "srcc", "soft_rank_strength": 0.1})
    assert changed.loss_options()["soft_rank_strength"] == 0.1
    with pytest.raises(
        ArgumentError,
        match=r"soft_rank_strength is 0.1, but the loss 'l1' with the schedule 'none' does not .*: srcc",
    ):
        recipe.overridden({"soft_rank_strength": 0.1})
    with pytest.raises(
        ArgumentError, match=r"loss_weight is 2.0, but the loss 'srcc' .*one that does: losses joined by \+"
    ):
        recipe.overridden({"loss": "srcc", "loss_weight": 2.0})
    with pytest.raises(ArgumentError, match=r"decay_every is 3, but .* one that does: step"):
        recipe.overridden({"decay_every": 3})
    # a recipe's own value stays, read or not
    assert RECIPES.get("li-released").overridden({"loss": "l1"}).soft_rank_strength == 1.0


def test_overridden__refuses_wrong_values() -> None:
    recipe = RECIPES.get("default")
    assert recipe.overridden({"epochs": 3, "weight_decay": 1}).weight_decay == 1
    with pytest.raises(
        ArgumentError, match=r"recipe 'default' has no value 'lr'; it has learning_rate, batch_size"
    ):
        recipe.overridden({"lr": 0.1})
    with pytest.raises(ArgumentError, match=r"epochs is '3'; it has to be of type int"):
        recipe.overridden({"epochs": "3"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it has to be above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"epochs": 0}, "epochs is 0; it has to be at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it has to be at least 1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it has to be at least 0"),
        ({"warmup_fraction": 1.0}, "warmup_fraction is 1.0; it has to be below 1"),
        ({"split_rounding": "floor"}, "split_rounding is 'floor'; allowed are ceil and int"),
        ({"decay": 0.0}, "decay is 0.0; it has to be above 0 and at most 1, such as 0.8"),
        ({"decay_every": 0}, "decay_every is 0; it has to be at least 1"),
        ({"soft_rank_strength": -1.0}, "soft_rank_strength is -1.0; it has to be above 0"),
    ],
)
def test_recipe__refuses_wrong_values(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Recipe(**{"name": "own", "learning_rate": 1e-3, "batch_size": 4, "epochs": 2, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"soft_rank": "l3"}, UnknownNameError, r"unknown soft rank 'l3'"),
        (
            {"soft_rank_strength": 0.0},
            ArgumentError,
            r"soft_rank_strength is 0.0; it has to be above 0 and finite, such as 0.1",
        ),
        ({"soft_rank_strength": math.inf}, ArgumentError, r"soft_rank_strength is inf"),
        (
            {"loss_weight": -1.0},
            ArgumentError,
            r"loss_weight is -1.0; it has to be at least 0 and finite, such as 1",
        ),
        ({"loss_weight": math.nan}, ArgumentError, r"loss_weight is nan"),
        (
            {"rank_input": "pooled"},
            ArgumentError,
            r"rank_input is 'pooled'; allowed are relative, mapped, aligned",
        ),
    ],
)
def test_recipe__refuses_wrong_options_of_losses(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Recipe("own", learning_rate=1e-3, batch_size=4, epochs=2, **change)


def test_recipe__refuses_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown loss 'l2'"):
        RECIPES.get("default").overridden({"loss": "l2"})
    with pytest.raises(UnknownNameError, match=r"unknown loss 'scc': did you mean srcc"):
        RECIPES.get("default").overridden({"loss": "plcc+scc"})
    with pytest.raises(UnknownNameError, match=r"unknown selection 'tests': did you mean test"):
        RECIPES.get("default").overridden({"select": "tests"})


def test_fit_config_epochs__follow_the_recipe_unless_overridden() -> None:
    assert FitConfig(recipe="vsfa").epochs == 2000
    assert FitConfig(recipe="vsfa", overrides={"epochs": 7}).epochs == 7
    assert FitConfig(head="svr", recipe="vsfa").epochs is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"splits": 0}, "splits is 0; it has to be at least 1"),
        ({"splits": "3"}, r"splits is '3'; it has to be of type int, such as 10\.$"),
        ({"seed": 1.5}, r"seed is 1.5; it has to be of type int, such as 0\.$"),
        ({"features": ["a"]}, r"features is \['a'\]; it has to be of type str, such as ''\.$"),
        ({"ratio": (60, 40)}, r"ratio is \(60, 40\); it has to be of type str, such as '60/20/20'\.$"),
        ({"overrides": "epochs"}, r"overrides is 'epochs'; it has to be of type Mapping, such as {}\.$"),
        ({"head": "subgru"}, "unknown head 'subgru'"),
        ({"options": {"width": 3}}, "width"),
        ({"protocol": "scene"}, "unknown split protocol 'scene'"),
        ({"ratio": "60/60"}, "ratio .* must be .* in percent of 100"),
        ({"features": "a+a"}, "have to be different"),
        ({"head": "svr", "overrides": {"epochs": 2}}, "not trained by gradients"),
        ({"draws": 2}, "draws is 2, but nothing is drawn"),
        (
            {"overrides": {"loss": "srcc", "rank_input": "mapped"}},
            "rank_input is 'mapped', but head 'sub-gru' has one score; .* several: mdtvsfa, mdtvsfa-transf",
        ),
    ],
)
def test_fit_config__checks_itself(values: dict[str, Any], message: str) -> None:
    with pytest.raises(VqafeatError, match=message):
        FitConfig(**values)


@pytest.mark.parametrize("head", ["mdtvsfa", "mdtvsfa-transformer"])
def test_fit_config__learns_as_many_parameters_of_equation_13(head: str) -> None:
    # Li et al.: four in print; the last linear layer of VQAmodel.py is frozen
    for recipe, options, count in (
        ("li", {}, 4),
        ("li-released", {}, 2),
        ("li", {"four_parameters": False}, 2),
    ):
        config = FitConfig(head=head, recipe=recipe, options=options)
        built = build_head(head, 6, config.head_options)
        logistic = [*built.steepen.parameters(), *built.stretch.parameters()]
        assert sum(one.requires_grad for one in logistic) == count
    assert "four_parameters" not in FitConfig(recipe="li").head_options


def test_fit_config__given_options_replace_those_of_the_recipe() -> None:
    config = FitConfig(head="mdtvsfa", recipe="li-rescaled-released")
    assert config.head_options["learn_lines"] is False
    learnt = replace(config, options={"learn_lines": True})
    assert learnt.head_options == replace(learnt, options=learnt.head_options).head_options
    assert learnt.head_options["learn_lines"] is True
    # not an option of version 1, whose runs keep their digest
    assert "learn_lines" not in FitConfig(head="mdtvsfa", options={"learn_lines": True}).head_options
    assert "head_options" not in config.resolved_recipe.as_dict()
    with pytest.raises(ArgumentError, match="recipe 'li' has no value 'head_options'; it has learning_rate"):
        RECIPES.get("li").overridden({"head_options": {}})


def test_folder_name__has_only_characters_that_file_systems_and_scp_accept() -> None:
    config = FitConfig(features="resnet50:stages@short540+timm/vit:b", head="svr")
    assert config.folder_name("a+b") == "a+b-resnet50_stages@short540+timm_vit_b-svr"


def test_recipe__reads_and_stores_the_names_of_version_1() -> None:
    recipe = RECIPES.get("default").overridden({"mixing": "pooled", "bucket_batches": 4})
    assert (recipe.multi_dataset, recipe.length_bucket_size) == ("pooled", 4)
    stored = recipe.as_dict()
    assert (stored["mixing"], stored["bucket_batches"]) == ("pooled", 4)
    assert {"label_scale", "ranks_read", "settling_fraction"} < set(stored)
    with pytest.raises(ArgumentError, match=r"rank_input is 'mapped', but the loss 'l1' .* rank-mdtvsfa"):
        recipe.overridden({"ranks_read": "mapped"})
    former = RECIPES.get("default").overridden({"learning_rate": 3e-4, "start_at_mean": False})
    assert (former.learning_rate, former.start_at_mean) == (3e-4, False)
