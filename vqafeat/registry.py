"""Name → builder: how backbones, heads, losses, recipes and label readers are found."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Generic, TypeVar

from vqafeat.errors import UnknownNameError

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """A table of named entries of one kind, for example of heads.

    Raises:
        ValueError: a name is registered twice (a bug, not a user's error).
        UnknownNameError: a name that is asked for is not registered; the nearest ones are named.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, entry: Entry) -> Entry:
        """Register `entry` under `name`."""
        if name in self._entries:
            raise ValueError(f"{self.kind} '{name}' is already registered")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers what it decorates under `name`."""
        return lambda entry: self.add(name, entry)

    def get(self, name: str) -> Entry:
        """Return the entry registered under `name`."""
        if name not in self._entries:
            near = get_close_matches(name, self._entries, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(self.names())}."
            raise UnknownNameError(f"unknown {self.kind} '{name}': {hint}")
        return self._entries[name]

    def names(self) -> list[str]:
        """Return the registered names in the order of registration."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


def keyword_options(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the names of what a registered function takes by keyword alone: its options."""
    parameters = signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY)
