"""Mixing: interleaves sources into one training order, computed by arithmetic. `version/` writes the rows.

`recipe` is what a person writes, `shares` and `lengths` what follows from it with the rows there are, `plan` the whole.
`schedule` says whose turn it is at a position, `stream` which row of a source comes next, by a `permutation` that needs
no memory, and `order` puts both together.
"""

VERSION = "2"
"""Raised whenever the same input and parameters could give another output."""
