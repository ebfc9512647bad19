"""Packing: puts the tokens of documents into rows of one length. The pure core takes and returns arrays.

`plan` decides which tokens go into which row, `statistics` recounts a plan, `rows` copies the tokens.
"""

VERSION = "2"
"""Raised whenever the same input and parameters could give another output."""
