"""The command line: for people and scripts without the UI."""
