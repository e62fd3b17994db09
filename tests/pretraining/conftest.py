"""A small image set, its pairs, and a recipe of seconds; the tiny network is registered for each test."""

import pytest

from tests.helpers.image_sets import SIDE, MakeSet
from vqafeat.pretraining.config import PRETRAINING_RECIPES, PretrainingRecipe
from vqafeat.pretraining.image_sets import ImageSet, load_image_set
from vqafeat.pretraining.pairs import DrawnPairs, draw_pairs


@pytest.fixture(autouse=True)
def _tiny_backbone(tiny_backbone: None) -> None:
    """Register the tiny network for every test of this folder."""


@pytest.fixture
def small_set(make_set: MakeSet) -> ImageSet:
    return load_image_set(f"mine={make_set()}")


@pytest.fixture
def pair_sets(small_set: ImageSet) -> tuple[DrawnPairs, ...]:
    return draw_pairs([small_set], {"mine": 40}, 25, 0)


@pytest.fixture
def recipe() -> PretrainingRecipe:
    """Seconds on one core: a phase of the head alone, then everything."""
    changes = {
        "learning_rate": 3e-3,
        "head_epochs": 1,
        "epochs": 3,
        "head_batch_size": 16,
        "batch_size": 8,
        "weight_decay": 1e-4,
    }
    return PRETRAINING_RECIPES.get("demo").overridden(
        {**changes, "short_side": SIDE, "crop_side": 16, "validation_short_side": SIDE}
    )
