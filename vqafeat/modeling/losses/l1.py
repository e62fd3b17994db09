"""The loss of VSFA, and of most others since."""

import torch.nn.functional as F
from torch import Tensor

from vqafeat.modeling.losses.base import LOSSES, ON_LABEL_SCALE


@LOSSES.register("l1")
def l1_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean absolute difference of (batch,) scores and (batch,) scaled labels, as in VSFA (ACM MM 2019), section 3.4.

    The same as equation 6 of A2INet.
    """
    return F.l1_loss(scores, labels)


ON_LABEL_SCALE.add("l1")
