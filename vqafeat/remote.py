"""Where a store lies: a local folder, or a prefix of an object store, whose methods are those of a path."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from vqafeat.errors import ArgumentError, StoreError
from vqafeat.registry import Registry

if TYPE_CHECKING:
    from upath import UPath

    StorePath = Path | UPath
else:
    StorePath = Path  # universal-pathlib is only needed, and only imported, where a place is a URL
import errno
from typing import TYPE_CHECKING

from vqafeat.errors import DatasetError

if TYPE_CHECKING:
    from upath import UPath


Item = TypeVar("Item")
Found = TypeVar("Found")

_REQUESTS_AT_ONCE = 16
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_CREDENTIAL = re.compile(r"key|secret|token|passw|credential|signature|auth", re.IGNORECASE)

# what is raised while a URL is in use and is no OSError: refusals, answers that are none, bodies that are cut
_NETWORK_ERRORS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "botocore.parsers": ("ResponseParserError",),
    "aiohttp": ("ClientError",),
    "http.client": ("HTTPException",),
}


@dataclass(frozen=True)
class Scheme:
    """A kind of object store.

    Attributes:
        module: that reaches it.
        extra: of vqafeat, which brings the module.
        credentials: where it takes them from, for the reader.
        options: of its file system, unless --storage-option says otherwise.
    """

    module: str
    extra: str
    credentials: str
    options: Mapping[str, Any]


SCHEMES: Registry[Scheme] = Registry("kind of store URL")
SCHEMES.add(
    "s3",
    Scheme(
        module="s3fs",
        extra="s3",
        credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role",
        options={
            # botocore repeats what is answered with 500, 502, 503, 504 or a throttling code, after waits that
            # double up to 20 s; what is cut or not answered in time s3fs repeats five times
            "config_kwargs": {
                "connect_timeout": 10,
                "read_timeout": 60,
                "retries": {"mode": "standard", "max_attempts": 8},
            },
            "use_listings_cache": False,  # another process may be writing
        },
    ),
)


def parse_path(text: str, storage_options: Sequence[str] = ()) -> StorePath:
    """Return the folder or the URL that a text names.

    Args:
        text: a path, or a URL such as `s3://bucket/prefix`.
        storage_options: `name=value` of the URL's file system; a value may be JSON. Credentials are refused.

    Raises:
        ArgumentError: an option is no such pair or holds credentials, the URL does, or what reaches it is not
            installed.
        UnknownNameError: the URL is of another kind than there are.
    """
    url = _URL.fullmatch(text)
    if url is None:
        if storage_options:
            raise ArgumentError(
                f"--storage-option is for stores at a URL such as s3://bucket/prefix, not for '{text}'; "
                f"leave it out."
            )
        return Path(text)
    scheme = SCHEMES.get(url["scheme"].lower())
    if "@" in url["host"] or "?" in url["rest"]:
        raise ArgumentError(
            f"the URL {url['scheme']}://… holds a user or a query, which may be secret; write "
            f"{url['scheme']}://bucket/prefix alone. "
            f"Credentials come from the environment: {scheme.credentials}."
        )
    given = dict(_parsed(option, scheme) for option in storage_options)
    _import(scheme.module, scheme)
    for name, own in scheme.options.items():
        if isinstance(own, dict):
            if not isinstance(given.get(name, {}), dict):
                raise ArgumentError(
                    f"--storage-option {name}={given[name]} is no JSON object, as {name}={json.dumps(own)} "
                    f"is; write one."
                )
            given[name] = {**own, **given.get(name, {})}
    return _import("upath", scheme).UPath(text.rstrip("/"), **{**scheme.options, **given})  # type: ignore[no-any-return]


def parse_paths(texts: Sequence[str], storage_options: Sequence[str] = ()) -> list[StorePath]:
    """Return the places of several texts; the options are for those at a URL, of which there has to be one.

    Raises:
        ArgumentError, UnknownNameError: as `parse_path`.
    """
    if storage_options and not texts:
        raise ArgumentError(
            "--storage-option is for stores and videos at a URL such as s3://bucket/prefix, but none is "
            "named; leave it out."
        )
    some_url = any("://" in text for text in texts)
    return [parse_path(text, storage_options if "://" in text or not some_url else ()) for text in texts]


def _import(module: str, scheme: Scheme) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ArgumentError(
            f"stores at a URL need '{module}', not installed here; run: pip install 'vqafeat[{scheme.extra}]'"
        ) from error


def _parsed(option: str, scheme: Scheme) -> tuple[str, Any]:
    name, sign, text = option.partition("=")
    if not sign or not name:
        raise ArgumentError(
            "--storage-option takes NAME=VALUE, as endpoint_url=http://127.0.0.1:9000; one has no such form."
        )
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if any(_CREDENTIAL.search(word) for word in _names(name, value)) or re.search(r"://[^/]*@", text):
        raise ArgumentError(
            f"--storage-option {name} looks like a credential, which would be seen by others in the list of "
            f"processes; "
            f"set it in the environment: {scheme.credentials}."
        )
    return name, value


def _names(name: str, value: Any) -> Iterator[str]:
    yield name
    if isinstance(value, dict):
        for inner, own in value.items():
            yield from _names(inner, own)


@contextmanager
def translate_network_errors(place: StorePath) -> Iterator[None]:
    """Tell what a network answers as an error of the store there.

    Raises:
        StoreError: it cannot be reached, or does not let us in.
    """
    if isinstance(place, Path):
        yield
        return
    try:
        yield
    except FileNotFoundError:
        raise
    except network_errors() as error:
        raise StoreError(
            f"'{place}' cannot be reached ({type(error).__name__}: {error}); look at the URL, at "
            f"--storage-option endpoint_url=URL, and at "
            f"the credentials in the environment ({SCHEMES.get(place.protocol).credentials})."
        ) from error


def network_errors() -> tuple[type[Exception], ...]:
    """Return the kinds of error that a disk or a network has; those that are no OSError exist where a URL is
    in use.
    """
    named = [(sys.modules.get(module), names) for module, names in _NETWORK_ERRORS.items()]
    return (
        OSError,
        *(getattr(module, name) for module, names in named if module is not None for name in names),
    )


def map_concurrently(place: StorePath, look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Return what `look` finds of each item, in order; over a network, many at once."""
    if isinstance(place, Path):
        return list(map(look, items))
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "requests") as pool:
        return list(pool.map(look, items))


def read_bytes(place: StorePath) -> bytes:
    """Return all that is in a file; over a network with one request, where opening it would ask for its size
    first.
    """
    if isinstance(place, Path):
        return place.read_bytes()
    return place.fs.cat_file(place.path, max_concurrency=1)  # type: ignore[no-any-return]


def remove_tree(place: StorePath) -> None:
    """Delete a folder with all that is in it, or all objects below a prefix."""
    if isinstance(place, Path):
        shutil.rmtree(place)
    else:
        place.fs.rm(place.path, recursive=True)


def cache_folder(kind: str) -> Path:
    """Return `$XDG_CACHE_HOME/vqafeat/<kind>`, below `~/.cache` where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vqafeat" / kind


@contextmanager
def translate_cache_errors(folder: Path) -> Iterator[None]:
    """Tell what the disk of a cache folder refuses.

    Raises:
        StoreError: it is full, read-only, or not ours.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the cache folder '{folder}' cannot be written to ({error.strerror or error}); make room or "
            f"make it writable, or name another "
            "disk's folder in XDG_CACHE_HOME, then run the same command again."
        ) from error


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
        """Copy it to a file of this machine's cache, which gets its time of writing; raises what the network
        raises.

        Raises:
            ChangedError: its size is not the listed one.
            StoreError: the file cannot be written.
        """
        with translate_cache_errors(file.parent):
            file.touch()  # so that what is wrong with the disk is not taken for an answer of the network
        try:
            # in one piece: pieces at once are held in memory, and one that is cut is not asked for again
            self.place.fs.get_file(self.place.path, str(file), max_concurrency=1)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with translate_cache_errors(file.parent):
                    raise
            raise
        if file.stat().st_size != self.size_bytes:
            raise ChangedError(f"{file.stat().st_size} bytes came, {self.size_bytes} were listed")
        os.utime(file, ns=(self.modified_ns, self.modified_ns))


VideoFile = Path | RemoteFile


def listed_files(root: "UPath") -> Mapping[str, RemoteFile]:
    """Return the files below a prefix by their paths relative to it, none of which leads out of a folder that
    they are copied to.

    Keys that are no relative path (`..`, `//`) are left out.

    Raises:
        DatasetError: there is no such bucket.
        StoreError: the object store cannot be reached, or does not let us in.
    """
    try:
        with translate_network_errors(root):
            found = root.fs.find(root.path, detail=True)
    except FileNotFoundError as error:
        raise DatasetError(
            f"the folder of videos '{root}' does not exist ({error}); name it with --root URL."
        ) from error
    above = f"{root.path.rstrip('/')}/"
    files = {path.removeprefix(above): said for path, said in found.items() if path.startswith(above)}
    return {
        relative: RemoteFile(
            root / relative, int(said["size"]), int(said["LastModified"].timestamp()) * 10**9
        )
        for relative, said in files.items()
        if not {"", ".", ".."}.intersection(relative.split("/"))
    }
