"""Packets of MPEG transport streams: whether a file is cut, and whether its pictures are whole."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqafeat.video.iso_media import FileBytes

_PACKET_FORMS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and before its sync byte


def packet_form(start: bytes) -> tuple[int, int] | None:
    """Return the bytes of a packet, and those before its sync byte; None if a file is no MPEG-TS."""
    return next(((size, at) for size, at in _PACKET_FORMS if start[at::size][:2] == b"GG"), None)


def cut_reason(data: FileBytes) -> str | None:
    """Return what is missing from a file of MPEG-TS that ends within a packet, or None."""
    packet, _ = packet_form(data[0:400]) or _PACKET_FORMS[0]
    rest = data.size % packet
    return f"it ends {rest} bytes into a packet of {packet}" if rest else None


def damage(path: Path, program_id: int) -> str | None:
    """Return what is damaged in a stream of MPEG-TS, or None if all of its pictures are whole.

    A continuity counter that jumps where a picture begins shows only that segments were joined.
    """
    last, missing = None, dict[int, int]()
    with path.open("rb") as file:
        size, offset = packet_form(file.read(400)) or _PACKET_FORMS[0]
        file.seek(0)
        while len(block := file.read(size * 65536)) >= size:
            whole = block[: len(block) // size * size]
            packets = np.frombuffer(whole, np.uint8).reshape(-1, size)[:, offset : offset + 188]
            if (packets[:, 0] != 0x47).any():
                return "a packet of MPEG-TS has no sync byte"
            numbers = (packets[:, 1] & 0x1F).astype(int) * 256 + packets[:, 2]
            has_payload = packets[:, 3] & 0x10 > 0
            own = packets[(numbers == program_id) & has_payload]
            if (own[:, 1] & 0x80).any():
                return "a packet of MPEG-TS is marked as damaged"
            counters = own[:, 3].astype(int) & 15
            before = np.concatenate([counters[:1] - 1 if last is None else [last], counters[:-1]])[: len(own)]
            jumps = (counters != (before + 1) % 16) & (counters != before)
            if (jumps & (own[:, 1] & 0x40 == 0)).any():
                return "packets are missing in the middle of a picture"
            last = counters[-1] if len(own) else last
            for number in np.unique(numbers[has_payload]):
                _count_missing(packets[(numbers == number) & has_payload], int(number), missing)
    cut = next((number for number, count in missing.items() if count > 0), None)
    return None if cut is None else f"the last packet of stream {cut:#x} lacks {missing[cut]} bytes"


def _count_missing(packets: npt.NDArray[np.uint8], number: int, missing: dict[int, int]) -> None:
    """Count the bytes that the last elementary packet of a stream lacks of its stated size."""
    payload = 184 - np.where(packets[:, 3] & 0x20, packets[:, 4].astype(int) + 1, 0)
    if len(starts := np.flatnonzero(packets[:, 1] & 0x40)):
        packets, payload = packets[starts[-1] :], payload[starts[-1] :]
        header = bytes(packets[0][188 - max(payload[0], 0) :])
        stated = int.from_bytes(header[4:6]) if header.startswith(b"\0\0\1") else 0
        missing[number] = stated + 6 if stated else 0  # 0: as many as follow
    missing[number] = missing.get(number, 0) - int(payload.sum())
