"""Registries of named entries (backbones, heads, losses …), and plug-ins that add to them.

A plug-in registers its entries when it is imported. It is a Python file (`load_plugin`), a module that an
installed package names in the entry-point group `vqafeat.plugins`, or a script or notebook.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar, cast

from vqafeat.errors import ArgumentError, UnknownNameError, suggestion

Entry = TypeVar("Entry")
_PLUGIN_PREFIX = "vqafeat_plugin_"
_REGISTRIES: dict[str, "Registry[Any]"] = {}


class Registry(Generic[Entry]):
    """Named entries of one kind, for example "head", which messages name.

    Built-in ones are name → (import path `module:attribute`, summary in one line). They are imported on their
    first use, so that listing the names does not import PyTorch.
    """

    def __init__(self, kind: str, builtin: Mapping[str, tuple[str, str]] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, Entry | _ImportPath] = {
            name: _ImportPath(path) for name, (path, _) in (builtin or {}).items()
        }
        self._summaries = {name: summary for name, (_, summary) in (builtin or {}).items()}
        self._added: dict[str, str] = {}  # name → module that added it
        _REGISTRIES[kind] = self

    def add(self, name: str, entry: Entry) -> Entry:
        """Register `entry` under `name`; a definition that is executed again replaces itself."""
        module = _adding_module()
        again = module == self._added.get(name) == "__main__"  # a notebook cell that is run again
        if name in self._entries and not again and not _is_same_definition(self._entries[name], entry):
            raise ArgumentError(f"{self.kind} '{name}' is already registered; choose another name.")
        self._entries[name] = entry
        self._added[name] = module
        return entry

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers what it decorates under `name`."""
        return lambda entry: self.add(name, entry)

    def plugin_source(self, name: str) -> str:
        """Return the SHA-256 of an entry's source; empty if it is built in, or its source is not known."""
        entry = self.get(name)
        is_builtin = self._added.get(name, "vqafeat").partition(".")[0] == "vqafeat"
        source = "" if is_builtin else _source(getattr(entry, "function", entry))
        return source and sha256(source.encode()).hexdigest()

    def get(self, name: str) -> Entry:
        """Return the entry registered under `name`, or raise an UnknownNameError with the nearest names."""
        if name not in self._entries:
            load_installed_plugins()
        entry_or_path = named(self.kind, name, self._entries)
        if isinstance(entry_or_path, _ImportPath):
            # pkgutil.resolve_name refuses the hyphen of `recipes:li-released`
            module, _, attribute = entry_or_path.partition(":")
            entry_or_path = self._entries[name] = cast(Entry, getattr(import_module(module), attribute))
        return entry_or_path

    def summaries(self) -> dict[str, str]:
        """Return name → summary; that of an added entry is the first line of its docstring."""
        docs = {name: self._summaries.get(name) or self.get(name).__doc__ or "" for name in self}
        return {name: doc.strip().partition("\n")[0] for name, doc in docs.items()}

    def __iter__(self) -> Iterator[str]:
        load_installed_plugins()
        return iter(list(self._entries))


class _ImportPath(str):
    """The import path of an entry that is not imported yet, `module:attribute`."""


def _source(entry: Any) -> str:
    """Return the source of a function or class; empty if it was not read from a file or a notebook's cell."""
    with suppress(OSError, TypeError):
        return inspect.getsource(entry)
    # of a class of a notebook's cell, the methods have a source
    methods = filter(inspect.isfunction, vars(entry).values()) if inspect.isclass(entry) else ()
    return "".join(map(_source, methods))


def _adding_module() -> str:
    """Return the name of the module whose code called `Registry.add`, directly or through a decorator."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


def _is_same_definition(old: object, new: object) -> bool:
    """Whether `new` is `old` defined again, as by a notebook cell that is run twice."""
    keys = ("__module__", "__qualname__")
    return hasattr(new, "__qualname__") and all(getattr(old, key, None) == getattr(new, key) for key in keys)


def named(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Return `table[name]`, or raise an UnknownNameError that suggests the nearest names."""
    if name in table:
        return table[name]
    raise UnknownNameError(f"unknown {kind} '{name}': {suggestion(name, table)}")


def load_plugin(path: str | Path) -> None:
    """Import a Python file that registers backbones, heads or losses; an ArgumentError says why it fails."""
    path = Path(path)
    name = _PLUGIN_PREFIX + path.stem
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        problem = "is no Python file" if path.exists() else "does not exist"
        raise ArgumentError(f"the plug-in '{path}' {problem}; give a Python file (.py) that exists.")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ArgumentError(f"the plug-in '{path}' fails: {type(error).__name__}: {error}.") from error


@cache
def load_installed_plugins() -> None:
    """Import the plug-ins of installed packages (entry points `vqafeat.plugins`), once in a process."""
    from importlib.metadata import entry_points

    for point in entry_points(group="vqafeat.plugins"):
        try:
            point.load()
        except Exception as error:
            problem = f"the installed plug-in '{point.name}' ({point.value}) fails: {type(error).__name__}"
            raise ArgumentError(f"{problem}: {error}. Update or uninstall its package.") from error


def pickled_plugins() -> bytes:
    """Return the entries that plug-ins registered here, for `install_plugins` in another process."""
    import cloudpickle

    plugins: dict[str, dict[str, object]] = {}
    for kind, registry in _REGISTRIES.items():
        for name, module in registry._added.items():
            if module.split(".")[0] == "vqafeat":
                continue
            if module.startswith(_PLUGIN_PREFIX):  # no other process can import it
                cloudpickle.register_pickle_by_value(sys.modules[module])
            plugins.setdefault(kind, {})[name] = registry._entries[name]
    return cast(bytes, cloudpickle.dumps(plugins))


def install_plugins(pickled: bytes) -> None:
    """Register the entries that `pickled_plugins` returned in another process."""
    import cloudpickle

    for kind, entries in cloudpickle.loads(pickled).items():
        for name, entry in entries.items():
            _REGISTRIES[kind]._entries[name] = entry


def keyword_options(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of a function's keyword-only parameters: its options."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(own.name for own in parameters if own.kind is inspect.Parameter.KEYWORD_ONLY)
