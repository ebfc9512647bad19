"""Performance, side by side with peers: `make bench`, or `make bench TARGET=name`.

Guarantees that every figure is a ratio measured in one run, in turns, on one core each, and never a timed test.
What a target compares lives in `targets/`, what a peer runs in `peers/`, what this project runs in `ours/`.
"""
