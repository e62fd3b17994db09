"""The folder of a run: free, taken by another one, stopped half-way, or finished before."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.modeling.run_config import RunConfig
from vqafeat.modeling.run_files import CALIBRATION, CONFIG, METRICS, STATE, TRAINING_FEATURES, WEIGHTS, read_json

_DIGITS = 8


@dataclass(frozen=True)
class RunFolder:
    """Where a run goes.

    Attributes:
        path: the folder.
        finished: it holds this very run already.
    """

    path: Path
    finished: bool


def prepared(out: Path, config: RunConfig, overwrite: bool, elsewhere: bool) -> RunFolder:
    """Return the folder of a run, ready to be written to, or with that run finished or stopped half-way in it.

    Args:
        out: the folder that is asked for.
        config: of the run.
        overwrite: what `out` holds of a run is removed.
        elsewhere: where another run has `out`, this one is looked for beside it, and else goes to a folder named after its digest.

    Raises:
        ArgumentError: the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"'{out}' is a file; name a folder for the run with --out.")
    if overwrite:
        _refuse_foreign(out)
        _clear(out)
        return RunFolder(out, finished=False)
    if elsewhere:
        beside = [out, *sorted(path.parent for path in out.parent.glob(f"*/{CONFIG}"))]
        same = [path for path in beside if _digest(path) == config.digest]
        finished = [path for path in same if (path / METRICS).is_file()]
        taken = (out / CONFIG).is_file() or (out.is_dir() and any(out.iterdir()))
        out = next(iter([*finished, *same]), out.with_name(f"{out.name}-{config.digest[:_DIGITS]}") if taken else out)
    _refuse_foreign(out)
    same_run, finished_run = _digest(out) == config.digest, (out / METRICS).is_file()
    if (out / CONFIG).is_file() and not same_run:
        state = "a finished run" if finished_run else "an unfinished run"
        raise ArgumentError(
            f"'{out}' holds {state} of another configuration; name another folder with --out, or replace it with --overwrite."
        )
    return RunFolder(out, finished_run and same_run)


def _digest(folder: Path) -> str | None:
    """Return the digest of the run in a folder, or None where there is none that this vqafeat reads."""
    try:
        return RunConfig.from_dict(read_json(folder / CONFIG), str(folder)).digest
    except WeightsError:
        return None


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG).is_file():
        raise ArgumentError(f"'{out}' holds files that are not of a run; name another folder with --out.")


def _clear(out: Path) -> None:
    """Remove what would be taken for part of a run; its mark of completeness goes first."""
    for name in (METRICS, CALIBRATION, TRAINING_FEATURES):
        (out / name).unlink(missing_ok=True)
    for folder in (WEIGHTS, STATE):
        shutil.rmtree(out / folder, ignore_errors=True)
