"""Videos in an object store: what a listing says of each, and how one comes to this machine."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqafeat.errors import DatasetError
from vqafeat.places import cache_errors_told, network_errors_told

if TYPE_CHECKING:
    from upath import UPath


class ChangedError(OSError):
    """What came of a file is not what was listed of it: it was cut on its way, or written anew meanwhile."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL.

    Attributes:
        place: the URL.
        size_bytes: as listed.
        modified_ns: nanoseconds since 1970 when it was last written, as listed.
    """

    place: "UPath"
    size_bytes: int
    modified_ns: int

    def __str__(self) -> str:
        return str(self.place)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return str(self.place.name)

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return str(self.place.suffix)

    def open(self, mode: str) -> Any:
        """Open it, to be read over the network."""
        return self.place.open(mode)

    def is_copied_to(self, file: Path) -> bool:
        """Tell whether a file is what `fetch` made of it as it is listed now."""
        if not file.is_file():
            return False
        status = file.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.modified_ns)

    def fetch(self, file: Path) -> None:
        """Copy it to a file of this machine's cache, which gets its time of writing; raises what the network raises.

        Raises:
            ChangedError: its size is not the listed one.
            StoreError: the file cannot be written.
        """
        with cache_errors_told(file.parent):
            file.touch()  # so that what is wrong with the disk is not taken for an answer of the network
        try:
            # in one piece: pieces at once are held in memory, and one that is cut is not asked for again
            self.place.fs.get_file(self.place.path, str(file), max_concurrency=1)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with cache_errors_told(file.parent):
                    raise
            raise
        if file.stat().st_size != self.size_bytes:
            raise ChangedError(f"{file.stat().st_size} bytes came, {self.size_bytes} were listed")
        os.utime(file, ns=(self.modified_ns, self.modified_ns))


VideoFile = Path | RemoteFile


def listed_files(root: "UPath") -> Mapping[str, RemoteFile]:
    """Return the files below a prefix by their paths relative to it, none of which leads out of a folder that they are copied to.

    Keys that are no relative path (`..`, `//`) are left out.

    Raises:
        DatasetError: there is no such bucket.
        StoreError: the object store cannot be reached, or does not let us in.
    """
    try:
        with network_errors_told(root):
            found = root.fs.find(root.path, detail=True)
    except FileNotFoundError as error:
        raise DatasetError(f"the folder of videos '{root}' does not exist ({error}); name it with --root URL.") from error
    above = f"{root.path.rstrip('/')}/"
    files = {path.removeprefix(above): said for path, said in found.items() if path.startswith(above)}
    return {
        relative: RemoteFile(root / relative, int(said["size"]), int(said["LastModified"].timestamp()) * 10**9)
        for relative, said in files.items()
        if not {"", ".", ".."}.intersection(relative.split("/"))
    }
