"""Pictures of a model, as PNG bytes: how it ranks, how true it is, what it looks at."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from fraud.domain.policy import Thresholds
from orchestration.training.calibration import reliability
from orchestration.training.evaluation import Report

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

INK, MUTED, BLUE, ORANGE, RED = "#1f2933", "#9aa5b1", "#2563a8", "#e07b27", "#c0392b"
SHOWN_FEATURES = 20

WIDTH, LEFT, ABOVE, BELOW = 7.2, 0.2, 0.5, 0.6
INCHES_PER_LETTER = 0.078


def precision_recall_plot(
    title: str, probability: Floats, is_fraud: Flags, thresholds: Thresholds, ap: float
) -> bytes:
    """Precision over recall, with the points where the thresholds stand.

    Args:
        title: of the model.
        probability: calibrated, shape (n,).
        is_fraud: truth, shape (n,).
        thresholds: to mark.
        ap: average precision, shown in the heading.
    """
    figure, axes = _canvas(f"{title}: average precision {ap:.3f}")
    precision, recall, _ = precision_recall_curve(is_fraud, probability, drop_intermediate=True)
    axes.step(recall, precision, where="post", color=BLUE, linewidth=1.8)
    axes.fill_between(recall, precision, step="post", color=BLUE, alpha=0.08)
    share = float(is_fraud.mean())
    axes.axhline(share, color=MUTED, linewidth=1, linestyle=":")
    axes.annotate(f"by chance {share:.2%}", (0.01, share + 0.015), color=MUTED, fontsize=9)
    marks = {
        "review": (thresholds.review, ORANGE, "o"),
        "block": (thresholds.block, RED, "s"),
        "critical": (thresholds.critical, INK, "^"),
    }
    for name, (threshold, colour, marker) in marks.items():
        flagged = probability >= threshold
        if flagged.any():
            at = (is_fraud[flagged].sum() / is_fraud.sum(), is_fraud[flagged].mean())
            label = f"{name} from {threshold:.3f}"
            axes.plot(*at, marker, color=colour, markersize=8, label=label, linestyle="none")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall: share of fraud found")
    axes.set_ylabel("precision: share of alerts that are fraud")
    _percent(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="center left")
    return _png(figure)


def calibration_plot(title: str, probability: Floats, is_fraud: Flags) -> bytes:
    """Observed share of fraud over predicted probability, in bins, on logarithmic axes.

    Args:
        title: of the model.
        probability: calibrated, shape (n,).
        is_fraud: truth, shape (n,).
    """
    quality = reliability(probability, is_fraud)
    figure, axes = _canvas(
        f"{title}: calibration error {quality.expected_error:.4f}, Brier {quality.brier:.4f}"
    )
    least = 0.2 / max(1, len(is_fraud))
    low = max(float(quality.predicted.min()) / 2, 1e-5, least)
    axes.plot([low, 1], [low, 1], color=MUTED, linewidth=1, linestyle="--", label="perfect")
    # 95 % interval of the observed share (Wilson 1927), so that empty bins do not mislead.
    z, n, p = 1.96, quality.count, quality.observed
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    axes.vlines(
        quality.predicted,
        np.maximum(centre - half, low),
        centre + half,
        color=BLUE,
        alpha=0.35,
        linewidth=4,
        label="95 % interval",
    )
    axes.plot(
        quality.predicted, np.maximum(p, low), "o", color=BLUE, markersize=5, label="observed"
    )
    axes.set(xscale="log", yscale="log", xlim=(low, 1.05), ylim=(low, 1.05))
    axes.set(xlabel="predicted probability", ylabel="observed share of fraud")
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def importance_plot(title: str, importances: Mapping[str, float]) -> bytes:
    """The features that do most of the model's work.

    Args:
        title: of the model.
        importances: share per feature name.
    """
    top = sorted(importances.items(), key=lambda item: item[1], reverse=True)[:SHOWN_FEATURES]
    names, shares = [name for name, _ in top][::-1], [share for _, share in top][::-1]
    figure, axes = _canvas(f"{title}: what it looks at", height=6.4, labels=names)
    axes.barh(names, shares, color=BLUE, height=0.7)
    axes.set_xlabel("share of importance")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.01)
    return _png(figure)


def slices_plot(title: str, report: Report) -> bytes:
    """Average precision by week and segment, over the 95 % interval of the whole.

    Args:
        title: of the model.
        report: of its test days.
    """
    parts = report.slices[::-1]
    whole = report.intervals["average_precision"]
    heading = f"{title}: average precision {whole.value:.3f} ({whole.low:.3f} to {whole.high:.3f})"
    names = [f"{part.kind}: {part.name}" for part in parts]
    figure, axes = _canvas(heading, height=1.6 + 0.28 * len(parts), labels=names, right=0.8)
    axes.axvspan(whole.low, whole.high, color=BLUE, alpha=0.12, linewidth=0)
    axes.axvline(whole.value, color=BLUE, linewidth=1)
    for place, part in enumerate(parts):
        axes.plot(part.average_precision, place, "o", color=BLUE, markersize=6)
        axes.plot(part.recall_alert, place, "|", color=ORANGE, markersize=12, markeredgewidth=2)
        axes.annotate(
            f"{part.frauds} frauds", (1.01, place), color=MUTED, fontsize=8, va="center",
            annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(parts)), names)
    axes.set(xlim=(0, 1), ylim=(-0.7, len(parts) - 0.3))
    axes.set_xlabel("dot: average precision; bar: share of fraud found by alerts; band: 95 %")
    return _png(figure)


def _canvas(
    heading: str, height: float = 4.8, labels: Sequence[str] = (), right: float = 0.2
) -> tuple[Figure, Axes]:
    """A figure with one plot, sizes in inches.

    Its margins are reckoned from the vertical axis' labels: matplotlib's own layouts draw
    everything several times to find them.
    """
    left = LEFT + max(0.55, INCHES_PER_LETTER * max(map(len, labels), default=0))
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes(
        (
            left / WIDTH,
            BELOW / height,
            1 - (left + right) / WIDTH,
            1 - (BELOW + ABOVE) / height,
        )
    )
    figure.suptitle(
        heading, x=LEFT / WIDTH, y=1 - 0.14 / height, ha="left", va="top", fontsize=12, color=INK
    )
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def _percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return buffer.getvalue()
