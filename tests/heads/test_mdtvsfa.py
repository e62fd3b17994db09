"""Relative, mapped and aligned scores against the equations; training from the labels' range; refusals."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import TRANSFORMER_OPTIONS, finish, train
from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Head, build_head
from vqafeat.heads.mdtvsfa import AlignedHead
from vqafeat.splits import Split
from vqafeat.training.batching import Batcher
from vqafeat.training.config import Recipe
from vqafeat.training.trainer import predict

SMALL = {
    "mdtvsfa": {"reduced": 4, "hidden": 3},
    "mdtvsfa-transformer": {**TRANSFORMER_OPTIONS, "dropout": 0.0},
}
LENGTHS = torch.tensor([7, 4])


def head_of(name: str, **changes: str) -> AlignedHead:
    torch.manual_seed(0)
    head = build_head(name, 6, {**SMALL[name], **changes}).double()
    assert isinstance(head, AlignedHead)
    return head


def frames() -> Tensor:
    return torch.randn(11, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("name", SMALL)
def test_outputs__relative_mapped_and_aligned_equal_the_equations(name: str) -> None:
    head = head_of(name, datasets="a+b", scale_of="b")
    with torch.no_grad():
        head.slopes.copy_(torch.tensor([2.0, 3.0]))
        head.offsets.copy_(torch.tensor([1.0, -5.0]))
    outcome = head.outputs(head.inner(frames(), LENGTHS))
    pooled = head.inner(frames(), LENGTHS)
    for number in range(2):
        relative = logistic(pooled[number].item())
        mapped = logistic(2 * math.sqrt(3) * relative - math.sqrt(3))
        assert outcome.relative[number].item() == pytest.approx(relative, abs=1e-7)
        assert outcome.mapped[number].item() == pytest.approx(mapped, abs=1e-7)
        assert outcome.aligned[number].item() == pytest.approx(3 * mapped - 5, abs=1e-6)
    selected = head.outputs(head.inner(frames(), LENGTHS), torch.tensor([0, 1])).aligned
    assert selected[0].item() == pytest.approx(2 * outcome.mapped[0].item() + 1, abs=1e-6)
    assert selected[1].item() == outcome.aligned[1].item()
    assert torch.equal(head(frames(), LENGTHS), outcome.aligned)


def test_frame_scores__are_on_the_scale_of_the_score() -> None:
    head = head_of("mdtvsfa")
    head.init_from_labels(torch.tensor([1.0, 4.0, 2.0]), torch.tensor([0, 0, 0]))
    alone, length = frames()[:1], torch.tensor([1])
    torch.testing.assert_close(head.frame_scores(alone, length)[0], head(alone, length))
    curve = head.frame_scores(frames(), LENGTHS)
    inside = logistic(-math.sqrt(3)) * 3 + 1, logistic(math.sqrt(3)) * 3 + 1
    assert inside[0] < curve.min()
    assert curve.max() < inside[1]


def test_init_from_labels__starts_at_the_label_range_and_freezes_the_end() -> None:
    sequences = tiny_sequences()
    split = Split(tuple(range(10)), (), tuple(range(10, 20)))
    recipe = Recipe("own", learning_rate=1e-12, batch_size=10, epochs=1, label_scaling="largest-of-dataset")
    result = finish(train(sequences, split, "mdtvsfa", SMALL["mdtvsfa"], recipe, 3))
    labels = sequences.mos[:10] / sequences.mos.max()
    assert result.weights["slopes"].item() == pytest.approx(np.ptp(labels), abs=1e-6)
    assert result.weights["offsets"].item() == pytest.approx(labels.min(), abs=1e-6)
    moved = finish(train(sequences, split, "mdtvsfa", SMALL["mdtvsfa"], Recipe("own", 0.1, 10, 3), 3)).weights
    assert (moved["stretch.weight"].item(), moved["stretch.bias"].item()) == (1.0, 0.0)
    assert moved["steepen.weight"].item() != result.weights["steepen.weight"].item()
    assert moved["slopes"].item() != result.weights["slopes"].item()


def test_four_parameters__are_all_learnt_when_requested() -> None:
    # Li et al. equation 13; the released code freezes the last two
    split = Split(tuple(range(10)), (), tuple(range(10, 20)))
    options = {**SMALL["mdtvsfa"], "four_parameters": True}
    weights = finish(train(tiny_sequences(), split, "mdtvsfa", options, Recipe("own", 0.1, 10, 3), 3)).weights
    assert weights["stretch.weight"].item() != 1.0
    assert weights["stretch.bias"].item() != 0.0


def test_init_from_labels__gives_each_data_set_its_own_line() -> None:
    head = head_of("mdtvsfa", datasets="a+b")
    head.init_from_labels(torch.tensor([1.0, 4.0, 0.2, 0.5, 0.9]), torch.tensor([0, 0, 1, 1, 1]))
    assert head.slopes.tolist() == pytest.approx([3.0, 0.7])
    assert head.offsets.tolist() == pytest.approx([1.0, 0.2])


def test_outputs__have_equal_correlations_within_a_data_set() -> None:
    head = head_of("mdtvsfa")
    head.init_from_labels(torch.tensor([1.0, 4.0]), torch.tensor([0, 0]))
    outcome = head.outputs(torch.randn(30, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    labels = np.random.default_rng(0).normal(size=30)
    relative, mapped, aligned = (
        values.detach().numpy() for values in (outcome.relative, outcome.mapped, outcome.aligned)
    )
    assert spearmanr(relative, labels).statistic == spearmanr(aligned, labels).statistic
    assert pearsonr(mapped, labels).statistic == pytest.approx(pearsonr(aligned, labels).statistic, abs=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_train__learns_and_starts_at_the_mean_label(name: str) -> None:
    sequences = tiny_sequences()
    split = Split(tuple(range(10)), tuple(range(10, 15)), tuple(range(15, 20)))
    recipe = Recipe("own", learning_rate=0.02, batch_size=4, epochs=25, start_at_mean=True)
    result = finish(train(sequences, split, name, SMALL[name], recipe, 3))
    assert result.curve[-1].loss < 0.6 * result.curve[0].loss
    head = head_of(name).float()
    head.load_state_dict(result.weights)
    assert np.isfinite(predict(head, Batcher(sequences), range(20))).all()


@pytest.mark.parametrize("label", [2.0, 2.5, 3.1])
def test_init_output_bias__moves_the_scores_to_the_label(label: float) -> None:
    head = head_of("mdtvsfa")
    assert isinstance(head, Head)
    head.init_from_labels(torch.tensor([1.0, 4.0]), torch.tensor([0, 0]))
    with torch.no_grad():
        head.inner.score.weight.zero_()
    head.init_output_bias(label)
    # one frame, whose pooled quality is its own
    assert head(frames()[:1], torch.tensor([1])).item() == pytest.approx(label, abs=1e-5)


def test_build_head__refuses_wrong_names_of_data_sets() -> None:
    with pytest.raises(ArgumentError, match=r"scale_of is 'c'; the head has scales of a, b"):
        head_of("mdtvsfa", datasets="a+b", scale_of="c")
    with pytest.raises(ArgumentError, match=r"scale_of is 'c'; the head has scales of no named data set"):
        head_of("mdtvsfa", scale_of="c")
    with pytest.raises(ArgumentError, match=r"datasets is 'a\+a'; names joined by '\+' have to be different"):
        head_of("mdtvsfa", datasets="a+a")
