"""MPEG transport streams that were joined, cut or damaged."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.containers import clip, decoded
from vqafeat.errors import VideoError
from vqafeat.video import mpeg_ts


def test_damage__takes_joined_transport_streams(tmp_path: Path) -> None:
    whole = clip(tmp_path, "ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(whole.read_bytes() * 2)
    assert decoded(joined) == 60


def test_damage__refuses_transport_streams_with_holes(tmp_path: Path) -> None:
    data = clip(tmp_path, "ts").read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    inside = [
        number
        for number, packet in enumerate(packets[:-1])
        if packet[1:3] == packets[number + 1][1:3] == b"\x01\x00" and packet[3] & 0x10
    ]
    path = tmp_path / "hole.ts"
    path.write_bytes(b"".join(packets[: inside[0]] + packets[inside[0] + 1 :]))
    assert mpeg_ts.damage(path, 0x100) == "packets are missing in the middle of a picture"
    with pytest.raises(VideoError, match="packets are missing in the middle of a picture"):
        decoded(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda packet: b"\0" + packet[1:], "a packet of MPEG-TS has no sync byte"),
        (lambda packet: packet[:1] + bytes([packet[1] | 0x80]) + packet[2:], "is marked as damaged"),
    ],
)
def test_damage__of_one_packet(tmp_path: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    data = clip(tmp_path, "ts").read_bytes()
    at = next(i for i in range(188 * 6, len(data), 188) if data[i + 1] & 0x1F == 1 and data[i + 2] == 0)
    path = tmp_path / "damaged.ts"
    path.write_bytes(data[:at] + change(data[at : at + 188]) + data[at + 188 :])
    assert reason in str(mpeg_ts.damage(path, 0x100))


def test_damage__of_a_last_packet_that_is_cut(tmp_path: Path) -> None:
    data = clip(tmp_path, "mpeg2.ts").read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(data[:-188])
    assert re.fullmatch(r"the last packet of stream 0x100 lacks \d+ bytes", str(mpeg_ts.damage(path, 0x100)))
