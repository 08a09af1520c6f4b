"""Tokens, encryption and masking."""
