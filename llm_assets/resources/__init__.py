"""Configured services that assets use. Thin: what they configure knows no Dagster."""
