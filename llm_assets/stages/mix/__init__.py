"""Mixing: sources interleaved into one training order, as arithmetic. Writing rows is not its business.

`plan` reads a recipe and says what each source gives, `schedule` whose turn it is at a position, `order` which
row of the source that is, by a `permutation` that needs no memory.
"""
