"""Where a store lies: a local folder, or a prefix of an object store that has the same methods as a path."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath

    Place = Path | UPath
else:
    Place = Path  # universal-pathlib is only needed, and only imported, where a place is a URL


def remove_tree(place: Place) -> None:
    """Delete a folder with all that is in it, or all objects below a prefix."""
    if isinstance(place, Path):
        shutil.rmtree(place)
    else:
        place.fs.rm(place.path, recursive=True)
