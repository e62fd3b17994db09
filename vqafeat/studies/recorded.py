"""A table filled from predictions that others recorded, with nothing trained."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.metrics import evaluate_predictions
from vqafeat.studies.kinds import Measured
from vqafeat.studies.kinds.weighted import average
from vqafeat.studies.running import CellResult, StudyResult
from vqafeat.studies.study import Cell, Recorded, Study
from vqafeat.training.results import MetricsSummary


def recorded_result(study: Study, path: Path) -> StudyResult:
    """Fill the row of a table whose predictions a file holds, as Li et al. released theirs.

    The file is an .npz with the keys K/00/sq (labels), K/00/rq and K/00/mq (relative and mapped scores), where K is a data set's letter
    and 00 a split. As in the released code, SROCC and KROCC are read on relative scores, PLCC and RMSE on mapped ones.

    Raises:
        ArgumentError: the table records nothing of that kind.
        DatasetError: the file cannot be read or lacks a key.
    """
    if study.recorded is None:
        raise ArgumentError(f"table '{study.name}' has no [recorded] part, so '{path}' cannot fill it; leave out --recorded.")
    mapping = next(cell.request.mapping for cell in study.cells if cell.request)
    try:
        with np.load(path, allow_pickle=False) as values:
            summaries = {dataset: _summary(values, key, study.recorded, mapping) for dataset, key in study.recorded.databases.items()}
    except KeyError as error:
        raise DatasetError(f"'{path}' lacks {error.args[0]}; it needs sq, rq and mq of {study.recorded.splits} splits.") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is no .npz of recorded predictions ({error}).") from error
    row = [heading.name for heading in study.rows].index(study.recorded.row)
    cells = [_filled(cell, summaries, study.recorded) if cell.row == row else CellResult(cell) for cell in study.cells]
    cells = [_averaged(found, cells) if found.cell.kind == "weighted" and found.cell.row == row else found for found in cells]
    words = (
        f"'{study.recorded.row}' is computed from recorded predictions ({path.name}, {study.recorded.splits} splits); nothing was trained."
    )
    for dataset, unlike in study.recorded.unlike.items():
        words += f" {dataset}: {unlike}, so that no difference is stated for it, nor for an average with it."
    return StudyResult(study, tuple(cells), words)


def _filled(cell: Cell, summaries: Mapping[str, MetricsSummary], recorded: Recorded) -> CellResult:
    dataset = cell.request.datasets[0] if cell.request and cell.kind == "fit" else ""
    if dataset not in summaries:
        return CellResult(cell)
    summary = summaries[dataset]
    return CellResult(cell, Measured.of(summary, cell.measure), comparable=dataset not in recorded.unlike)


def _averaged(found: CellResult, cells: Sequence[CellResult]) -> CellResult:
    own = [item for item in cells if (item.cell.row, item.cell.measure) == (found.cell.row, found.cell.measure) and item is not found]
    peers = [(item.cell, item.measured) for item in own if item.measured]
    if len(peers) < len(own):
        return found
    return replace(found, measured=average(peers), comparable=all(item.comparable for item in own))


def _summary(values: np.lib.npyio.NpzFile, key: str, recorded: Recorded, mapping: str) -> MetricsSummary:
    found = []
    for split in range(recorded.splits):
        mos, relative, mapped = (values[f"{key}/{split:02d}/{name}"] for name in ("sq", "rq", "mq"))
        ranked = evaluate_predictions(relative, mos, mapping="none")
        fitted = evaluate_predictions(mapped, mos, mapping=mapping)
        found.append(replace(fitted, srocc=ranked.srocc, krocc=ranked.krocc))
    return MetricsSummary.of(found)
