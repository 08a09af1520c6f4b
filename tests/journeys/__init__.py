"""Whole walks through the system with the real servers."""
