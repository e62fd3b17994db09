import math
from typing import Any

import pytest

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.modeling.recipes import RECIPES, SCHEDULES, Recipe


def test_vsfa_is_the_released_recipe() -> None:
    recipe = RECIPES.get("vsfa")
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.weight_decay) == (1e-5, 16, 2000, 0)
    assert (recipe.schedule, recipe.loss, recipe.pooling, recipe.label_scale) == ("none", "l1", "released", "largest-of-dataset")
    assert (recipe.split_rounding, recipe.standardise, recipe.start_at_mean) == ("ceil", False, False)


@pytest.mark.parametrize(("epochs", "first"), [(2000, 335), (12, 4), (1, 1)])
def test_first_kept_epoch_is_the_released_condition(epochs: int, first: int) -> None:
    kept = [number + 1 for number in range(epochs) if number > epochs / 6]
    assert RECIPES.get("vsfa").overridden({"epochs": epochs}).first_kept_epoch() == (kept[0] if kept else epochs) == first


def test_every_recipe_names_itself() -> None:
    assert {name: RECIPES.get(name).name for name in RECIPES} == {name: name for name in RECIPES}


def test_cosine_goes_from_one_to_zero() -> None:
    cosine = SCHEDULES.get("cosine")
    assert [cosine(done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine(1 / 3) == pytest.approx(math.cos(math.pi / 6) ** 2)


def test_overrides_are_checked() -> None:
    recipe = RECIPES.get("default")
    assert recipe.overridden({"epochs": 3, "weight_decay": 1}).weight_decay == 1
    with pytest.raises(ArgumentError, match=r"recipe 'default' has no value 'lr'; it has learning_rate, batch_size"):
        recipe.overridden({"lr": 0.1})
    with pytest.raises(ArgumentError, match=r"epochs is '3'; it has to be of the kind int"):
        recipe.overridden({"epochs": "3"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it has to be above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"epochs": 0}, "epochs is 0; it has to be at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it has to be at least 1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it has to be at least 0"),
        ({"settling_fraction": 1.0}, "settling_fraction is 1.0; it has to be below 1"),
        ({"split_rounding": "floor"}, "split_rounding is 'floor'; allowed are ceil and int"),
    ],
)
def test_a_recipe_checks_itself(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Recipe(**{"name": "own", "learning_rate": 1e-3, "batch_size": 4, "epochs": 2, **change})


def test_unknown_names_in_a_recipe_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown loss 'l2'"):
        RECIPES.get("default").overridden({"loss": "l2"})
