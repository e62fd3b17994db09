"""One's own data set: a CSV with the columns video,mos[,content,split] and nothing else."""

from difflib import get_close_matches
from pathlib import Path

from vqafeat.errors import DatasetError
from vqafeat.labels.rows import LABEL_READERS, LabelReader, LabelRows, NoOptions
from vqafeat.labels.table import TableOptions, header_of, read_table, rows_of_table

REQUIRED_COLUMNS = ("video", "mos")
OPTIONAL_COLUMNS = ("content", "split")


def read_own(path: Path, _options: NoOptions) -> LabelRows:
    """Return the rows of a CSV of one's own.

    Raises:
        DatasetError: a column is missing, doubled or unknown.
    """
    header = header_of(path)
    allowed = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    unknown = [column for column in header if column not in allowed]
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if unknown or missing:
        said = [f"unknown column{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}"] if unknown else []
        said += [f"no column {' and '.join(map(repr, missing))}"] if missing else []
        near = get_close_matches(unknown[0].lower(), allowed, n=1) if unknown else []
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise DatasetError(
            f"'{path}': {', '.join(said)}{hint}; a data set of one's own has the columns video,mos and, if wanted, content and split, "
            "separated by commas, and nothing else."
        )
    options = TableOptions(
        video=("video",),
        mos=("mos",),
        content=("content",) if "content" in header else (),
        split_column=("split",) if "split" in header else (),
    )
    return rows_of_table(read_table(path), path, options)


LABEL_READERS.add("own", LabelReader(NoOptions, read_own))
