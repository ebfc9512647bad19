"""Readers of text: JSON, delimited and plain files, given as blocks of UTF-8."""
