"""The kinds of error that a user can cause and mend.

Each message names the argument, the value received, what is allowed, and the next step. Anything else that is
raised is a bug and keeps its traceback.
"""


class VqafeatError(Exception):
    """An expected error, told to the user as one sentence without a traceback."""


class UnknownNameError(VqafeatError):
    """A name that is not registered."""


class ArgumentError(VqafeatError):
    """An option or argument with a value that is not allowed."""


class DatasetError(VqafeatError):
    """A manifest, a label file or a folder of videos that is not what it should be."""


class VideoError(VqafeatError):
    """A video that cannot be decoded as a whole; `kind` is the failure log's short word for the reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StoreError(VqafeatError):
    """A feature store that is missing, damaged, or does not hold what is asked of it."""


class IdentityError(StoreError):
    """Features of one identity were to be mixed with features of another."""


class WeightsError(VqafeatError):
    """A weights file that is missing, unsafe to load, or does not fit the network."""


class ExtractionError(VqafeatError):
    """An extraction cannot go on."""


class ClusterError(VqafeatError):
    """A cluster of machines that cannot be had, or whose workers are lost."""


class TrainingError(VqafeatError):
    """A fit that cannot start or that went astray."""
