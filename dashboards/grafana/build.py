"""Build the dashboards: `python -m dashboards.grafana.build`; `--check` only compares.

The JSON is committed, so that a Grafana needs this folder and nothing else.
"""

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphGradientMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableHide,
    VariableRefresh,
)

from dashboards.grafana.panels import BOARDS, Board, Panel

FOLDER = Path(__file__).with_name("boards")
SOURCE = DataSourceRef(type_val="prometheus", uid="fraud-prometheus")
HEIGHT, WIDTH, NUMBER_WIDTH = 8, 8, 4


def built(board: Board) -> str:
    """A board as the JSON that Grafana reads."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["fraud"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .readonly()
    )
    if any("$type" in query for panel in board.panels for query, _ in panel.queries):
        builder = builder.with_variable(_types())
    for title, panels in board.rows.items():
        builder = builder.with_row(dashboard.Row(title))
        for panel in panels:
            builder = builder.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def _types() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("type")
        .label("Fraud type")
        .datasource(SOURCE)
        .query("label_values(fraud_replays_total, fraud_type)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .hide(VariableHide.DONT_HIDE)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _number() if panel.kind == "number" else _lines(panel)
    made = made.title(panel.title).datasource(SOURCE).unit(panel.unit).height(HEIGHT)
    if panel.about:
        made = made.description(panel.about)
    for place, (query, legend) in enumerate(panel.queries):
        made = made.with_target(
            prometheus.Dataquery()
            .datasource(SOURCE)
            .expr(query)
            .legend_format(legend)
            .ref_id(chr(ord("A") + place))
        )
    return made


def _number() -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().span(NUMBER_WIDTH).reduce_options(last)


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )
    made = timeseries.Panel().span(WIDTH).legend(legend).min(0).line_width(1)
    if panel.kind == "stack":
        stacked = common.StackingConfig().mode(StackingMode.NORMAL)
        made = made.stacking(stacked).fill_opacity(30).gradient_mode(GraphGradientMode.NONE)
    return made


def main() -> int:
    """Write the boards, or say which of them are not current."""
    is_check, stale = "--check" in sys.argv[1:], []
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        file, text = FOLDER / f"{board.uid}.json", built(board)
        if not (file.is_file() and file.read_text("utf-8") == text):
            stale.append(file.name)
            if not is_check:
                file.write_text(text, "utf-8")
    if is_check and stale:
        message = f"Not current: {', '.join(stale)}. Run: python -m dashboards.grafana.build\n"
        sys.stderr.write(message)
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
