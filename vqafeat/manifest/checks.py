"""What rows must be like, whichever list they come from; each message counts all bad rows and names the first few."""

import math
from collections.abc import Sequence

from vqafeat.errors import DatasetError
from vqafeat.labels import LabelRow
from vqafeat.manifest.dataset import MOS_TOLERANCE, SPLIT_NAMES, Video, doubled, first_few, name_problem
from vqafeat.manifest.schema import LabelList


def check_rows(rows: Sequence[LabelRow], names: Sequence[str | None], mos_range: tuple[float, float] | None, where: str) -> None:
    """Refuse rows that cannot be videos.

    Args:
        rows: of one or more lists.
        names: canonical name of each row; None where the listed one does not fit the manifest's pattern.
        mos_range: what labels may be; None where it is not known.
        where: the list, as the message names it.

    Raises:
        DatasetError: there are no rows, or rows are nameless, doubled, without a label, out of range, or in an unknown part.
    """
    if not rows:
        raise DatasetError(f"{where} holds no rows; it must name at least one video.")
    _refuse(
        [f"the one with label {row.mos:g}" for row in rows if not row.listed.strip()],
        where,
        "without a video name",
        "drop them or name the video",
    )
    strange = [row.listed for row, name in zip(rows, names, strict=True) if name is None]
    _refuse(
        strange, where, "with a name unlike those of this data set", "it is the label list of another data set, or the names were changed"
    )
    found = [name for name in names if name is not None]
    bad = [f"{name} ({problem})" for name in found if (problem := name_problem(name))]
    _refuse(bad, where, "with a name that is no path below the root", "write paths relative to the folder of videos, with '/'")
    _refuse(doubled(found), where, "with the video of an earlier row", "keep one row a video")
    _refuse(
        [row.listed for row in rows if not math.isfinite(row.mos)],
        where,
        "without a finite label (empty, NaN or infinite)",
        "drop or mend them",
    )
    if mos_range is not None:
        low, high = mos_range
        outside = [f"{row.listed} ({row.mos:g})" for row in rows if not low - MOS_TOLERANCE <= row.mos <= high + MOS_TOLERANCE]
        _refuse(outside, where, f"with a label outside {low:g} to {high:g}", "mend them; the scale may be another")
    unknown = [f"{row.listed} ('{row.split}')" for row in rows if row.split is not None and row.split not in SPLIT_NAMES]
    _refuse(unknown, where, f"with a split other than {', '.join(SPLIT_NAMES)}", "use one of these, or leave the cell empty")


def check_known(entry: LabelList, videos: Sequence[Video], where: str) -> None:
    """Refuse a list that does not show what it is known to hold.

    Raises:
        DatasetError: another number of rows or contents, or another range of labels.
    """
    if entry.videos is not None and len(videos) != entry.videos:
        fewer = entry.videos - len(videos)
        raise DatasetError(
            f"{where} holds {len(videos)} rows, known are {entry.videos} ({abs(fewer)} {'missing' if fewer > 0 else 'too many'}, "
            f"last row {videos[-1].name}); fetch the list again, or give a part of a data set as a CSV video,mos[,content,split]."
        )
    contents = len({video.content for video in videos})
    if entry.contents is not None and contents != entry.contents:
        raise DatasetError(
            f"{where} shows {contents} contents, known are {entry.contents}; the names were changed, or [content] does not fit them."
        )
    if entry.mos_range is not None:
        low, high = min(video.mos for video in videos), max(video.mos for video in videos)
        if abs(low - entry.mos_range[0]) > MOS_TOLERANCE or abs(high - entry.mos_range[1]) > MOS_TOLERANCE:
            raise DatasetError(
                f"{where} has labels from {low:g} to {high:g}, known are {entry.mos_range[0]:g} to {entry.mos_range[1]:g}; "
                "the list was rescaled or changed, fetch it again."
            )


def _refuse(bad: Sequence[str], where: str, what: str, next_step: str) -> None:
    if bad:
        raise DatasetError(f"{where}: {len(bad)} {'row' if len(bad) == 1 else 'rows'} {what}: {first_few(bad)}; {next_step}.")
