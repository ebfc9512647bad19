"""Cleaning: repair and normalise a document's text, measure it once, and judge the measurements against thresholds."""
