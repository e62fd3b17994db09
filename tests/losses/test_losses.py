"""Each loss against its equation written out in plain numbers, and what it does where there is nothing to
compare.
"""

import math
from math import inf, isfinite, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vqafeat
from vqafeat.datasets import load_dataset
from vqafeat.errors import ArgumentError, TrainingError, UnknownNameError
from vqafeat.heads.base import Scores
from vqafeat.losses import LOSSES
from vqafeat.losses.base import (
    Loss,
    build_loss,
    l1_loss,
    loss_parts,
    on_label_scale,
    options_read_by,
    softmax_weighted_sum,
)
from vqafeat.losses.label_scaling import LABEL_SCALES, LabelScaling, fit_label_scaling


def batch(count: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores, labels = torch.randn(2, count, generator=generator, dtype=torch.float64)
    return scores, 3 + labels


def pearson(first: list[float], second: list[float]) -> float:
    a, b = sum(first) / len(first), sum(second) / len(second)
    products = sum((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    return products / sqrt(sum((x - a) ** 2 for x in first) * sum((y - b) ** 2 for y in second))


def l1(scores: list[float], labels: list[float]) -> float:
    return sum(abs(score - label) for score, label in zip(scores, labels, strict=True)) / len(scores)


def plcc(scores: list[float], labels: list[float]) -> float:
    return (1 - pearson(scores, labels)) / 2


def hard_srcc(scores: list[float], labels: list[float]) -> float:
    ranks = [[sum(other <= value for other in values) for value in values] for values in (scores, labels)]
    return 1 - pearson(*ranks)


def mdtvsfa_rank(scores: list[float], labels: list[float]) -> float:
    pairs = [(i, j) for i in range(len(scores)) for j in range(len(scores))]
    return sum(max(0.0, (scores[i] - scores[j]) * np.sign(labels[j] - labels[i])) for i, j in pairs) / (
        len(scores) * (len(scores) - 1)
    )


def a2inet_rank(scores: list[float], labels: list[float]) -> float:
    total = 0.0
    for score, label in zip(scores, labels, strict=True):
        for other_score, other_label in zip(scores, labels, strict=True):
            phi = 1 if label >= other_label else -1
            total += max(0.0, abs(label - other_label) - phi * (score - other_score))
    return total / len(scores) ** 2


EQUATIONS = {"l1": l1, "plcc": plcc, "srcc": hard_srcc, "rank-mdtvsfa": mdtvsfa_rank, "rank": a2inet_rank}
OPTIONS: dict[str, dict[str, Any]] = {"srcc": {"soft_rank_strength": 1e-6}}


def same(scores: torch.Tensor) -> Scores:
    return Scores(scores, scores, scores)


def test_losses__each_has_its_equation_here() -> None:
    assert set(EQUATIONS) == set(LOSSES)


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("count", [2, 9, 32])
def test_losses__equal_their_equations(name: str, count: int) -> None:
    scores, labels = batch(count)
    result = LOSSES.get(name)(scores, labels, **OPTIONS.get(name, {}))
    assert result.shape == ()
    assert result.item() == pytest.approx(EQUATIONS[name](scores.tolist(), labels.tolist()), abs=1e-12)


@pytest.mark.parametrize("name", [*EQUATIONS, "plcc+srcc", "l1+rank", "plcc+rank-mdtvsfa+l1"])
def test_build_loss__gradients_equal_finite_differences(name: str) -> None:
    scores, labels = batch()
    options = {"soft_rank_strength": 0.7, "loss_weight": 0.3}
    assert torch.autograd.gradcheck(
        lambda values: build_loss(name, options)(same(values), labels), (scores.requires_grad_(),)
    )


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("soft_rank", ["l2", "kl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([0.3], [0.8]),
        ([0.3, 0.3, 0.3], [0.1, 0.5, 0.9]),
        ([0.1, 0.5, 0.9], [0.7, 0.7, 0.7]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_build_loss__is_finite_for_batches_without_spread(
    name: str, soft_rank: str, dtype: torch.dtype, scores: list[float], labels: list[float]
) -> None:
    given = torch.tensor(scores, dtype=dtype, requires_grad=True)
    loss = build_loss(name, {"soft_rank": soft_rank})(same(given), torch.tensor(labels, dtype=dtype))
    loss.backward()
    assert loss.dtype == dtype
    assert given.grad is not None
    assert given.grad.abs().max() <= 2
    assert isfinite(loss.item())
    undefined = {"plcc": 0.5, "srcc": 1.0}
    if name in undefined:
        assert (loss.item(), given.grad.tolist()) == (undefined[name], [0.0] * len(scores))


def test_rank__pulls_equal_scores_apart_by_its_margin() -> None:
    labels = torch.tensor([1.0, 2.0])
    for name, expected in (("rank", [0.5, -0.5]), ("rank-mdtvsfa", [0.0, 0.0])):
        scores = torch.zeros(2, requires_grad=True)
        LOSSES.get(name)(scores, labels).backward()
        assert scores.grad is not None
        assert scores.grad.tolist() == expected


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("bad", [nan, inf])
def test_losses__show_values_that_are_not_finite(name: str, bad: float) -> None:
    scores = torch.tensor([0.1, bad, 0.4, 0.2], requires_grad=True)
    assert not isfinite(LOSSES.get(name)(scores, torch.tensor([1.0, 2.0, 3.0, 4.0])).item())


def test_plcc__ignores_scale_and_offset() -> None:
    scores, labels = batch()
    assert LOSSES.get("plcc")(100 * scores - 7, labels).item() == pytest.approx(
        LOSSES.get("plcc")(scores, labels).item(), abs=1e-14
    )


def test_srcc__of_the_released_strength_is_one_minus_plcc() -> None:
    # L2 regularisation of strength 1 on scores in [0, 1] and on a narrow range of MOS ranks nothing
    scores, labels = torch.rand(2, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = 1.22 + 3.42 * labels
    assert LOSSES.get("srcc")(scores, labels).item() == pytest.approx(
        2 * LOSSES.get("plcc")(scores, labels).item(), abs=1e-12
    )
    bent = scores**6
    assert LOSSES.get("srcc")(bent, scores).item() > 0.2
    assert LOSSES.get("srcc")(bent, scores, soft_rank_strength=1e-7).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "file", "is_linear"),
    [
        ("konvid", "KoNViD-1kinfo.mat", True),
        ("youtube-ugc", "YouTube-UGCinfo.mat", True),
        ("live-vqc", "LIVE-VQCinfo.mat", False),
        ("cvd2014", "CVD2014info.mat", False),
        ("live-qualcomm", "LIVE-Qualcomminfo.mat", False),
    ],
)
def test_srcc__of_the_released_strength_ranks_wide_labels(
    shared_data: Path, name: str, file: str, is_linear: bool
) -> None:
    random = torch.Generator().manual_seed(1)
    videos = load_dataset(name, labels=shared_data / "labels" / file).videos
    mos = torch.tensor([video.mos for video in videos], dtype=torch.float64)
    labels = mos[torch.randperm(len(mos), generator=random)[:32]]
    scores = torch.rand(32, generator=random, dtype=torch.float64)
    difference = LOSSES.get("srcc")(scores, labels).item() - 2 * LOSSES.get("plcc")(scores, labels).item()
    assert (abs(difference) < 1e-12) == is_linear


def test_srcc__is_exact_in_float32_for_close_scores() -> None:
    # an untrained head: scores within a thousandth of one another, beside ranks of up to 32
    scores, labels = torch.rand(2, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weak = (0.5 + 1e-3 * scores).float()
    exact = 2 * plcc(weak.double().tolist(), labels.tolist())
    assert LOSSES.get("srcc")(weak, labels.float()).item() == pytest.approx(exact, abs=1e-6)


def test_build_loss__weighs_the_later_parts_of_a_mixture() -> None:
    scores, labels = batch()
    parts = [LOSSES.get(name)(scores, labels).item() for name in ("plcc", "srcc", "l1")]
    assert build_loss("plcc+srcc")(same(scores), labels).item() == pytest.approx(
        parts[0] + parts[1], abs=1e-14
    )
    mixed = build_loss("plcc+srcc+l1", {"loss_weight": 0.25})(same(scores), labels)
    assert mixed.item() == pytest.approx(parts[0] + 0.25 * (parts[1] + parts[2]), abs=1e-14)
    assert build_loss("l1", {"loss_weight": 9})(same(scores), labels).item() == parts[2]
    strong = build_loss("plcc+srcc", {"soft_rank": "kl", "soft_rank_strength": 0.2})(same(scores), labels)
    alone = LOSSES.get("srcc")(scores, labels, soft_rank="kl", soft_rank_strength=0.2)
    assert strong.item() == pytest.approx(parts[0] + alone.item(), abs=1e-14)


def test_loss_parts__refuses_unknown_and_repeated_names() -> None:
    assert loss_parts("plcc+rank-mdtvsfa+l1") == ("plcc", "rank-mdtvsfa", "l1")
    with pytest.raises(UnknownNameError, match=r"unknown loss 'plc': did you mean plcc"):
        build_loss("l1+plc")
    with pytest.raises(UnknownNameError, match=r"unknown loss ''"):
        build_loss("l1+")
    with pytest.raises(ArgumentError, match=r"loss 'l1\+rank\+l1' names 'l1' 2 times; name it once"):
        build_loss("l1+rank+l1")


def test_options_read_by__lists_the_options_of_each_loss() -> None:
    assert options_read_by("l1") == frozenset()
    assert options_read_by("srcc") == {"soft_rank", "soft_rank_strength", "rank_input"}
    assert options_read_by("rank-mdtvsfa") == {"rank_input"}
    assert options_read_by("l1+rank") == {"loss_weight"}


def test_on_label_scale__is_true_of_l1_alone() -> None:
    # at the least of a loss the scores may be shifted, and the loss does not rise, unless it is on the
    # labels' scale
    _, labels = batch()
    for name in LOSSES:
        best, shifted = (LOSSES.get(name)(scores, labels).item() for scores in (labels, labels + 5))
        assert on_label_scale(name) == (shifted > best + 1e-9), name
    assert on_label_scale("plcc+rank-mdtvsfa+l1")
    assert not on_label_scale("plcc+srcc")


def test_build_loss__gives_each_loss_the_score_that_it_reads() -> None:
    # VQAloss.py of MDTVSFA: PLCC on the mapped score, ranks on the relative one, L1 on the aligned one
    scores, labels = batch()
    outputs = Scores(scores, scores.square(), scores.exp())
    parts = {
        name: [LOSSES.get(name)(values, labels).item() for values in (scores, scores.square(), scores.exp())]
        for name in LOSSES
    }
    indices = {"plcc": 1, "srcc": 0, "rank-mdtvsfa": 0, "rank": 2, "l1": 2}
    for name, index in indices.items():
        assert build_loss(name)(outputs, labels).item() == parts[name][index], name
    mapped = build_loss("plcc+srcc", {"rank_input": "mapped"})(outputs, labels).item()
    assert mapped == pytest.approx(parts["plcc"][1] + parts["srcc"][1], abs=1e-14)


def test_register_loss__takes_what_the_loss_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_entries", "_added"):
        monkeypatch.setattr(LOSSES, table, dict(getattr(LOSSES, table)))
    scores, labels = batch()
    for factor in (9, 2):  # as a notebook cell that is run twice, the second time changed

        @vqafeat.register_loss("scaled", input_score="mapped", is_calibrated=True)
        def scaled(scores: Tensor, labels: Tensor, factor: int = factor) -> Tensor:
            """Return a scaled loss."""
            return factor * l1_loss(scores, labels)

    assert build_loss("scaled")(Scores(scores, labels + 3, scores), labels).item() == pytest.approx(6)
    assert (on_label_scale("scaled"), LOSSES.get("scaled").__doc__) == (True, "Return a scaled loss.")
    # the module decides whether worker processes are sent the loss
    assert LOSSES._added["scaled"] == __name__
    assert scaled(labels, labels).item() == 0
    with pytest.raises(ArgumentError, match=r"input_score is 'score'; allowed are relative, mapped, aligned"):
        vqafeat.register_loss("other", input_score="score")(scaled)


def test_loss__refuses_a_value_for_each_video() -> None:
    def distances(scores: Tensor, labels: Tensor) -> Tensor:
        return (scores - labels).abs()

    message = r"loss 'distances' returned a tensor of shape \(2,\); it has to return one number, such"
    with pytest.raises(ArgumentError, match=message):
        Loss(distances)(torch.ones(2), torch.zeros(2))


def test_loss__refuses_a_value_that_is_no_tensor() -> None:
    def distance(scores: Tensor, labels: Tensor) -> Any:
        return (scores - labels).abs().mean().item()

    with pytest.raises(ArgumentError, match="loss 'distance' returned a float; it has to return one number"):
        Loss(distance)(torch.ones(2), torch.zeros(2))


def test_softmax_weighted_sum__weighs_data_sets_by_their_losses() -> None:
    # Σ e^L·L / Σ e^L in float64; the weights carry gradients too
    losses = [0.3, 1.7, 0.9]
    given = torch.tensor(losses, dtype=torch.float64, requires_grad=True)
    weights = [math.exp(loss) for loss in losses]
    expected = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
    result = softmax_weighted_sum(given.unbind())
    assert result.item() == pytest.approx(expected, abs=1e-14)
    result.backward()
    assert given.grad is not None
    for number, (weight, loss) in enumerate(zip(weights, losses, strict=True)):
        # d/dL of the quotient: with detached weights it would be the weight's share alone
        assert given.grad[number].item() == pytest.approx(
            weight / sum(weights) * (1 + loss - expected), abs=1e-14
        )
    assert softmax_weighted_sum([given[0]]).item() == losses[0]


def test_label_scales__equal_the_released_rules() -> None:
    # CVD2014's labels reach from −6.50 to 93.38: the released rule leaves negative ones negative
    mos = np.array([-6.5, 93.38, 40.0, 50.0])
    expected = {
        "largest-of-dataset": (93.38, 0.0),
        "largest-of-training": (50.0, 0.0),
        "range-of-dataset": (99.88, 0.0),
        "range-of-training": (56.5, 0.0),
        "unit-of-dataset": (99.88, -6.5),
        "unit-of-training": (56.5, -6.5),
        "none": (1.0, 0.0),
    }
    result = {name: scale("own", mos, [0, 2, 3]) for name, scale in LABEL_SCALES.items()}
    assert {name: (line.scale, line.shift) for name, line in result.items()} == {
        name: pytest.approx(line) for name, line in expected.items()
    }
    unit = result["unit-of-dataset"].transform(mos)
    assert (unit.min(), unit.max()) == (0, 1)
    np.testing.assert_allclose(result["unit-of-dataset"].inverse_transform(unit), mos)


def test_fit_label_scaling__gives_each_data_set_its_own_line() -> None:
    mos, numbers = np.array([1.0, 5.0, 3.0, 10.0, 90.0, 100.0]), np.array([0, 0, 0, 1, 1, 1])
    lines = fit_label_scaling("largest-of-training", ("a", "b"), numbers, mos, [0, 2, 3, 4])
    assert [line.scale for line in lines] == [3.0, 90.0]
    with pytest.raises(
        TrainingError, match=r"no video of the data set 'b' is in the training part; leave the data set out"
    ):
        fit_label_scaling("none", ("a", "b"), numbers, mos, [0, 2])
    with pytest.raises(
        ArgumentError, match=r"label scaling with scale 0.0 and shift 1.0: .* and the scale above 0"
    ):
        LabelScaling(0.0, 1.0)


def test_label_scales__refuse_labels_without_a_positive_one() -> None:
    with pytest.raises(
        TrainingError,
        match=r"divided by the largest one, which is -1 in the training part of 'own'; add an offset",
    ):
        LABEL_SCALES["largest-of-training"]("own", np.array([-1.0, 5.0]), [0])


def test_label_scales__refuse_labels_without_a_range() -> None:
    with pytest.raises(
        TrainingError, match=r"divided by their range, but all of the training part of 'own' are 5; look at"
    ):
        LABEL_SCALES["range-of-training"]("own", np.array([-1.0, 5.0]), [1])
