"""Tests of the feature store, the contract and its oracle."""
