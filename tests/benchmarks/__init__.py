"""Tests of the benchmarks: a figure is worth what its protocol is."""
