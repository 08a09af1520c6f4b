"""A seeded simulator of card transactions, their frauds and their late labels."""
