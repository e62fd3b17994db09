"""What README and the documentation show: code runs, commands parse, links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import torch
from vqafeat_cli.main import cli

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import shared_networks
from vqafeat.datasets import load_dataset
from vqafeat.heads import HEADS
from vqafeat.heads.base import build_head
from vqafeat.losses import LOSSES
from vqafeat.losses.base import build_loss
from vqafeat.paper_tables.load import table_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shown(page: str, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def shown_commands() -> list[tuple[str, str]]:
    """Return page and line of each `vqafeat` command that a page shows."""
    commands = []
    for page in PAGES:
        for block in shown(page_name(page), ""):
            for line in block.replace("\\\n", " ").splitlines():
                commands += [
                    (page_name(page), part) for part in line.split("&&") if part.strip()[:8] == "vqafeat "
                ]
    return commands


def test_plugins_page__its_files_register_a_backbone_a_head_and_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for registry in (BACKBONES, HEADS, LOSSES):
        for table in ("_entries", "_added"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    blocks = shown("docs/guide/plugins.md", "python")
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "plugins.md", "exec"), {})
    (extractor,) = build_extractors(["mobilenet-v2"], {"mobilenet-v2": "random"})
    (network,) = shared_networks([extractor], torch.device("cpu"))
    rows = network.frame_rows(torch.zeros((1, 3, 64, 64), dtype=torch.uint8))["mobilenet-v2"]
    assert rows.shape == (1, 2 * 1280)
    head = build_head("two-layers", 8)
    scores = head(torch.randn(9, 8), torch.tensor([4, 5]))
    assert scores.shape == (2,)
    loss = build_loss("huber")
    assert loss is not None
    torch.testing.assert_close(
        LOSSES.get("huber")(torch.tensor([1.0, 0.0]), torch.zeros(2)), torch.tensor(0.1 * (1 - 0.05) / 2)
    )


def test_tables_page__its_file_is_a_table() -> None:
    (block,) = shown("docs/guide/tables.md", "toml")
    table = table_of(tomllib.loads(block), "mine")
    assert [len(table.rows), len(table.columns), table.tolerance] == [2, 2, {"srocc": 0.02}]


def test_start_page__its_manifest_is_read(tmp_path: Path) -> None:
    (block,) = shown("docs/start.md", "toml")
    (tmp_path / "my.toml").write_text(block)
    (tmp_path / "scores.csv").write_text("video,mos\na.yuv,1\nb.yuv,2\n")
    dataset = load_dataset(tmp_path / "my.toml")
    assert [video.name for video in dataset.videos] == ["a.yuv", "b.yuv"]
    assert dataset.raw is not None
    assert dataset.raw.width == 1920


def test_commands__are_shown_on_every_task_page() -> None:
    pages = {page for page, _ in shown_commands()}
    assert {
        "README.md",
        "docs/start.md",
        "docs/guide/fit.md",
        "docs/guide/s3.md",
        "docs/papers/li.md",
    } <= pages


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_commands__have_options_that_exist(page: str, line: str) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="vqafeat")
    arguments = shlex.split(line, comments=True)[1:]
    while isinstance(command, click.Group):
        _, arguments, _ = command.make_parser(context).parse_args(arguments)
        _, subcommand, arguments = command.resolve_command(context, arguments)
        assert subcommand is not None, line
        command, context = subcommand, click.Context(subcommand, parent=context)
    values, _, _ = command.make_parser(context).parse_args(arguments)
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice) and parameter.name in values:
            given = values[parameter.name]
            assert set(given if isinstance(given, list) else [given]) <= set(parameter.type.choices), line
        assert not parameter.required or parameter.name in values, f"{line} needs {parameter.opts}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links__lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {
            re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles
        }, link
