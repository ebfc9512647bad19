"""Mixing: sources interleaved into one training order, as arithmetic. Writing rows is not its business.

`recipe` is what a person writes, `shares` and `lengths` what follows from it with the rows there are, `plan` the whole.
`schedule` says whose turn it is at a position, `stream` which row of a source comes next, by a `permutation` that needs
no memory, and `order` puts both together.
"""

VERSION = "2"
"""Raised whenever the same input and parameters could give another output."""
