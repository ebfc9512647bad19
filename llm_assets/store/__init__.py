"""Data at rest: tables, sets, files and their commits. Imports nothing itself, so that the loader starts fast."""
