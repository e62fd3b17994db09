"""What `make audit` says of pip-audit's answer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit.py"
SOUND = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "words", "code"),
    [
        ([SOUND, SKIPPED], "1 dependencies looked up, 1 could not be, 0 known weaknesses", 0),
        ([SOUND, WEAK], "b 2: PYSEC-1", 1),
        ([SKIPPED], "NOT DONE: the network here reaches no list of weaknesses, so none of 1", 0),
    ],
)
def test_audit__reports_what_was_looked_up(
    tmp_path: Path, dependencies: list[dict[str, Any]], words: str, code: int
) -> None:
    (tmp_path / "audit.json").write_text(json.dumps({"dependencies": dependencies}))
    ended = subprocess.run(
        [sys.executable, AUDIT, tmp_path / "audit.json"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, words in ended.stdout) == (code, True), ended.stdout


def test_audit__that_left_nothing_was_not_done(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, AUDIT, tmp_path / "none.json"], capture_output=True, text=True, check=True
    )
    assert "NOT DONE" in ended.stdout
