"""The read stage: files of a snapshot become one row per record, and what cannot be read goes to quarantine.

Nothing is judged or changed here: text leaves as it was written (minus a byte-order mark). Imports nothing by
itself; start at `stage.py`.
"""

VERSION = "2"
"""Raised whenever the same input and parameters could give another output."""
