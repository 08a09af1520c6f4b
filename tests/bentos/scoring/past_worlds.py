"""A platform with a past: champions, rules, lists and policies that came and went, a lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bentos.scoring.bundle import Bundle, read_signed_bundle, write_bundle
from bentos.scoring.challenge import Challenger
from bentos.scoring.continuity import Fallback
from bentos.scoring.journal import Journal
from bentos.scoring.labeller import Labeller
from bentos.scoring.manifest import Calibration
from bentos.scoring.model import ScoringModel
from bentos.scoring.observation_clock import ObservationClock
from bentos.scoring.reconciliation import reconcile
from bentos.scoring.replaying import Archive
from bentos.scoring.ruleset import CompiledRuleset
from bentos.scoring.scorer import Scorer, ScoreRequest
from bentos.scoring.signing import new_signing_keys
from feature_store.lake import Lake
from feature_store.materialize import materialize
from feature_store.pseudonyms import hidden_frame
from fraud.domain.decision import Decision
from fraud.domain.deployment import CANARY, CHAMPION, Deployment, Stage
from fraud.domain.errors import LedgerUnavailable
from fraud.domain.label import Label
from fraud.domain.policy import Thresholds
from fraud.domain.rules import RiskLevel
from fraud.ledger.audit import claim_chain
from fraud.ledger.deployments import record_deployment
from fraud.ledger.engine import connect
from fraud.ledger.lists import add_entries, create_list
from fraud.ledger.policies import activate_policy, propose_policy
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.rules import change_state, draft_rule
from fraud.ledger.rulesets import latest_revisions, load_ruleset
from fraud.types.credit_card import CREDIT_CARD
from tests.bentos.scoring.builders import a_graph, a_manifest
from tests.bentos.scoring.worlds import Clock, OneModel, a_request
from tests.feature_store.lakes import an_adversarial_lake
from tests.feature_store.worlds import START
from tests.protection import a_protection

KIND = CREDIT_CARD.name
WHO = "tester"
PRIVATE, PUBLIC = new_signing_keys()


class LedgerRulesets:
    """The newest ruleset of the ledger at every batch; implements `Rulesets`."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def ruleset(self, fraud_type: str) -> CompiledRuleset:
        with self._pool.transaction() as cursor:
            latest = latest_revisions(cursor)
            ruleset = load_ruleset(
                cursor,
                fraud_type,
                rules_version=latest.get((fraud_type, "rules"), 0),
                lists_version=latest.get((fraud_type, "lists"), 0),
                policy_version=latest.get((fraud_type, "policy"), 0),
            )
        return CompiledRuleset(CREDIT_CARD, ruleset)


@dataclass
class Past:
    """What a platform did, with the hands to do more."""

    pool: ConnectionPool
    folder: Path
    clock: Clock = field(default_factory=Clock)
    model: ScoringModel | None = None
    challenger: Challenger | None = None
    scored: int = 0

    @property
    def lake(self) -> Lake:
        return Lake(str(self.folder / "lake"))

    @property
    def archive(self) -> Archive:
        return Archive(self.pool, self.lake, self.folder / "bundles", PUBLIC, a_protection())

    def promote(self, version: str, steepness: float, **changes: object) -> Bundle:
        """A new champion."""
        bundle = self._deploy(version, steepness, CHAMPION, 0.0, **changes)
        self.model = ScoringModel(bundle)
        return bundle

    def try_canary(self, version: str, steepness: float, share: float) -> None:
        """A challenger that answers for its share from now on."""
        bundle = self._deploy(version, steepness, CANARY, share)
        self.challenger = Challenger(ScoringModel(bundle), CANARY, share)

    def _deploy(
        self, version: str, steepness: float, stage: Stage, share: float, **changes: object
    ) -> Bundle:
        graph = a_graph(len(CREDIT_CARD.feature_names))
        calibration = Calibration(a=steepness, b=-0.5, squeeze=1e-6)
        manifest = a_manifest(graph, model_version=version, calibration=calibration, **changes)
        place = self.folder / "bundles" / KIND / version
        digest = write_bundle(place, graph, manifest, PRIVATE)
        path = f"{KIND}/{version}"
        with self.pool.transaction() as cursor:
            step = Deployment(KIND, version, path, digest, WHO, "test", self.clock())
            record_deployment(cursor, replace(step, stage=stage, share=share))
        return read_signed_bundle(place, PUBLIC)

    def activate_rule(self, code: str, expression: str, state: str = "active") -> None:
        with self.pool.transaction() as cursor:
            text, now = f"The rule {code} held.", self.clock()
            args = (code, text, RiskLevel.HIGH, expression, WHO, now)
            version = draft_rule(cursor, KIND, *args).version
            change_state(cursor, KIND, code, version, state, WHO, now)

    def put_on_list(self, name: str, value: str, expires_in_us: int | None = None) -> None:
        with self.pool.transaction() as cursor:
            now = self.clock()
            if name not in self._lists():
                create_list(cursor, KIND, name, "deny", "merchant_id", "", WHO, now)
            expires_us = None if expires_in_us is None else now + expires_in_us
            add_entries(cursor, KIND, name, [(value, "test", expires_us)], WHO, now)

    def _lists(self) -> set[str]:
        with self.pool.transaction() as cursor:
            cursor.execute("SELECT name FROM lists")
            return {name for (name,) in cursor.fetchall()}

    def set_policy(self, thresholds: Thresholds) -> None:
        with self.pool.transaction() as cursor:
            now = self.clock()
            found = propose_policy(cursor, KIND, thresholds, "test", WHO, now)
            activate_policy(cursor, KIND, found.version, WHO, now)

    def score(self, count: int, *, step_us: int = 0, late_us: int = 0) -> list[Decision]:
        """Decide on so many events, in batches of three; they happened `late_us` ago."""
        decisions: list[Decision] = []
        with self._chain("scorer") as chain:
            scorer = self._scorer(chain, LedgerRulesets(self.pool))
            while len(decisions) < count:
                self.clock.now_us += step_us
                batch = [self._request(late_us) for _ in range(min(3, count - len(decisions)))]
                decisions += scorer.score(batch)  # type: ignore[arg-type]
        return decisions

    def score_without_ledger(self, count: int) -> None:
        """Decide while the ledger is away; it is told afterwards."""
        journal = Journal(self.folder / "journal", 10**6, a_protection().keys)
        rulesets = LedgerRulesets(self.pool)
        fallback = Fallback({KIND: CREDIT_CARD}, rulesets, journal, self.clock)
        fallback.answer([self._request(0) for _ in range(count)], LedgerUnavailable("away"))
        with self._chain("recovery") as chain:
            scorer = self._scorer(chain, rulesets)
            entries = journal.first(count)
            assert reconcile(scorer, entries)["written"] == count
        journal.remove(each.transaction_id for each in entries)

    def _scorer(self, chain: str, rulesets: LedgerRulesets) -> Scorer:
        model = OneModel(self.model, self.challenger)
        return Scorer(
            self.pool, model, ObservationClock(self.clock), chain, a_protection(), rulesets
        )

    def _request(self, late_us: int) -> ScoreRequest:
        self.scored += 1
        return a_request(
            f"S{self.scored}",
            time_us=self.clock.now_us - late_us,
            amount_minor=1_00 + 37 * self.scored,
            seed=self.scored,
        )

    def label(self, *names: str) -> None:
        with self._chain("labeller") as chain:
            labeller = Labeller(self.pool, self.clock, chain)
            labels = [Label(name, True, self.clock.now_us, "chargeback") for name in names]
            labeller.observe(KIND, labels, WHO, "127.0.0.1")

    def materialize(self, progress=lambda done, total: None) -> None:
        events, labels = self.lake.events(CREDIT_CARD), self.lake.labels(CREDIT_CARD)
        materialize(CREDIT_CARD, events, labels, self.pool, progress)

    def give_lake(self, events: pd.DataFrame, labels: pd.DataFrame) -> None:
        events = hidden_frame(CREDIT_CARD, events, a_protection())
        self.lake.append(CREDIT_CARD, "events", events)
        self.lake.append(CREDIT_CARD, "labels", labels)

    def tamper(self, statement: str, *values: object) -> None:
        with self.pool.transaction() as cursor:
            cursor.execute(statement, values)
            assert cursor.rowcount == 1, "nothing was tampered with"

    @contextmanager
    def _chain(self, prefix: str) -> Iterator[str]:
        holder = connect(self.pool.url)
        try:
            chain = claim_chain(holder, prefix)
            holder.commit()
            yield chain
        finally:
            holder.close()


def halves(folder: Path) -> tuple[list[pd.DataFrame], list[pd.DataFrame], int]:
    """Events and labels of a lake, each cut in two at a moment, and that moment."""
    lake = an_adversarial_lake(str(folder), size=120)
    events, labels = lake.events(CREDIT_CARD), lake.labels(CREDIT_CARD)
    moment_us = START + (int(events["seq"].max()) - START) // 2
    cut = pd.Timestamp(moment_us, unit="us", tz="UTC").floor("D")
    parts = [
        [rows[rows[moment] < cut], rows[rows[moment] >= cut].drop(columns="seq")]
        for rows, moment in ((events, "observed_at"), (labels, "reported_at"))
    ]
    return parts[0], parts[1], int(cut.timestamp()) * 1_000_000
