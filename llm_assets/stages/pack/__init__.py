"""Packing: documents of tokens into rows of one length. Arrays in, arrays out; files are not its business.

`plan` decides which tokens go into which row, `statistics` recounts a plan, `rows` copies the tokens.
"""

VERSION = "2"
"""Raised whenever the same input and parameters could give another output."""
