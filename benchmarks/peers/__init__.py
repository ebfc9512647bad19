"""What a peer runs in a benchmark: `<peer>_<target>.py`, in the environment that `<peer>.txt` pins.

These modules import the peer, the standard library and `benchmarks.inside`; nothing else of this project.
"""
