"""Names of videos and data sets as names of nodes and folders."""

import re
from hashlib import sha256
from pathlib import Path

from vqafeat.remote import Place, network_errors_told

_UNSAFE_IN_KEYS = re.compile(r'[\x00-\x1f\x7f/\\%:*?"<>|]')
_LONGEST_KEY_BYTES = 200


def store_key(name: str) -> str:
    """Return the node name under which `name` is stored: no separators, no control characters, at most 200 bytes."""
    key = _UNSAFE_IN_KEYS.sub(lambda match: f"%{ord(match.group()):02X}", name)
    key = re.sub(r"^(\.|__)", lambda match: "".join(f"%{ord(letter):02X}" for letter in match.group()), key)
    if len(key.encode()) > _LONGEST_KEY_BYTES:
        head = key.encode()[:120].decode(errors="ignore").rstrip("%")
        key = f"{head}~{sha256(name.encode()).hexdigest()[:24]}"
    return key


def store_path(folder: Place, dataset: str) -> Place:
    """Return where the store of a data set lies below the folder of stores."""
    return folder / f"{store_key(dataset)}.zarr"


def stores_in(folder: Place) -> list[Place]:
    """Return the stores in a folder of stores, sorted; the folder itself where it is a store."""
    with network_errors_told(folder):
        if (folder / "zarr.json").is_file():
            return [folder]
        if isinstance(folder, Path):
            return [*sorted(folder.glob("*.zarr"))]
        found = folder.fs.ls(folder.path, detail=False) if folder.fs.exists(folder.path) else []
        return [folder / name.rsplit("/", 1)[1] for name in sorted(found) if name.endswith(".zarr")]


def ledger_path(store: Place) -> Place:
    """Return the file beside a store that has one line a failed video."""
    return store.with_suffix(".failures.jsonl")
