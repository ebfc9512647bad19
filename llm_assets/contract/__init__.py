"""Concepts shared by all stages: links, engines, parts and their ledgers. Knows no Dagster."""
