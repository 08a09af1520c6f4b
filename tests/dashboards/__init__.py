"""Tests of the console and the drift reports."""
