"""Where data lives. Imports nothing by itself, so that the loader pays only for what it uses."""
