"""The released way to train, to compare with: VSFA.py pads float64 features on the host, video by video."""

import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqafeat.store.features import FeatureDataset

BATCH = 16


class ReleasedHead(nn.Module):
    """Class `VSFA` of the released VSFA.py, which pools each video by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.score = nn.Linear(channels, 128), nn.Linear(32, 1)
        self.recurrence = nn.GRU(128, 32, batch_first=True)

    def forward(self, padded: Tensor, lengths: Tensor) -> Tensor:
        start = torch.zeros(1, len(padded), 32, device=padded.device)
        quality = self.score(self.recurrence(self.reduce(padded), start)[0])
        videos = [pooled(quality[row, : int(length)]).mean() for row, length in enumerate(lengths)]
        return torch.stack(videos)


def pooled(quality: Tensor, window: int = 12, beta: float = 0.5) -> Tensor:
    """Function `TP` of the released VSFA.py."""
    row = quality.T.unsqueeze(0)

    def border(value: float) -> Tensor:
        return torch.full((1, 1, window - 1), value, device=quality.device)

    memory = -F.max_pool1d(torch.cat([border(-torch.inf), -row], 2), window, stride=1)
    weighted = F.avg_pool1d(torch.cat([row * torch.exp(-row), border(0.0)], 2), window, stride=1)
    weights = F.avg_pool1d(torch.cat([torch.exp(-row), border(0.0)], 2), window, stride=1)
    return beta * weighted / weights + (1 - beta) * memory


def released_epoch_seconds(
    data: FeatureDataset, device: torch.device, steps: int = 12, scored: int = 60
) -> float:
    """Return the seconds of an epoch of one split, from some of its steps and some of its scored videos."""
    torch.set_num_threads(os.cpu_count() or 1)
    videos = min(len(data), 96)
    padded = np.stack([np.asarray(data.features[row], np.float64) for row in range(videos)])
    lengths = torch.full((videos,), padded.shape[1])
    labels = torch.from_numpy(data.mos / data.mos.max()).float()
    head = ReleasedHead(data.channels).to(device)
    optimiser = torch.optim.Adam(head.parameters(), 1e-5)
    random = np.random.default_rng(0)

    def step() -> None:
        rows = random.permutation(videos)[:BATCH]
        loss = F.l1_loss(
            head(torch.from_numpy(padded[rows]).to(device).float(), lengths[rows]), labels[rows].to(device)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()

    @torch.no_grad()
    def score() -> None:
        row = int(random.integers(0, videos))
        head(torch.from_numpy(padded[row : row + 1]).to(device).float(), lengths[row : row + 1])[0].item()

    step()
    score()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    step_seconds = (time.perf_counter() - start) / steps
    start = time.perf_counter()
    for _ in range(scored):
        score()
    score_seconds = (time.perf_counter() - start) / scored
    trained = len(data) * 3 // 5
    return step_seconds * -(-trained // BATCH) + score_seconds * (len(data) - trained)
