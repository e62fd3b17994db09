"""One self-contained page for finished runs: their scores, their errors, and everything that decided them."""

from vqafeat.report.build import build_report
from vqafeat.report.content import Report
from vqafeat.report.page import rendered, write_report

__all__ = ["Report", "build_report", "rendered", "write_report"]
