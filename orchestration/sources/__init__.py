"""Where events come from, as plain functions that know nothing of Dagster."""
