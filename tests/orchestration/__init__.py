"""Tests of assets, training and sources."""
