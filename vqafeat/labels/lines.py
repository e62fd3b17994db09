"""Lists without a header, `path, duration, fps, MOS` a line: those of FAST-VQA and DOVER for LSVQ."""

from pathlib import Path

from vqafeat.errors import DatasetError
from vqafeat.labels.rows import LABEL_READERS, LabelReader, LabelRow, LabelRows, NoOptions, parsed_scores, text_of


def read_lines(path: Path, _options: NoOptions) -> LabelRows:
    """Return the rows of a headerless list; duration and rate are -1 in the released ones and are not used.

    Raises:
        DatasetError: lines that have not four fields.
    """
    lines = [(number, line) for number, line in enumerate(text_of(path).splitlines(), start=1) if line.strip()]
    fields = [(number, line.rsplit(",", 3)) for number, line in lines]
    short = [str(number) for number, parts in fields if len(parts) < 4]
    if short:
        raise DatasetError(
            f"label file '{path}': {len(short)} lines are not 'path, duration, fps, MOS': lines {', '.join(short[:5])}; mend them."
        )
    scores = parsed_scores(((number, parts[3]) for number, parts in fields), path)
    return LabelRows(tuple(LabelRow(parts[0].strip(), score) for (_, parts), score in zip(fields, scores, strict=True)))


LABEL_READERS.add("path-duration-fps-mos", LabelReader(NoOptions, read_lines))
