"""Errors that a user can cause and correct.

Each message names the argument, its value, what is allowed, and the next step. Any other exception is a bug
and keeps its traceback.
"""

from collections.abc import Collection
from difflib import get_close_matches


class VqafeatError(Exception):
    """An expected error, shown to the user as one sentence without a traceback."""


class UnknownNameError(VqafeatError):
    """A name that is not registered."""


class ArgumentError(VqafeatError):
    """An option or argument with a value that is not allowed."""


class DatasetError(VqafeatError):
    """A manifest, a label file or a folder of videos that is missing or wrong."""


class VideoError(VqafeatError):
    """A video that cannot be decoded completely; `kind` is the failure log's short name of the reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StoreError(VqafeatError):
    """A feature store that is missing or damaged, or lacks what is requested."""


class IdentityError(StoreError):
    """An attempt to mix features of different identities."""


class WeightsError(VqafeatError):
    """A weights file that is missing, unsafe to load, or does not fit the network."""


class ExtractionError(VqafeatError):
    """An extraction that cannot continue."""


class ClusterError(VqafeatError):
    """A cluster that cannot be used, or whose workers died."""


class TrainingError(VqafeatError):
    """A fit that cannot start or that diverged."""


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known names, else all of them."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(known)}."
