"""Blocklists: words and domains that a user supplies, found in documents exactly, whatever the length of the lists.

Guarantees that a hit is an entry's own characters (no hash is trusted) and that cost does not grow with the
number of entries. What the lists say, and what follows from a hit, is the user's business.
"""
