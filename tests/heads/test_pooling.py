"""Hysteresis pooling against frame-by-frame loops written from the equations."""

import math

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from vqafeat.heads.pooling import (
    POOLINGS,
    frame_mask,
    masked_mean,
    padded,
    paper_hysteresis,
    released_hysteresis,
)


def released_loop(quality: list[float], window: int, beta: float) -> list[float]:
    pooled = []
    for t in range(len(quality)):
        memory = min(quality[max(0, t - window + 1) : t + 1])
        ahead = quality[t : t + window]
        current = sum(q * math.exp(-q) for q in ahead) / sum(math.exp(-q) for q in ahead)
        pooled.append(beta * current + (1 - beta) * memory)
    return pooled


def paper_loop(quality: list[float], window: int, beta: float) -> list[float]:
    pooled = []
    for t in range(1, len(quality) + 1):
        memory = quality[0] if t == 1 else min(quality[k - 1] for k in range(max(1, t - window), t))
        ahead = [quality[k - 1] for k in range(t, min(t + window, len(quality)) + 1)]
        current = sum(q * math.exp(-q) for q in ahead) / sum(math.exp(-q) for q in ahead)
        pooled.append(beta * memory + (1 - beta) * current)
    return pooled


LOOPS = {"released": released_loop, "paper": paper_loop}


def ragged(dtype: torch.dtype, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.arange(1, 41)
    quality = torch.randn(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    # rubbish behind each end, which must not be read
    return quality.where(frame_mask(lengths, 40), torch.full((), -1e6, dtype=torch.float64)).to(
        dtype
    ), lengths


def test_poolings__each_has_a_loop_here() -> None:
    assert set(POOLINGS) == set(LOOPS)


@pytest.mark.parametrize("variant", LOOPS)
@pytest.mark.parametrize(("window", "beta"), [(12, 0.5), (1, 0.3), (5, 0.9), (60, 0.5)])
def test_poolings__equal_the_loop_for_lengths_1_to_40_in_one_batch(
    variant: str, window: int, beta: float
) -> None:
    quality, lengths = ragged(torch.float64)
    pooled = POOLINGS.get(variant)(quality, lengths, window, beta)
    for row, length in enumerate(lengths.tolist()):
        expected = LOOPS[variant](quality[row, :length].tolist(), window, beta)
        torch.testing.assert_close(
            pooled[row, :length], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
        )
        assert not pooled[row, length:].any()


@pytest.mark.parametrize("variant", LOOPS)
def test_poolings__float32_is_exact_to_1e_6_for_sensible_scores(variant: str) -> None:
    quality, lengths = ragged(torch.float32, scale=0.5)
    pool = POOLINGS.get(variant)
    torch.testing.assert_close(
        pool(quality, lengths, 12, 0.5).double(), pool(quality.double(), lengths, 12, 0.5), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("variant", LOOPS)
@pytest.mark.parametrize("offset", [-1000.0, 1000.0])
def test_poolings__do_not_overflow_on_far_scores(variant: str, offset: float) -> None:
    # the weights e^−q know differences only: an offset goes straight through
    quality, lengths = ragged(torch.float64, scale=1.0)
    pool = POOLINGS.get(variant)
    near, mask = pool(quality, lengths, 12, 0.5), frame_mask(lengths, 40)
    far = pool((quality + offset).float().requires_grad_(), lengths, 12, 0.5)
    torch.testing.assert_close(far[mask].double() - offset, near[mask], atol=5e-4, rtol=0)
    spread = torch.tensor([[1000.0, -1000.0, 1000.0, 0.0]], requires_grad=True)
    pool(spread, torch.tensor([4]), 12, 0.5).sum().backward()
    assert torch.isfinite(spread.grad).all()


@pytest.mark.parametrize("variant", LOOPS)
def test_poolings__gradients_equal_finite_differences(variant: str) -> None:
    quality = torch.randn(
        3, 17, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    lengths = torch.tensor([17, 4, 1])
    pool = POOLINGS.get(variant)
    assert torch.autograd.gradcheck(lambda values: pool(values, lengths, 5, 0.4), (quality,))
    pool(quality, lengths, 5, 0.4).sum().backward()
    assert not quality.grad[~frame_mask(lengths, 17)].any()


@pytest.mark.parametrize("pool", [released_hysteresis, paper_hysteresis])
def test_poolings__keep_a_constant_quality(pool: object) -> None:
    assert callable(pool)
    torch.testing.assert_close(pool(torch.full((1, 30), 0.7), torch.tensor([30])), torch.full((1, 30), 0.7))


def test_masked_mean__reads_the_own_frames_only() -> None:
    values = torch.tensor([[1.0, 3.0, math.nan], [2.0, 4.0, 9.0]])
    torch.testing.assert_close(masked_mean(values, torch.tensor([2, 3])), torch.tensor([2.0, 5.0]))


@pytest.mark.parametrize("width", [(), (3,)])
@pytest.mark.parametrize("time_first", [False, True])
def test_padded__equals_pytorch_there_and_back(width: tuple[int, ...], time_first: bool) -> None:
    lengths = torch.tensor([2, 5, 1])
    flat = torch.randn(8, *width, dtype=torch.float64, requires_grad=True)
    same = flat.detach().clone().requires_grad_()
    result = padded(flat, lengths, time_first)
    expected = pad_sequence(list(torch.split(same, lengths.tolist())), batch_first=not time_first)
    assert torch.equal(result, expected)
    weights = torch.randn_like(result)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    assert flat.grad is not None
    assert same.grad is not None
    assert torch.equal(flat.grad, same.grad)
