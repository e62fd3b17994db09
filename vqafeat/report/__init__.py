"""One self-contained page for finished runs: what they scored, where they were wrong, and everything that
decided them.
"""

from vqafeat.report.build import build_report
from vqafeat.report.content import Report
from vqafeat.report.page import rendered, write_report

__all__ = ["Report", "build_report", "rendered", "write_report"]
