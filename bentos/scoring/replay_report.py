"""What replays found, for people: a table of what differs, or a few lines and the numbers."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bentos.scoring.replay import Replay

SHOWN = 20
"""Decisions of a sample that are named one by one."""


def print_replay(console: Console, replay: Replay) -> None:
    """One decision: what was replayed, and a row for everything that differs."""
    decision = replay.recorded.decision
    console.print(f"Decision {decision.decision_id} on {decision.transaction_id}", markup=False)
    console.print(
        f"{replay.recorded.action} at {decision.fraud_probability!r}, model "
        f"{decision.model_version}, policy {decision.policy_version}, rules "
        f"{decision.rules_version}, lists {decision.lists_version}",
        markup=False,
    )
    for obstacle in replay.obstacles:
        console.print(obstacle, markup=False)
    if replay.differences:
        table = Table("part", "recorded", "recomputed", title="What differs")
        for each in replay.differences:
            table.add_row(*map(Text, (each.part, _shown(each.recorded), _shown(each.recomputed))))
        console.print(table)
    elif replay.is_identical:
        console.print("Identical: features, score, rules, lists, policy and reasons.")
    else:
        console.print("Nothing differs of what could be computed again.")


def print_sample(console: Console, replays: Sequence[Replay]) -> dict[str, int]:
    """Many decisions: the first ones that are not identical; returns the numbers."""
    others = [each for each in replays if not each.is_identical]
    for each in others[:SHOWN]:
        parts = ", ".join(difference.part for difference in each.differences)
        what = f"differs in {parts}" if parts else " ".join(each.obstacles)
        console.print(f"{each.recorded.decision.decision_id}: {what}", markup=False)
    if len(others) > SHOWN:
        console.print(f"... and {len(others) - SHOWN:,} more")
    counts = Counter(map(_outcome, replays))
    return {"replayed": len(replays)} | {
        name: counts[name] for name in ("identical", "different", "not_replayable")
    }


def _outcome(replay: Replay) -> str:
    if replay.differences:
        return "different"
    return "not_replayable" if replay.obstacles else "identical"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    name = getattr(value, "name", None)
    return str(name) if name else "none" if value is None else str(value)
