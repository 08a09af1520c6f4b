"""Pictures and tables as Dagster's UI shows them: inside Markdown."""

import base64
from collections.abc import Mapping, Sequence

import dagster as dg


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG inside Markdown, as a data URI."""
    data = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{data})")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table; numbers stand right, with at most four significant decimals."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|",
    ]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def numbers(values: Mapping[str, float]) -> dict[str, dg.FloatMetadataValue]:
    """Metrics as metadata, which Dagster plots over time."""
    return {name: dg.MetadataValue.float(round(float(value), 6)) for name, value in values.items()}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
