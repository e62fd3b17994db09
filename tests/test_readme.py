"""What README shows: its files register and work as they stand, its links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import shared_networks
from vqafeat.heads import HEADS
from vqafeat.heads.base import build_head
from vqafeat.losses import LOSSES
from vqafeat.losses.base import LossOptions, build_loss
from vqafeat.paper_tables.load import table_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "CONTRIBUTING.md"]


def shown(language: str) -> list[str]:
    """Return the blocks of README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[0].read_text(), re.DOTALL)


def test_readme__a_backbone_a_head_and_a_loss_are_one_file_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (BACKBONES, HEADS, LOSSES):
        for table in ("_entries", "_added"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    blocks = shown("python")
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    (extractor,) = build_extractors(["mobilenet-v2"], {"mobilenet-v2": "random"})
    (network,) = shared_networks([extractor], torch.device("cpu"))
    rows = network.frame_rows(torch.zeros((1, 3, 64, 64), dtype=torch.uint8))["mobilenet-v2"]
    assert rows.shape == (1, 2 * 1280)
    head = build_head("two-layers", 8)
    scores = head(torch.randn(9, 8), torch.tensor([4, 5]))
    assert scores.shape == (2,)
    loss = build_loss("huber", LossOptions())
    assert loss is not None
    torch.testing.assert_close(
        LOSSES.get("huber")(torch.tensor([1.0, 0.0]), torch.zeros(2)), torch.tensor(0.1 * (1 - 0.05) / 2)
    )


def test_readme__a_table_is_one_file() -> None:
    (block,) = shown("toml")
    study = table_of(tomllib.loads(block), "mine")
    assert [len(study.rows), len(study.columns), study.tolerance] == [2, 2, {"srocc": 0.02}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links__lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {
            re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles
        }, link
