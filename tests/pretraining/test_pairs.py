"""Which images are held out, and which pairs are drawn."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from tests.helpers.image_sets import MakeSet
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.pretraining.image_sets import ImageSet, LabelledImage, load_image_set
from vqafeat.pretraining.pairs import DrawnPairs, different_pairs, draw_pairs, parse_pairs


def image_set(contents: list[str], name: str = "mine") -> ImageSet:
    random = np.random.default_rng(1)
    images = [
        LabelledImage(f"{row}.png", Path(f"{row}.png"), *random.uniform(1, 5, 2).tolist(), item)
        for row, item in enumerate(contents)
    ]
    return ImageSet(name, tuple(images), Path("labels.csv"), "column std")


@pytest.mark.parametrize("items", [2, 3, 7, 40])
def test_different_pairs__all_are_each_pair_once(items: int) -> None:
    actual = different_pairs(items, 10**6, np.random.default_rng(0))
    assert sorted(map(tuple, actual.tolist())) == sorted(combinations(range(items), 2))


def test_different_pairs__are_different_and_even() -> None:
    actual = different_pairs(9000, 100_000, np.random.default_rng(0))
    assert len({tuple(pair) for pair in actual.tolist()}) == 100_000
    assert (actual[:, 0] < actual[:, 1]).all()
    assert actual.min() >= 0
    assert actual.max() < 9000
    # each image is in as many pairs as in any other draw: 22 on average, with the deviation of a binomial
    # count
    counts = np.bincount(actual.ravel(), minlength=9000)
    assert counts.std() == pytest.approx(np.sqrt(22.2), rel=0.05)


def test_draw_pairs__are_of_the_training_images_of_one_set_in_either_order() -> None:
    (pair_sets,) = draw_pairs([image_set([str(row) for row in range(50)])], {"mine": 300}, 20, 0)
    assert (len(pair_sets.training), len(pair_sets.validation), pair_sets.rows.shape) == (40, 10, (300, 2))
    assert not set(pair_sets.rows.ravel()) & set(pair_sets.validation)
    assert 100 < (pair_sets.rows[:, 0] < pair_sets.rows[:, 1]).sum() < 200


def test_draw_pairs__probability_and_order_follow_the_labels() -> None:
    (pair_sets,) = draw_pairs([image_set([str(row) for row in range(20)])], {"mine": 30}, 20, 0)
    images = pair_sets.image_set.images
    for (first, second), probability, order in zip(
        pair_sets.rows, pair_sets.probability, pair_sets.std_order, strict=True
    ):
        a, b = images[first], images[second]
        assert probability == pytest.approx(norm.cdf(a.mos - b.mos, scale=np.hypot(a.std, b.std)), rel=1e-12)
        assert order == (1 if a.std > b.std else -1)
    same = replace(pair_sets.image_set, images=tuple(replace(image, std=0.0) for image in images))
    certain = DrawnPairs(same, pair_sets.training, pair_sets.validation, pair_sets.rows)
    assert set(certain.probability) <= {0.0, 1.0}
    assert not certain.std_order.any()


def test_draw_pairs__keeps_contents_together_and_ignores_other_sets() -> None:
    first, second = (
        image_set([f"c{row // 5}" for row in range(50)]),
        image_set([str(row) for row in range(30)], "other"),
    )
    together = draw_pairs([second, first], {}, 20, 3)
    (alone,) = draw_pairs([first], {}, 20, 3)
    np.testing.assert_array_equal(together[1].rows, alone.rows)
    contents = [{first.images[row].content for row in part} for part in (alone.training, alone.validation)]
    assert not contents[0] & contents[1]
    assert len(alone.rows) == 10 * len(alone.training)
    (other,) = draw_pairs([first], {}, 20, 4)
    assert alone.validation != other.validation or not np.array_equal(alone.rows, other.rows)


def test_draw_pairs__takes_the_numbers_of_the_papers_by_default() -> None:
    (pair_sets,) = draw_pairs([image_set([str(row) for row in range(586)], "bid")], {}, 20, 0)
    assert len(pair_sets.rows) == 20_000
    (requested,) = draw_pairs(
        [image_set([str(row) for row in range(586)], "bid")], {}, 20, 0, default_pairs=7
    )
    assert len(requested.rows) == 7


def test_draw_pairs__refuses_too_small_sets_by_name(make_set: MakeSet) -> None:
    single = load_image_set(f"lonely={make_set(1)}")
    with pytest.raises(
        DatasetError,
        match=r"image set 'lonely' has 1 content\(s\) in 1 image\(s\), .* none is left for training",
    ):
        draw_pairs([single], {}, 20, 0)
    with pytest.raises(
        DatasetError, match=r"image set 'lonely' has 1 image\(s\) for training; a pair needs two"
    ):
        draw_pairs([single], {}, 0, 0)
    with pytest.raises(
        DatasetError,
        match=r"'mine' has 2 image\(s\) for validation \(.*.png, .*.png\); a rank correlation needs 3",
    ):
        draw_pairs([image_set([str(row) for row in range(8)])], {}, 20, 0)
    (without,) = draw_pairs([image_set(["a", "b"])], {}, 0, 0)
    assert (without.validation, len(without.rows)) == ((), 1)


def test_draw_pairs__leaves_a_tenth_of_ten_contents_for_training() -> None:
    # (1 - 0.9) * 10 is 0.9999999999999998
    (own,) = draw_pairs([image_set([f"scene {row // 2}" for row in range(20)])], {}, 90, 0)
    assert (len(own.training), len(own.validation)) == (2, 18)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda own: draw_pairs([own, own], {}, 20, 0),
            "--images names 'mine' twice; give each set its own name",
        ),
        (
            lambda own: draw_pairs([own], {"min": 3}, 20, 0),
            "--pairs names 'min', which is not among the image sets mine",
        ),
        (
            lambda own: draw_pairs([own], {}, 100, 0),
            r"validation_percent is 100; it has to be 0 \(none\) to 99",
        ),
        (
            lambda own: DrawnPairs(own, (0,), (1,), np.array([[0, 1]])),
            r"it has to be \(pair, 2\) indices of training images",
        ),
    ],
)
def test_draw_pairs__refuses_wrong_arguments(call: Callable[[ImageSet], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(image_set([str(row) for row in range(30)]))


def test_parse_pairs__for_one_set_or_for_all() -> None:
    assert parse_pairs(("bid=20", "100", "koniq=3")) == ({"bid": 20, "koniq": 3}, 100)
    for wrong in ("bid=", "bid=0", "many", "=3", "-1"):
        with pytest.raises(ArgumentError, match=rf"--pairs {wrong} has to be NUMBER or NAME=NUMBER"):
            parse_pairs((wrong,))
