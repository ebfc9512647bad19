"""What this project runs in a benchmark, each in a process of its own."""
