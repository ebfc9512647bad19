"""The runs of a peer in a benchmark: `<peer>_<target>.py`, in the environment that `<peer>.txt` pins.

These modules import the peer, the standard library, `benchmarks.inside` and `benchmarks.peers.sentences`; nothing else
of this project.
"""
