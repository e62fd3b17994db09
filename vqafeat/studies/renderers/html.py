"""html: one table element with headings that screen readers can follow, and a list of its notes."""

from html import escape

from vqafeat.remote import Place
from vqafeat.studies.cells import cell_text, notes, spans, title
from vqafeat.studies.renderers.base import RENDERERS
from vqafeat.studies.running import StudyResult
from vqafeat.studies.shelves import commands_for


@RENDERERS.register("html")
def html(result: StudyResult, store: Place) -> str:
    """Return the elements; a page puts them where it likes."""
    study = result.study
    heads = 1 + any(row.group for row in study.rows)
    body = []
    for number, row in enumerate(study.rows):
        named = [f'<th scope="row">{escape(name)}</th>' for name in [row.group, row.name][2 - heads :]]
        cells = [f"<td>{escape(cell_text(found, study.digits))}</td>" for found in result.row(number)]
        body.append(f"<tr>{''.join([*named, *cells])}</tr>")
    names = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in study.columns)
    over = "".join(f'<th scope="colgroup" colspan="{span.count}">{escape(span.name)}</th>' for span in spans(study.columns))
    empty = "<td></td>" * heads
    return "\n".join(
        [
            f'<table id="{escape(study.name)}">',
            f"<caption>{escape(title(result))}</caption>",
            "<thead>",
            *([f"<tr>{empty}{over}</tr>"] if any(column.group for column in study.columns) else []),
            f"<tr>{empty}{names}</tr>",
            "</thead>",
            "<tbody>",
            *body,
            "</tbody>",
            "</table>",
            "<ul>",
            *(f"<li>{escape(note)}</li>" for note in notes(result)),
            *(f"<li>To make it: <code>{escape(command)}</code></li>" for command in commands_for(result.missing, store)),
            "</ul>",
        ]
    )
