"""Streams in and out: transactions from Kafka, and what was decided to whoever listens."""
