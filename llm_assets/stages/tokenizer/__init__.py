"""The tokenizer of a project: trained on sources or read from a file, then frozen."""

VERSION = "1"
"""Raised whenever the same input and parameters could give another output."""
