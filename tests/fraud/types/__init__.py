"""Tests of the declared fraud types."""
