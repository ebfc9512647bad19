"""Dropping copies: which documents equal an earlier one."""
