"""A self-contained HTML page of finished runs: their metrics, scores, errors and configuration."""

from vqafeat.report.build import build_report
from vqafeat.report.content import Report
from vqafeat.report.page import rendered, write_report

__all__ = ["Report", "build_report", "rendered", "write_report"]
