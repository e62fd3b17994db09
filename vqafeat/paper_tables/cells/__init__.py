"""The kinds of cells of a table; each file registers its own in `CELL_TYPES`."""

from vqafeat.paper_tables.cells import runs, networks  # isort: skip  (the order of registration)
from vqafeat.paper_tables.table import CELL_TYPES

__all__ = ["CELL_TYPES", "networks", "runs"]
