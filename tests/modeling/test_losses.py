import numpy as np
import pytest
import torch

from vqafeat.errors import TrainingError
from vqafeat.modeling.losses import LABEL_SCALES, LOSSES


def test_l1_equals_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    expected = sum(abs(score - label) for score, label in zip(scores.tolist(), labels.tolist(), strict=True)) / 9
    assert LOSSES.get("l1")(scores, labels).item() == pytest.approx(expected, abs=1e-15)
    assert torch.autograd.gradcheck(lambda values: LOSSES.get("l1")(values, labels), (scores.requires_grad_(),))


def test_label_scales() -> None:
    # CVD2014's labels reach from −6.50 to 93.38: the released rule leaves negative ones negative
    mos = np.array([-6.5, 93.38, 40.0, 50.0])
    assert LABEL_SCALES.get("largest-of-dataset")(mos, [0, 2, 3]) == 93.38
    assert LABEL_SCALES.get("largest-of-training")(mos, [0, 2, 3]) == 50.0


def test_labels_without_a_positive_one_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"the largest label of the training part is -1; labels are divided by it"):
        LABEL_SCALES.get("largest-of-training")(np.array([-1.0, 5.0]), [0])
