"""Local folders and prefixes of an object store, used through the same path methods, and files at a URL."""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from vqafeat.errors import ArgumentError, DatasetError, StoreError, UnknownNameError
from vqafeat.system import provide_cache_folders

if TYPE_CHECKING:
    from upath import UPath

    StorePath = Path | UPath
else:
    StorePath = Path  # universal-pathlib is imported only for URLs


Item = TypeVar("Item")
Result = TypeVar("Result")

_CONCURRENT_REQUESTS = 16
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_CREDENTIAL = re.compile(r"key|secret|token|passw|credential|signature|auth", re.IGNORECASE)

# errors of a network that are not an OSError: refusals, malformed replies, bodies that are cut off
_NETWORK_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("botocore.parsers", "ResponseParserError"),
    ("aiohttp", "ClientError"),
    ("http.client", "HTTPException"),
)
_CREDENTIAL_SOURCES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role"
_WEB_TIMEOUT_SECONDS = 60
_RETRIES = {"mode": "standard", "max_attempts": 8}
_S3_OPTIONS: dict[str, Any] = {
    # botocore repeats requests that are answered with 500, 502, 503, 504 or a throttling code, after waits
    # that double up to 20 s; s3fs repeats five times what is cut off or not answered in time
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": _RETRIES},
    "use_listings_cache": False,  # another process may be writing
}


def parse_path(path: StorePath | str, storage_options: Sequence[str] = ()) -> StorePath:
    """Return the path that a text names; it may be a URL such as `s3://bucket/prefix`.

    The options of its file system are `name=value`, where a value may be JSON; credentials are refused.
    """
    if not isinstance(path, str):
        return path
    url = _URL.fullmatch(path)
    if url is None:
        if storage_options:
            raise ArgumentError(f"--storage-option is for stores at a URL, not for '{path}'; leave it out.")
        return Path(path)
    if url["scheme"].lower() != "s3":
        raise UnknownNameError(f"unknown kind of store URL '{url['scheme'].lower()}': known are: s3.")
    if not url["host"]:
        raise ArgumentError(f"'{path}' names no bucket; write s3://bucket/prefix.")
    if "@" in url["host"] or "?" in url["rest"]:
        raise ArgumentError(
            "the URL s3://… holds a user or a query, which may be secret; write only s3://bucket/prefix. "
            f"Credentials come from the environment: {_CREDENTIAL_SOURCES}."
        )
    options = {**_S3_OPTIONS, **dict(map(_parse_option, storage_options))}
    defaults, config = _S3_OPTIONS["config_kwargs"], options["config_kwargs"]
    if not isinstance(config, dict):
        example = f"write one, such as {json.dumps(defaults)}"
        raise ArgumentError(f"--storage-option config_kwargs={config} is not a JSON object; {example}.")
    try:
        import_module("s3fs")  # universal-pathlib imports it only at the first request
        from upath import UPath
    except ImportError as error:
        install = "run: pip install 'vqafeat[s3]'"
        raise ArgumentError(f"stores at a URL need '{error.name}', not installed here; {install}") from error
    return UPath(path.rstrip("/"), **{**options, "config_kwargs": {**defaults, **config}})  # type: ignore[no-any-return]


def _parse_option(option: str) -> tuple[str, Any]:
    name, equals, text = option.partition("=")
    if not equals or not name:
        # the option is not repeated, since it may hold a credential
        raise ArgumentError("--storage-option takes NAME=VALUE, such as endpoint_url=http://127.0.0.1:9000.")
    keys = [name]

    def collect(table: dict[str, Any]) -> dict[str, Any]:
        keys.extend(table)
        return table

    try:
        value = json.loads(text, object_hook=collect)
    except ValueError:
        value = text
    if any(map(_CREDENTIAL.search, keys)) or re.search(r"://[^/]*@", text):
        raise ArgumentError(
            f"--storage-option {name} looks like a credential, which others would see in the list of "
            f"processes; set it in the environment: {_CREDENTIAL_SOURCES}."
        )
    return name, value


@contextmanager
def translate_network_errors(path: StorePath) -> Iterator[None]:
    """Raise a `StoreError` in one sentence if a URL cannot be reached or refuses access."""
    if isinstance(path, Path):
        yield
        return
    try:
        yield
    except FileNotFoundError:
        raise
    except network_errors() as error:
        raise StoreError(
            f"'{path}' cannot be reached ({type(error).__name__}: {error}); check the URL, --storage-option "
            f"endpoint_url=URL, and the credentials in the environment ({_CREDENTIAL_SOURCES})."
        ) from error


def network_errors() -> tuple[type[Exception], ...]:
    """Return the error types of disks and of the imported network packages."""
    imported = [(module, error) for module, error in _NETWORK_ERRORS if module in sys.modules]
    return OSError, *(getattr(sys.modules[module], error) for module, error in imported)


def map_concurrently(
    path: StorePath, function: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Return `function(item)` for each item, in order; concurrently if the path is a URL."""
    if isinstance(path, Path):
        return list(map(function, items))
    with ThreadPoolExecutor(_CONCURRENT_REQUESTS, "requests") as pool:
        return list(pool.map(function, items))


def read_bytes(path: StorePath) -> bytes:
    """Return the content of a file; over a network with one request, where opening it would take two."""
    if isinstance(path, Path):
        return path.read_bytes()
    return path.fs.cat_file(path.path, max_concurrency=1)  # type: ignore[no-any-return]


def remove_tree(path: StorePath) -> None:
    """Delete a folder and its content, or all objects below a prefix."""
    if isinstance(path, Path):
        shutil.rmtree(path)
    else:
        path.fs.rm(path.path, recursive=True)


def cache_folder(kind: str) -> Path:
    """Return the folder for a kind of cached files, on Linux `$XDG_CACHE_HOME/vqafeat/<kind>`."""
    from platformdirs import user_cache_path

    provide_cache_folders()
    return user_cache_path("vqafeat", appauthor=False) / kind


def is_offline() -> bool:
    """Whether VQAFEAT_OFFLINE, or the option --offline, forbids to fetch models and weights."""
    return os.environ.get("VQAFEAT_OFFLINE", "") not in ("", "0")


@contextmanager
def translate_cache_errors(folder: Path) -> Iterator[None]:
    """Raise a `StoreError` in one sentence if the disk of a cache folder is full or read-only."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the cache folder '{folder}' cannot be written to ({error.strerror or error}); make room or "
            "make it writable, or name another folder in XDG_CACHE_HOME, then run the same command again."
        ) from error


class ChangedError(OSError):
    """A file differs from its listing: its transfer was cut off, or it was replaced meanwhile."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL, with its listed size and modification time (nanoseconds since 1970)."""

    url: "UPath"
    size_bytes: int
    modified_ns: int

    def __str__(self) -> str:
        return str(self.url)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(str(self)).name

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return PurePosixPath(str(self)).suffix

    def open(self, mode: str) -> Any:
        """Open it for reading over the network."""
        return self.url.open(mode)

    def is_copied_to(self, file: Path) -> bool:
        """Whether a file is the copy that `fetch` makes of the file as it is listed now."""
        listed = (self.size_bytes, self.modified_ns)
        return file.is_file() and (file.stat().st_size, file.stat().st_mtime_ns) == listed

    def fetch(self, file: Path) -> None:
        """Copy it, with its modification time, to a file of the cache; network errors are not translated."""
        with translate_cache_errors(file.parent):
            file.touch()  # so that an error of the disk is not taken for one of the network
        try:
            self._copy(file)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with translate_cache_errors(file.parent):
                raise
        if file.stat().st_size != self.size_bytes:
            raise ChangedError(f"{file.stat().st_size} bytes arrived, {self.size_bytes} were listed")
        os.utime(file, ns=(self.modified_ns, self.modified_ns))

    def _copy(self, file: Path) -> None:
        # in one piece: concurrent pieces are held in memory, and one that is cut off is not repeated
        self.url.fs.get_file(self.url.path, str(file), max_concurrency=1)

    @classmethod
    def of_object(cls, url: "UPath", info: Mapping[str, Any]) -> "RemoteFile":
        """Return the file of what an object store states of an object."""
        return cls(url, int(info["size"]), int(info["LastModified"].timestamp()) * 10**9)


@dataclass(frozen=True)
class WebFile(RemoteFile):
    """A file at an http:// or https:// address; the query, which may be secret, is not shown."""

    url: str  # type: ignore[assignment]

    @classmethod
    def at(cls, url: str) -> "WebFile":
        """Request the size and the modification time of the file at an address."""
        from email.utils import mktime_tz, parsedate_tz
        from urllib.request import urlopen  # takes 20 ms

        shown = url.partition("?")[0]
        if "@" in url.split("/")[2]:
            raise ArgumentError("the address of a video holds a user name, which may be secret; drop it.")
        try:
            with urlopen(url, timeout=_WEB_TIMEOUT_SECONDS) as reply:
                size, modified = reply.headers["Content-Length"], reply.headers["Last-Modified"]
        except network_errors() as error:
            raise DatasetError(f"the video '{shown}' cannot be fetched ({error}); check the URL.") from error
        except ValueError as error:  # such as a letter that is not in ASCII
            raise DatasetError(f"'{shown}' is not a URL ({error}); percent-encode it.") from error
        if not (size or "").isdecimal():
            raise DatasetError(f"the server does not state the size of '{shown}'; copy it to a local file.")
        # without a valid time, the next extraction compares digests
        time_stated = parsedate_tz(modified or "")
        seconds = mktime_tz(time_stated) if time_stated else time.time()
        return cls(url, int(size), int(seconds) * 10**9)

    def __str__(self) -> str:
        return self.url.partition("?")[0]

    def open(self, mode: str) -> Any:
        """Open it for reading over the network."""
        from urllib.request import urlopen

        return urlopen(self.url, timeout=_WEB_TIMEOUT_SECONDS)

    def _copy(self, file: Path) -> None:
        with self.open("rb") as reply, file.open("wb") as copy:
            shutil.copyfileobj(reply, copy)


VideoFile = Path | RemoteFile


def listed_files(root: "UPath") -> Mapping[str, RemoteFile]:
    """Return the files below a prefix by relative path; keys with `..` or `//` are left out."""
    try:
        with translate_network_errors(root):
            entries = root.fs.find(root.path, detail=True)
    except FileNotFoundError as error:
        raise DatasetError(
            f"the folder of videos '{root}' does not exist ({error}); name it with --root URL."
        ) from error
    prefix, files = f"{root.path.rstrip('/')}/", {}
    for path, info in entries.items():
        relative = path.removeprefix(prefix)
        if path.startswith(prefix) and not {"", ".", ".."}.intersection(relative.split("/")):
            files[relative] = RemoteFile.of_object(root / relative, info)
    return files
