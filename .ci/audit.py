"""Say what an audit of the locked dependencies found: `python .ci/audit.py AUDIT.json`, from pip-audit; `make
audit` calls it.
"""

import json
import sys
from pathlib import Path
from typing import Any


def said(dependencies: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the words for an audit's dependencies, and the exit code: 1 where a known weakness is among
    them.
    """
    audited = [item for item in dependencies if "vulns" in item]
    weak = [f"{item['name']} {item['version']}: {found['id']}" for item in audited for found in item["vulns"]]
    left = len(dependencies) - len(audited)
    if not audited:
        return (
            f"audit: NOT DONE: the network here reaches no list of weaknesses, so none of {left} "
            f"dependencies was looked up.",
            0,
        )
    lines = [
        f"audit: {len(audited)} dependencies looked up, {left} could not be, {len(weak)} known weaknesses.",
        *weak,
    ]
    return "\n".join(lines), int(bool(weak))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    words, code = said(json.loads(path.read_text())["dependencies"] if path.is_file() else [])
    print(words)
    sys.exit(code)
