"""Spatial pooling against float64 NumPy."""

import numpy as np
import torch

from vqafeat.backbones.base import gap_gsp


def test_mean_and_unbiased_deviation_equal_float64() -> None:
    maps = torch.randn(3, 5, 7, 4, generator=torch.Generator().manual_seed(0)) * 3 + 10
    for layout in (maps, maps.to(memory_format=torch.channels_last)):
        flat = maps.double().numpy().reshape(3, 5, -1)
        expected = np.concatenate([flat.mean(2), flat.std(2, ddof=1)], 1)
        np.testing.assert_allclose(gap_gsp(layout).numpy(), expected, rtol=2e-6)
        assert gap_gsp(layout).dtype == torch.float32


def test_a_single_position_has_deviation_zero() -> None:
    pooled = gap_gsp(torch.tensor([[[[2.0]], [[-3.0]]]]))
    torch.testing.assert_close(pooled, torch.tensor([[2.0, -3.0, 0.0, 0.0]]))


def test_half_precision_maps_are_pooled_in_float32() -> None:
    maps = torch.full((1, 1, 100, 100), 60000.0, dtype=torch.float16)
    torch.testing.assert_close(gap_gsp(maps), torch.tensor([[float(maps[0, 0, 0, 0]), 0.0]]))
