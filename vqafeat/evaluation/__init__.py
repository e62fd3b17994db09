"""Trained heads: loading, measuring, comparing, scoring new videos."""
