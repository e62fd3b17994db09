"""A tiny network for the pre-training, and sets of small images made by the test."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from vqafeat.backbones import BACKBONES, Backbone, Variant

MakeSet = Callable[..., Path]
SIDE = 24


class TinyResNet(nn.Module):
    """What the pre-training needs of a ResNet: convolutions with batch norm, `layer4`, and a classifier `fc`
    behind the average pool.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.avgpool(self.layer4(self.conv1(images))).flatten(1))
        return scores


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register `tiny` and `iqa-tiny` for the length of a test."""
    tiny = Backbone(
        "tiny", TinyResNet, channels={"layer4": 16}, variants={"": Variant(("layer4",))}, unused=r"fc\."
    )
    monkeypatch.setitem(BACKBONES._entries, "tiny", tiny)
    monkeypatch.setitem(
        BACKBONES._entries, "iqa-tiny", replace(tiny, name="iqa-tiny", prefixes=("backbone.",))
    )


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """Write images whose quality falls with the noise in them, noisier labels on every other one, and their
    CSV.
    """

    def write(
        images: int = 20, name: str = "scores", side: int = SIDE, extra_rows: Sequence[str] = ()
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = ["image,mos,std", *extra_rows]
        random = np.random.default_rng(images)
        for number in range(images):
            level = number / max(images - 1, 1)
            samples = random.normal(128, 2 + 60 * level, (side + number % 5, side, 3))
            if number % 2:
                samples += np.array([60, 0, -60])
            Image.fromarray(samples.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
            rows.append(f"{number:02}.png,{5 - 4 * level:.4f},{0.9 if number % 2 else 0.2}")
        (folder / "images.csv").write_text("\n".join(rows) + "\n")
        return folder / "images.csv"

    return write
