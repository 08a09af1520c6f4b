"""Draws what `FRAUD_LOOP_RECORD` kept of the closed loop's journey: `make loop-picture`."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import pandas as pd

from fraud.types.credit_card import CREDIT_CARD

WINDOW = 1_500
"""Decisions that one point of a curve is about: enough for some tens of frauds."""

STEP = 20
"""Decisions from one point to the next."""

MATURITY = pd.Timedelta(microseconds=CREDIT_CARD.maturity_us)

CURVES = {"precision": "#1f6f8b", "recall": "#c26a2d"}


def quality(decisions: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall of what was not approved, over the last decisions at each."""
    flagged = (decisions["action"] != "approve").astype(float)
    fraud = decisions["is_fraud"].astype(float)
    hits = (flagged * fraud).rolling(WINDOW).sum()
    return pd.DataFrame(
        {
            "precision": hits / flagged.rolling(WINDOW).sum(),
            "recall": hits / fraud.rolling(WINDOW).sum(),
        }
    )


def draw(folder: Path, out: Path) -> None:
    """Live quality over decisions, with what happened."""
    decisions = pd.read_csv(folder / "decisions.csv", parse_dates=["moment"])
    known = decisions["moment"] < decisions["moment"].max() - MATURITY
    decisions = decisions[known]  # of later ones nobody knows the truth yet
    story = json.loads((folder / "story.json").read_text())
    matplotlib.rcParams |= {"svg.hashsalt": "loop", "svg.fonttype": "none", "font.size": 9}
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for name, values in quality(decisions).items():
        points = values.iloc[::STEP]
        axes.plot(points.index, points, color=CURVES[str(name)], label=name, linewidth=1.6)
    for place, (what, moment) in enumerate(story.items()):
        at = int((decisions["moment"] < pd.Timestamp(moment)).sum())
        axes.axvline(at, color="#555555", linewidth=0.8, linestyle=":")
        text = f"{what}, {at:,}"
        height = 1.17 - 0.07 * (place % 3)
        axes.text(at, height, f" {text}", ha="left", fontsize=8, color="#333333")
    axes.set(xlabel="decisions", xlim=(0, len(decisions)), ylim=(0, 1))
    axes.set_ylabel(f"of the last {WINDOW:,} decisions")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4)
    axes.legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.4), ncols=2)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    draw(given.folder, given.out)
