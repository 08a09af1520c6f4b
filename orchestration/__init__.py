"""Dagster: what is computed when, and from what."""
