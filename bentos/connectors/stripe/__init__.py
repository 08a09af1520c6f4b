"""Stripe: card payments are decided between authorisation and capture."""
