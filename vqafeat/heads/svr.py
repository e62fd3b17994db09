"""Head svr: mean features → RBF support vector regression; Li et al.'s S-Feature + SVR."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vqafeat.errors import ArgumentError
from vqafeat.heads.base import Head
from vqafeat.heads.pooling import frame_mask


class SVRHead(Head):
    """Min-max scaled mean features → RBF support vector regression (Li et al., TCSVT 2022, table XIII).

    It computes f(x) = Σ a_i exp(−γ ‖x − s_i‖²) + b over the support vectors s_i, in float64, as libsvm does.

    Args:
        epsilon: half-width of the tube without loss, in the labels' unit; 0.1 as in the released script.
        folds: of the cross-validation where there is no validation part.
        held_out: share of the training part to choose C and γ on instead; 0 for folds. VIDEVAL's
            demo_eval_BVQA_feats_one_dataset.py (https://github.com/vztu/VIDEVAL; Li et al., table IV) has
            0.2, and chooses by RMSE where this does by SROCC.
    """

    trainer = "svr"
    support: Tensor
    coefficients: Tensor
    intercept: Tensor
    gamma: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int, epsilon: float = 0.1, folds: int = 5, held_out: float = 0.0) -> None:
        super().__init__()
        if not 0 <= epsilon < float("inf") or folds < 2 or not 0 <= held_out < 1:
            allowed = "epsilon has to be at least 0 and finite, folds at least 2, held_out a share below 1"
            raise ArgumentError(f"epsilon = {epsilon}, folds = {folds}, held_out = {held_out}: {allowed}.")
        sizes = {"support": (0, channels), "coefficients": (0,), "intercept": (), "gamma": ()}
        for name, size in {**sizes, "scale": (channels,), "shift": (channels,)}.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    def resize_buffers(self, weights: Mapping[str, Tensor]) -> None:
        """Resize to the support vectors of a state dict."""
        count = len(weights["support"]) if "support" in weights and weights["support"].ndim else 0
        self.support = self.support.new_zeros((count, self.support.shape[1]))
        self.coefficients = self.coefficients.new_zeros(count)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,) float64: each video's score."""
        means = torch.stack([part.double().mean(dim=0) for part in torch.split(frames, lengths.tolist())])
        # not by a matrix product, whose rounding would depend on how many videos are scored together
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(means * self.scale + self.shift, self.support, compute_mode=exact)
        kernel = torch.exp(-self.gamma * distances.square())
        return (kernel * self.coefficients).sum(dim=1) + self.intercept

    def raw_frame_scores(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, time): the video's score at each of its frames, 0 behind its end."""
        scores: Tensor = self(frames, lengths)
        return scores[:, None] * frame_mask(lengths, int(lengths.max()))
