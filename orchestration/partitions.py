"""Daily partitions: one per UTC day on which something may have been observed."""

import datetime as dt

import dagster as dg

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""Run tags by which one run covers a whole range of days."""


def daily_partitions(start: dt.date) -> dg.DailyPartitionsDefinition:
    """Every complete UTC day from `start` on."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat())


def range_tags(first: dt.date, last: dt.date) -> dict[str, str]:
    """Tags of a run that covers the days from `first` to `last`."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


def days_of_run(context: dg.AssetExecutionContext) -> list[dt.date]:
    """The days a run of a partitioned asset is for, in order."""
    return [dt.date.fromisoformat(key) for key in context.partition_keys]


def range_of_run(run: dg.DagsterRun) -> tuple[dt.date, dt.date] | None:
    """First and last day of a run that covers a range or a single day; None of any other."""
    first = run.tags.get(RANGE_START) or run.tags.get("dagster/partition")
    last = run.tags.get(RANGE_END) or first
    if not first or not last:
        return None
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last)
