"""Fill the pages of the documentation with what the package itself knows, when the site is built.

`<!-- tables: fontanel -->` becomes a list of the shipped tables whose name starts so, and
`<!-- list: heads -->` becomes a table of what `vqafeat list heads` prints.
"""

import re
from typing import Any

from click.testing import CliRunner
from vqafeat_cli.main import cli

from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.load import load_table


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its marks replaced."""
    markdown = re.sub(r"<!-- tables: (\S+) -->", lambda mark: _tables(mark[1]), markdown)
    return re.sub(r"<!-- list: (\S+) -->", lambda mark: _names(mark[1]), markdown)


def _tables(prefix: str) -> str:
    tables = [load_table(name) for name in table_names() if name.startswith(prefix)]
    tables.sort(key=lambda table: ("Figure" in table.label, table_number(table.name)))
    rows = [f"| `{table.name}` | {table.label} | {table.title} |" for table in tables]
    captions = [f"**{table.label}.** {table.caption}" for table in tables]
    head = ["| name | in the paper | subject |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", "### Captions", "", "\n\n".join(captions)])


def table_number(name: str) -> int:
    """Return the number of a table in its paper."""
    return int(re.findall(r"\d+", name)[-1])


def _names(kind: str) -> str:
    text = CliRunner().invoke(cli, ["list", kind], catch_exceptions=False).output
    return f"```text\n{text.rstrip()}\n```"
