"""The kinds of cells of a table; each file registers its own in `CELL_TYPES`."""

from vqafeat.paper_tables.cells.base import CELL_TYPES, CellResult, CellType, Measured, Task

from vqafeat.paper_tables.cells import runs, networks  # isort: skip  (the order of registration)

__all__ = ["CELL_TYPES", "CellResult", "CellType", "Measured", "Task", "networks", "runs"]
