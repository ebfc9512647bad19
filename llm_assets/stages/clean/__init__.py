"""Cleaning: repair and normalise a document's text, measure it once, and judge the measurements against thresholds."""

VERSION = "5"
"""Raised whenever the same input and parameters could give another output."""
