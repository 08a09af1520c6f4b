"""Training as plain functions that know nothing of Dagster."""
