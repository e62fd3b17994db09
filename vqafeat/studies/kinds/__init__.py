"""The kinds of cells; each is one file that registers itself in `KINDS`."""

from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task

from vqafeat.studies.kinds import (  # isort: skip  (the files register themselves)
    fit,
    cross,
    part,
    subset,
    paired,
    ensemble,
    weighted,
    timing,
    coral,
)

__all__ = ["KINDS", "Measured", "StudyKind", "Task", "coral", "cross", "ensemble", "fit", "paired", "part", "subset", "timing", "weighted"]
