"""Dropping copies: which documents equal an earlier one."""

VERSION = "1"
"""Raised whenever the same input and parameters could give another output."""
