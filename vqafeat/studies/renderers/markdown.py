"""md: a table of GitHub's Markdown."""

import re

from vqafeat.remote import Place
from vqafeat.studies.cells import cell_text, notes, title
from vqafeat.studies.renderers.base import RENDERERS
from vqafeat.studies.running import StudyResult
from vqafeat.studies.shelves import commands_for


def _markdown_escaped(text: str) -> str:
    """Return text that Markdown shows as it is; a bar would end its cell, and a tag would be one."""
    return re.sub(r"([\\`*_|\[\]#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


@RENDERERS.register("md")
def markdown(result: StudyResult, store: Place) -> str:
    """Return the table with its notes below."""
    study = result.study
    grouped = any(row.group for row in study.rows)
    header = [*([""] if grouped else []), "", *(column.words for column in study.columns)]
    rows = [
        [*([row.group] if grouped else []), row.name, *(cell_text(found, study.digits) for found in result.row(number))]
        for number, row in enumerate(study.rows)
    ]
    lines = ["| " + " | ".join(map(_markdown_escaped, cells)) + " |" for cells in (header, *rows)]
    below = [f"- {_markdown_escaped(note)}" for note in notes(result)]
    below += [f"- To make it: `{command}`" for command in commands_for(result.missing, store)]
    rule = "|" + "---|" * (1 + grouped) + "---:|" * len(study.columns)
    return "\n".join([f"### {_markdown_escaped(title(result))}", "", lines[0], rule, *lines[1:], "", *below])
