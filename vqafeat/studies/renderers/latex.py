"""latex: a table with booktabs, which the document has to load."""

from vqafeat.remote import Place
from vqafeat.studies.cells import cell_text, notes, spans, title
from vqafeat.studies.renderers.base import RENDERERS
from vqafeat.studies.running import StudyResult
from vqafeat.studies.shelves import commands_for

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "≈": r"$\approx$",
    "≤": r"$\le$",
    "→": r"$\to$",
    "²": r"$^2$",
    "–": "--",
    "\n": " ",
}


def _latex_escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


@RENDERERS.register("latex")
def latex(result: StudyResult, store: Place) -> str:
    """Return the table with its notes in the caption."""
    study = result.study
    heads = 1 + any(row.group for row in study.rows)
    rows = []
    for number, row in enumerate(study.rows):
        first = number == 0 or study.rows[number - 1].group != row.group
        names = [row.group if first else "", row.name][2 - heads :]
        rule = [r"\midrule"] if heads == 2 and first and number else []
        rows += [*rule, _line([*names, *(cell_text(found, study.digits) for found in result.row(number))])]
    made = [f"To make it: {command}." for command in commands_for(result.missing, store)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_escaped(' '.join([title(result) + '.', *notes(result), *made]))}}}",
            rf"\label{{tab:{study.name}}}",
            rf"\begin{{tabular}}{{{'l' * heads}{'r' * len(study.columns)}}}",
            r"\toprule",
            *_header(result, heads),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _line(cells: list[str]) -> str:
    return " & ".join(map(_latex_escaped, cells)) + r" \\"


def _header(result: StudyResult, heads: int) -> list[str]:
    columns = result.study.columns
    names = _line([""] * heads + [column.name for column in columns])
    if not any(column.group for column in columns):
        return [names]
    over, rules, at = [""] * heads, [], heads + 1
    for span in spans(columns):
        over.append(rf"\multicolumn{{{span.count}}}{{c}}{{{_latex_escaped(span.name)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + span.count - 1}}}")
        at += span.count
    return [" & ".join(over) + r" \\", " ".join(rules), names]
