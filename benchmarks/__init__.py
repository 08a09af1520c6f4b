"""Measurements anybody can repeat with one make target."""
