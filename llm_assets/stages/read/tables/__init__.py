"""Readers of Arrow's formats: tables of typed columns, decoded batch by batch."""
