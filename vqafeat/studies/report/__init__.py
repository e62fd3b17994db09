"""One self-contained page for finished runs: what they scored, where they were wrong, and everything that decided them."""

from vqafeat.studies.report.building import build_report
from vqafeat.studies.report.page import Report
from vqafeat.studies.report.rendering import rendered, write_report

__all__ = ["Report", "build_report", "rendered", "write_report"]
