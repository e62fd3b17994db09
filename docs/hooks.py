"""Fill the pages of the documentation with what the package itself knows, when the site is built.

`<!-- tables: fontanel -->` becomes the list of tables whose name starts so, `<!-- list: heads -->`
a table of what `vqafeat list heads` prints, and `<!-- commands -->` the help text of every command.
A notebook becomes a page with its stored outputs.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from vqafeat_cli.main import cli

from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.load import load_table

HELP_WIDTH = 84


class NotebookPage(File):
    """A notebook that the site shows as a page; other pages link to the notebook's file."""

    def is_documentation_page(self) -> bool:
        """Return True, as for a Markdown file."""
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the site with each notebook replaced by its page."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        assert file.abs_src_path is not None
        content = notebook_markdown(json.loads(Path(file.abs_src_path).read_text(encoding="utf-8")))
        files.remove(file)
        files.append(NotebookPage.generated(config, file.src_uri, content=content))
    return files


def notebook_markdown(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown: its text, its code, and what the code printed and drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", ())})
            if "image/png" in data:
                encoded = "".join(data["image/png"]).strip()
                parts.append(f'<img class="plot" alt="plot" src="data:image/png;base64,{encoded}">')
            else:
                parts.append(f"```{{ .text .output }}\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts)


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
    return "\n".join(_help(cli, click.Context(cli, info_name="vqafeat", **cli.context_settings)))


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = HELP_WIDTH
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name, part in sorted(command.commands.items()):
            yield from _help(part, click.Context(part, info_name=name, parent=context))


MARKS: dict[str, Callable[[str], str]] = {"tables": tables, "list": names, "commands": commands}
