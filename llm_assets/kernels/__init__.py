"""Compiled functions that several stages need, and the decorator that compiles them. Knows bytes and arrays only."""
