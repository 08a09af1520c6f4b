"""The one scoring path, independent of any transport."""
