"""Fill the pages of the documentation with what the package itself knows, when the site is built.

`<!-- tables: fontanel -->` becomes the list of tables whose name starts so, `<!-- list: heads -->`
a table of what `vqafeat list heads` prints, and `<!-- commands -->` the help text of every command.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import click
from click.testing import CliRunner
from vqafeat_cli.main import cli

from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.load import load_table

HELP_WIDTH = 84


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its marks replaced."""
    return re.sub(r"<!-- (\w+):? ?(\S*) -->", lambda mark: MARKS[mark[1]](mark[2]), markdown)


def tables(prefix: str) -> str:
    """Return the tables of a paper and their captions."""
    found = [load_table(name) for name in table_names() if name.startswith(prefix)]
    found.sort(key=lambda table: ("Figure" in table.label, int(re.findall(r"\d+", table.name)[-1])))
    rows = [f"| `{table.name}` | {table.label} | {table.title} |" for table in found]
    captions = [f"**{table.label}.** {table.caption}" for table in found]
    return "\n".join(["| name | in the paper | subject |", "|---|---|---|", *rows, "", "\n\n".join(captions)])


def names(kind: str) -> str:
    """Return what `vqafeat list KIND` prints, as a table."""
    printed = CliRunner().invoke(cli, ["list", kind], catch_exceptions=False).output
    pairs = [re.split(r" {2,}", line, maxsplit=1) for line in printed.rstrip().splitlines()]
    rows = [f"| `{name}` | {description} |" for name, description in pairs]
    return "\n".join([f"| `vqafeat list {kind}` | |", "|---|---|", *rows])


def commands(_: str) -> str:
    """Return the help text of every command."""
    return "\n".join(_help(cli, click.Context(cli, info_name="vqafeat", max_content_width=HELP_WIDTH)))


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = HELP_WIDTH
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name, part in sorted(command.commands.items()):
            yield from _help(part, click.Context(part, info_name=name, parent=context))


MARKS: dict[str, Callable[[str], str]] = {"tables": tables, "list": names, "commands": commands}
