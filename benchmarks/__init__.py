"""Measurements anybody can repeat with one make target.

`make bench-NAME DATA=... OUT=... N=... SEED=...` runs `python -m benchmarks.NAME` with those
variables in its environment; one that was not given is not there.
"""
