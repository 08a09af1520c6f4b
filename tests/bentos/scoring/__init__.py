"""Tests of bundles and of the scoring path."""
