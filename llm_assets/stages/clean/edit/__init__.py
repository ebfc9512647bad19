"""Edits of a text before it is measured: repair, normalisation, line edits."""
