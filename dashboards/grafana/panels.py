"""What the dashboards show: a title, the queries and a unit for every panel.

Queries read what `bentos/fraud_detector/metrics.py`, `ledger_metrics.py`,
`bentos/stream/relay_metrics.py` and `stream_metrics.py` tell. `$type` is the
fraud type chosen at the top of a board. Where several services run, gauges that each of them
reads from the ledger are the same everywhere: `max` takes one.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "stack", "number"]
Queries = tuple[tuple[str, str], ...]

WINDOW = "[$__rate_interval]"
OF_TYPE = 'fraud_type=~"$type"'


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it says.
        queries: PromQL, and how its lines are called.
        unit: of Grafana's units, e.g. `reqps`.
        kind: lines, areas on top of each other, or one number.
        about: a sentence on what to read in it.
    """

    title: str
    queries: Queries
    unit: str = "short"
    kind: Kind = "lines"
    about: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        uid: its stable address in Grafana, and the name of its file.
        title: its title.
        rows: panels by the title of their row.
    """

    uid: str
    title: str
    rows: dict[str, list[Panel]]

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for panels in self.rows.values() for panel in panels]


def _one(query: str, legend: str) -> Queries:
    return ((query, legend),)


def _by(function: str, labels: str, metric: str, selector: str = "") -> Queries:
    """One line per combination of labels."""
    selected = f"{metric}{{{selector}}}" if selector else metric
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in labels.split(","))
    return _one(f"{function} by ({labels}) ({selected})", legend)


def _rate(labels: str, metric: str, selector: str = OF_TYPE) -> Queries:
    """Events per second, one line per combination of labels."""
    selected = f"{metric}{{{selector}}}" if selector else metric
    [(_, legend)] = _by("sum", labels, metric)
    return _one(f"sum by ({labels}) (rate({selected}{WINDOW}))", legend)


def _quantiles(metric: str, by: str, selector: str = "") -> Queries:
    """Median and 99th percentile of a histogram, per value of a label."""
    [(buckets, legend)] = _rate(f"le, {by}", f"{metric}_bucket", selector)
    legend = legend.removeprefix("{{le}} ")
    return tuple(
        (f"histogram_quantile({share}, {buckets})", f"{legend} p{round(share * 100)}")
        for share in (0.5, 0.99)
    )


def _live(metric: str) -> Queries:
    return _by("max", "fraud_type, model_version", metric, OF_TYPE)


def _top(label: str, metric: str) -> Queries:
    [(query, _)] = _by("max", f"fraud_type, {label}", metric, OF_TYPE)
    return _one(f"topk(10, {query})", f"{{{{{label}}}}}")


_REFUSALS = "fraud_refused_requests_total"
_DETECTED, _PREDICTED = (
    _rate("fraud_type", f"fraud_{noun}_total")[0][0] for noun in ("detected", "predictions")
)
_BATCHES = f"rate(fraud_batch_size_requests_count{WINDOW})"
_BATCHED = f"rate(fraud_batch_size_requests_sum{WINDOW})"
_READ = f"rate(fraud_stream_batch_size_messages_count{WINDOW})"
_MESSAGES = f"rate(fraud_stream_batch_size_messages_sum{WINDOW})"
_TAKEN = "fraud_measurement_timestamp_seconds"

SERVICE = Board(
    "fraud-service",
    "Fraud: Service",
    {
        "Answers": [
            Panel("Requests scored per second", _one(f"sum({_BATCHED})", "scored"), "reqps"),
            Panel("Requests refused per second", _rate("problem", _REFUSALS, ""), "reqps"),
            Panel(
                "Time to answer",
                _quantiles("prediction_duration_seconds", "fraud_type"),
                "s",
                about="From arrival to answer, as measured in the service.",
            ),
            Panel(
                "Where a batch spends it",
                _quantiles("fraud_stage_duration_seconds", "stage"),
                "s",
                about="queue: the longest wait of its requests; score: its transaction.",
            ),
            Panel("Requests per batch", _one(f"sum({_BATCHED}) / sum({_BATCHES})", "mean")),
            Panel("Requests waiting", _one("sum(fraud_queue_requests)", "waiting")),
        ],
        "Health": [
            Panel("Services", _one('sum(up{job="fraud_detector"})', "up"), kind="number"),
            Panel(
                "Circuit breaker",
                _one("max(fraud_ledger_breaker_state)", "state"),
                kind="number",
                about="0 closed, 1 half-open, 2 open.",
            ),
            Panel(
                "Decisions in the journal",
                _one("max(fraud_journal_decisions)", "waiting"),
                kind="number",
            ),
            Panel("Look at the ledger", _by("max", "instance", "fraud_ledger_look_seconds"), "s"),
            Panel(
                "What is wrong with champions",
                _by("max", "fraud_type, status", "fraud_champion_problem"),
                about="1 where a model is missing, stale or refused.",
            ),
            Panel("Workers begun", _by("sum", "instance", "fraud_worker_starts_total")),
            Panel(
                "Tokens refused, clients limited",
                _rate("problem", _REFUSALS, 'problem=~"unauthenticated|forbidden|rate-limited"'),
                "reqps",
            ),
            Panel("Operations' connections", _by("sum", "state", "fraud_ledger_connections")),
        ],
    },
)

DECISIONS = Board(
    "fraud-decisions",
    "Fraud: Decisions",
    {
        "What was decided": [
            Panel(
                "Predictions per second", _rate("fraud_type", "fraud_predictions_total"), "reqps"
            ),
            Panel(
                "Fraud detection rate",
                _one(f"{_DETECTED} / ({_PREDICTED} > 0)", "{{fraud_type}}"),
                "percentunit",
                about="Share of decisions whose recommended action is block.",
            ),
            Panel("Actions", _rate("action", "fraud_decided_amount_major_count"), "reqps", "stack"),
            Panel("Risk levels", _rate("risk_level", "fraud_predictions_total"), "reqps", "stack"),
        ],
        "Money": [
            Panel(
                "Money at risk, per second",
                _rate("action", "fraud_decided_amount_major_sum", f'{OF_TYPE}, action!="approve"'),
                "locale",
                "stack",
                "Amounts sent to review or blocked, major units.",
            ),
            Panel(
                "Money in open cases",
                _by("max", "fraud_type", "fraud_open_cases_amount_major", OF_TYPE),
                "locale",
            ),
            Panel("Open cases", _by("max", "fraud_type", "fraud_open_cases", OF_TYPE)),
        ],
        "Exceptions": [
            Panel(
                "Decisions without a model or without history",
                _rate("fraud_type, lack", "fraud_degraded_decisions_total"),
                "reqps",
            ),
            Panel("Repetitions answered", _rate("fraud_type", "fraud_replays_total"), "reqps"),
        ],
    },
)

MODELS = Board(
    "fraud-models",
    "Fraud: Models",
    {
        "Scores": [
            Panel(
                "Score", _quantiles("fraud_score_ratio", "model_version", OF_TYPE), "percentunit"
            ),
            Panel(
                "Decisions by model",
                _rate("model_version", "fraud_predictions_total"),
                "reqps",
                "stack",
            ),
            Panel(
                "Champions taken over",
                _by("sum", "fraud_type", "fraud_champion_swaps_total", OF_TYPE),
                about="Counted once per worker.",
            ),
        ],
        "Live quality, from matured labels": [
            Panel("Accuracy", _live("model_accuracy"), "percentunit"),
            Panel(
                "Precision",
                _live("fraud_live_precision_ratio"),
                "percentunit",
                about="Share of frauds among what was reviewed or blocked.",
            ),
            Panel(
                "Recall",
                _live("fraud_live_recall_ratio"),
                "percentunit",
                about="Share of the frauds that was reviewed or blocked.",
            ),
            Panel("Area under the ROC curve", _live("fraud_live_roc_auc_ratio"), "percentunit"),
            Panel("Decisions judged", _live("fraud_live_decisions")),
            Panel(
                "Delay of labels",
                _by("max", "fraud_type, quantile", "fraud_label_delay_seconds", OF_TYPE),
                "s",
            ),
        ],
        "Drift": [
            Panel(
                "Drifted features",
                _by("max", "fraud_type", "fraud_drifted_features", OF_TYPE),
                kind="number",
            ),
            Panel("Largest distances from training", _top("feature", "fraud_drift_distance")),
            Panel(
                "Features that events lack most",
                _top("feature", "fraud_feature_default_ratio"),
                "percentunit",
            ),
            Panel(
                "Age of the last measurements",
                _one(
                    f"time() - max by (fraud_type, measurement) ({_TAKEN})",
                    "{{fraud_type}} {{measurement}}",
                ),
                "s",
            ),
        ],
    },
)

STREAMS = Board(
    "fraud-streams",
    "Fraud: Streams and ledger",
    {
        "Outbox": [
            Panel(
                "Oldest message not told", _by("max", "sink", "fraud_outbox_oldest_seconds"), "s"
            ),
            Panel("Messages refused", _by("max", "sink", "fraud_outbox_dead_letters")),
            Panel("Failing since", _by("max", "sink", "fraud_outbox_failing_seconds"), "s"),
        ],
        "Relay": [
            Panel(
                "Messages told per second", _rate("sink", "fraud_relay_delivered_total", ""), "cps"
            ),
            Panel("Messages behind", _by("max", "sink", "fraud_relay_lag_messages")),
            Panel("Batches sent again", _by("sum", "sink", "fraud_relay_retries_total")),
        ],
        "Transactions from Kafka": [
            Panel("Messages waiting", _by("sum", "topic", "fraud_stream_lag_messages")),
            Panel(
                "Messages done with per second",
                _rate("outcome", "fraud_stream_messages_total", ""),
                "cps",
                about="decided; repeated, as it was known before; or dead.",
            ),
            Panel(
                "Age of a message when it is decided",
                _quantiles("fraud_stream_age_seconds", "topic"),
                "s",
                about="From the time Kafka has for it to its decision's commit.",
            ),
            Panel(
                "Messages per batch",
                (
                    (f"sum({_MESSAGES}) / sum({_READ})", "mean"),
                    ("max(fraud_stream_batch_limit_messages)", "limit"),
                ),
            ),
            Panel(
                "Partitions",
                (
                    ("sum(fraud_stream_assigned_partitions)", "assigned"),
                    ("sum(fraud_stream_paused_partitions)", "paused"),
                ),
                about="Paused: they wait for the ledger, or for the dead letter queue.",
            ),
            Panel("Rebalances", _by("sum", "event", "fraud_stream_rebalances_total")),
            Panel("Dead letters", _by("sum", "reason", "fraud_stream_dead_letters_total")),
        ],
        "Ledger": [
            Panel("Ledger reached", _one("min(fraud_ledger_up)", "up"), kind="number"),
            Panel("Size of the ledger", _one("max(fraud_ledger_size_bytes)", "size"), "bytes"),
            Panel("Journal", _by("max", "instance", "fraud_journal_bytes"), "bytes"),
            Panel(
                "Decisions reconciled",
                _by("sum", "outcome", "fraud_reconciled_decisions_total"),
            ),
        ],
        "Audit log": [
            Panel(
                "Findings of the last check",
                _one("max(fraud_audit_findings)", "findings"),
                kind="number",
            ),
            Panel(
                "Age of the last check",
                _one(f'time() - max({_TAKEN}{{measurement="audit_check"}})', "age"),
                "s",
                "number",
            ),
            Panel(
                "Refusals not recorded", _one("sum(fraud_unrecorded_refusals_total)", "refusals")
            ),
        ],
    },
)

BOARDS = (SERVICE, DECISIONS, MODELS, STREAMS)
