"""Shard sets: rows of token ids of one length, each row one computed byte range."""
