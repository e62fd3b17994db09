"""The ledger: one line a failed video, beside the store."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vqafeat.remote import Place
from vqafeat.store import FeatureStore, telling_refusals, zarr_io


@dataclass(frozen=True)
class Failure:
    """One line of the ledger."""

    video: str
    path: str
    kind: str
    message: str


def ledger_path(store: FeatureStore) -> Place:
    """Return the file beside the store that has one line a failed video."""
    return zarr_io.ledger_path(store.path)


def read_ledger(path: Place) -> list[Failure]:
    """Return the failures on record, oldest first; a line that a killed run left half written is passed over."""
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines()
    return [Failure(**entry) for line in lines if (entry := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, str] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == Failure.__dataclass_fields__.keys() else None


class Ledger:
    """The failures of videos that are not attempted now stay; those attempted now are told anew.

    Raises:
        StoreError: the file cannot be written to, here or in `add`.
    """

    def __init__(self, path: Place, attempted: Sequence[str]) -> None:
        self.path = path
        self.failures: list[Failure] = []
        attempted_names = set(attempted)
        kept = [failure for failure in read_ledger(path) if failure.video not in attempted_names]
        self._lines = list[str]()
        with telling_refusals(path):
            path.unlink(missing_ok=True)
        for failure in kept:
            self._append(failure)

    def add(self, failure: Failure) -> None:
        """Note a failure."""
        self.failures.append(failure)
        self._append(failure)

    def _append(self, failure: Failure) -> None:
        self._lines.append(json.dumps(asdict(failure)) + "\n")
        with telling_refusals(self.path):
            if isinstance(self.path, Path):
                with self.path.open("a") as file:
                    file.write(self._lines[-1])
            else:
                self.path.write_text("".join(self._lines))  # nothing can be appended to an object
