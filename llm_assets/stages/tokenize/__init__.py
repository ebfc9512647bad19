"""Token ids of documents."""

VERSION = "1"
"""Raised whenever the same input and parameters could give another output."""
