"""Sizes and crops, against torchvision's transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from vqafeat.errors import ArgumentError
from vqafeat.pretraining.config import PRETRAINING_RECIPES
from vqafeat.pretraining.images import PREPARATIONS, Sides, cut, resized

SIDES = Sides(512, 384, 768)
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 91, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "training", "validation"),
    [
        ((1024, 768), (682, 512), (1024, 768)),
        ((3000, 4000), (512, 682), (768, 1024)),
        ((500, 500), (500, 500), (500, 500)),  # LIVE Challenge: smaller images stay as they are
        ((400, 2000), (400, 2000), (400, 2000)),
        ((200, 300), (384, 576), (200, 300)),  # no crop fits into it: enlarged
    ],
)
def test_images_are_made_smaller_and_enlarged_only_for_a_crop(
    size: tuple[int, int], training: object, validation: object
) -> None:
    rule = PREPARATIONS.get("crop")
    assert (rule.training_size(size, SIDES), rule.validation_size(size, SIDES)) == (training, validation)
    assert PREPARATIONS.get("square").training_size(size, SIDES) == (384, 384)


def test_resizing_is_torchvision_s() -> None:
    image = Image.fromarray(PIXELS)
    size = PREPARATIONS.get("crop").training_size(image.size, Sides(40, 32, 40))
    expected = functional.resize(image, 40)
    np.testing.assert_array_equal(np.asarray(resized(image, size)), np.asarray(expected))


def test_crops_are_parts_of_the_image_and_half_of_them_are_mirrored() -> None:
    image = Image.fromarray(PIXELS)
    everywhere = torch.from_numpy(PIXELS).unfold(0, 16, 1).unfold(1, 16, 1).permute(0, 1, 3, 4, 2)
    mirrored = 0
    places = set()
    for seed in range(60):
        part = cut(image, 16, True, np.random.default_rng(seed))
        plain, turned = (
            (everywhere == other).flatten(2).all(2).nonzero().tolist() for other in (part, part.flip(1))
        )
        assert len(plain) + len(turned) == 1
        mirrored += len(turned)
        places.add(tuple((plain or turned)[0]))
        assert torch.equal(part, cut(image, 16, True, np.random.default_rng(seed)))
    assert 15 < mirrored < 45
    assert len(places) > 50
    assert all(
        (everywhere == cut(image, 16, False, np.random.default_rng(seed))).flatten(2).all(2).any()
        for seed in range(20)
    )


def test_the_recipes_are_the_papers() -> None:
    released, paper = PRETRAINING_RECIPES.get("li-released"), PRETRAINING_RECIPES.get("li-paper")
    assert [released.pairs_a_step(epoch) for epoch in (1, 3, 4, 12)] == [128, 128, 32, 32]
    assert [released.head_alone(epoch) for epoch in (1, 3, 4)] == [True, True, False]
    rates = [released.rate(epoch) for epoch in (1, 3, 4, 7, 12)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-6, 1e-7], rtol=1e-12)
    assert (released.epochs, released.weight_decay, released.margin, released.detach_variance) == (
        12,
        5e-4,
        0.025,
        True,
    )
    assert (released.short_side, released.crop_side, released.flip) == (512, 384, True)
    assert (paper.epochs, paper.head_epochs, paper.preparation, paper.crop_side) == (12, 0, "square", 384)
    assert not paper.detach_variance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is 0; it has to be above 0"),
        ({"decay": 2}, "decay is 2; it has to be above 0 and at most 1"),
        ({"epochs": 0}, "epochs is 0; it has to be at least 1"),
        ({"epochs": 2}, "head_epochs is 3, but there are 2 epochs in all"),
        ({"crop_side": 600}, "crop_side is 600, above short_side 512"),
        ({"epoch": 3}, "recipe 'li-released' has no value 'epoch'; it has learning_rate, "),
    ],
)
def test_values_that_are_not_allowed(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        PRETRAINING_RECIPES.get("li-released").overridden(changes)
