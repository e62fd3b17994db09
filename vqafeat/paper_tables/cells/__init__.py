"""The types of cells of a table; each file registers its own in `CELL_TYPES`."""

from vqafeat.paper_tables.cells.base import CELL_TYPES, CellType, Measured, Task

from vqafeat.paper_tables.cells import (  # isort: skip  (the order of `vqafeat list`)
    runs,
    groups,
    networks,
)

__all__ = ["CELL_TYPES", "CellType", "Measured", "Task", "groups", "networks", "runs"]
