"""Decisions replayed: found in the ledger, computed again from the log, compared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bentos.scoring.past_judges import PastJudges, versions_of
from bentos.scoring.replay import Difference, Replay, in_decision, in_features, nearest
from feature_store.lake import Lake
from feature_store.rebuilding import rebuilt_features
from fraud.domain.errors import FraudError, NotFound
from fraud.domain.fraud_type import FraudType
from fraud.ledger.embedded import ledger_url
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.recorded import RecordedDecision, recorded_decisions, sampled_decisions
from fraud.ledger.statement import Cursor
from fraud.security.encryption import FieldProtection, field_protection
from fraud.settings import Settings
from fraud.types.registry import fraud_types

NOT_IN_LOG = "The log does not hold its transaction: its features cannot be computed again."

Choice = Callable[[Cursor], Sequence[str]]
"""Picks the ids of decisions."""


@dataclass(frozen=True)
class Archive:
    """Where decisions, and all that they were made from, are kept.

    Attributes:
        pool: connections to the ledger.
        lake: the log beside it.
        bundle_dir: folder of model bundles, those of former champions included.
        verify_key_pem: the key whose signature on them is trusted.
        protection: of what is sensitive.
    """

    pool: ConnectionPool
    lake: Lake
    bundle_dir: Path
    verify_key_pem: bytes
    protection: FieldProtection


@contextmanager
def open_archive(settings: Settings) -> Iterator[Archive]:
    """The archive that the settings name."""
    pool = ConnectionPool(ledger_url(settings), size=1)
    try:
        lake = Lake(settings.lake_url)
        protection = field_protection(settings)
        yield Archive(pool, lake, settings.bundle_dir, settings.verify_key_pem, protection)
    finally:
        pool.close()


def this_one(decision_id: str) -> Choice:
    """A single decision."""
    return lambda cursor: [decision_id]


def a_sample(count: int, seed: int, fraud_type: str | None = None) -> Choice:
    """Decisions at random, of all fraud types unless one is named."""
    return lambda cursor: sampled_decisions(cursor, count, seed, fraud_type)


def replay_decisions(archive: Archive, choice: Choice) -> list[Replay]:
    """Compute decisions again and compare them with the record, in the order of the ledger.

    Raises:
        NotFound: there is no such decision.
        LedgerUnavailable: PostgreSQL does not answer.
    """
    with archive.pool.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        wanted = choice(cursor)
        if not wanted:
            raise NotFound("There is no decision to replay.", remedy="Score a transaction first.")
        recorded = sorted(recorded_decisions(cursor, wanted), key=versions_of)
        features: dict[str, list[bytes]] = {}
        for name, group in groupby(recorded, key=lambda each: each.event.fraud_type):
            kind = fraud_types().get(name)
            ours = [each for each in group if kind and each.schema_hash == kind.schema_hash]
            if kind is not None and ours:
                features |= rebuilt_features(kind, archive.lake, cursor, ours)
        judges = PastJudges(cursor, archive.bundle_dir, archive.verify_key_pem)
        replays = [_replayed(each, judges, features, archive.protection) for each in recorded]
    return sorted(replays, key=lambda each: each.recorded.number)


def _replayed(
    recorded: RecordedDecision,
    judges: PastJudges,
    features: dict[str, list[bytes]],
    protection: FieldProtection,
) -> Replay:
    if recorded.erasure is not None:
        what = f"The person it was about was erased {recorded.erasure}: its inputs are gone."
        return Replay(recorded, obstacles=(what,))
    obstacles: list[str] = []
    differences: list[Difference] = []
    kept = seen = recorded.feature_values
    kind = fraud_types().get(recorded.event.fraud_type)
    found = features.get(recorded.event.transaction_id, [])
    is_ours = kind is not None and kind.schema_hash == recorded.schema_hash
    if kind is not None and found:
        seen = nearest(kept, found)
        differences += in_features(kind.feature_names, kept, seen)
    else:
        obstacles.append(NOT_IN_LOG if is_ours else _other_features(recorded, kind))
    try:
        judge = judges.judge(recorded)
        event = protection.revealed(recorded.event, recorded.sealed)
        differences += in_decision(recorded, event, judge, seen, with_texts=is_ours)
    except FraudError as error:
        obstacles.append(str(error))
    return Replay(recorded, tuple(differences), tuple(obstacles))


def _other_features(recorded: RecordedDecision, kind: FraudType | None) -> str:
    ours = "none" if kind is None else kind.schema_hash
    return (
        f"Its features have schema {recorded.schema_hash}, this code has {ours}: they are not "
        "replayable with this code. Use the release that served then."
    )
