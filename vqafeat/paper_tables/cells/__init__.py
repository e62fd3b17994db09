"""The types of cells of a table; each file registers its own in `KINDS`."""

from vqafeat.paper_tables.cells.base import KINDS, Measured, StudyKind, Task

from vqafeat.paper_tables.cells import (  # isort: skip  (the order of `vqafeat list`)
    runs,
    groups,
    networks,
)

__all__ = ["KINDS", "Measured", "StudyKind", "Task", "groups", "networks", "runs"]
