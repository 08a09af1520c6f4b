"""Drift reports: a reference window against a current one."""
