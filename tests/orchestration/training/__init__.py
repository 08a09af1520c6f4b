"""Tests of training: small models, all the way to a bundle."""
