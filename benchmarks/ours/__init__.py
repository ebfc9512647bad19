"""The runs of this project in a benchmark, each in a process of its own."""
