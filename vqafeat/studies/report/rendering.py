"""The page as one file: template, style, script and data joined, with a policy that lets nothing else in."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.io import without_nan, write_bytes
from vqafeat.studies.report.page import Report

# What could end the script element, begin a comment in it, or break a line where JSON does not.
_ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def rendered(report: Report) -> str:
    """Return the page; the same report gives the same text."""
    style, script = _shipped("page.css"), _shipped("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; media-src file: data: blob: 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(report.title),
        "policy": html.escape(policy, quote=False),
        "style": style,
        "script": script,
        "data": json_in_html(report.as_dict()),
    }
    # one pass, so that what is put in is not looked at again
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match.group(1)], _shipped("page.html"))


def write_report(report: Report, out: Path) -> Path:
    """Write the page at once, making its folder."""
    write_bytes(out, rendered(report).encode())
    return out


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a place that is taken, before any work.

    Raises:
        ArgumentError: `out` is a folder, or a file that is not to be replaced.
    """
    if out.is_dir():
        raise ArgumentError(f"out is '{out}', which is a folder; name a file in it, for example {out / 'report.html'}.")
    if out.exists() and not overwrite:
        raise ArgumentError(f"out is '{out}', which exists; pass --overwrite to replace it, or name another file.")


def json_in_html(values: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element, whatever names it holds; NaN becomes null."""
    text = json.dumps(without_nan(values), separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPED)


def _shipped(name: str) -> str:
    return files("vqafeat.studies.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
