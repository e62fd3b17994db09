"""Amounts of memory as they are typed; what is free; memory that is shared."""

import os
from pathlib import Path

import pytest

from vqafeat import system
from vqafeat.errors import ArgumentError
from vqafeat.system import anonymous_file, free_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1500M", 1500 << 20),
        ("1.5G", 3 << 29),
        ("4GiB", 4 << 30),
        ("2gb", 2 << 30),
        ("1048576", 1 << 20),
        (" 3 T ", 3 << 40),
    ],
)
def test_parse_bytes__reads_amounts(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5X", "0", "0G", "1 2", "1e9"])
def test_parse_bytes__refuses_other_amounts(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"write an amount such as 1500M, 1\.5G or 16G"):
        parse_bytes(text)


def test_free_bytes__are_below_the_memory_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 50 << 20 < free_bytes() <= there
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "none")
    assert free_bytes() == there // 2


def test_anonymous_file__has_its_size() -> None:
    descriptor = anonymous_file(12345, "test")
    try:
        assert os.fstat(descriptor).st_size == 12345
    finally:
        os.close(descriptor)
