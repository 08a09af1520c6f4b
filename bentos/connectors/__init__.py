"""Connectors: other companies' systems, translated to transactions and labels, and back."""
