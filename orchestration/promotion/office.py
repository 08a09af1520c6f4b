"""Where promotions are decided: each step in one transaction, audited, the registry following.

The ledger is the record. MLflow's aliases and the Bentos repeat it for people; where they cannot
be reached, a step is taken all the same, and `fraud deployments verify` tells what lags behind.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fraud.domain.deployment import (
    CANARY,
    CHAMPION,
    ROLLBACK,
    WITHDRAWN,
    Deployment,
    standing_champions,
)
from fraud.domain.errors import ContractError, Forbidden, NotFound, UnavailableError
from fraud.ledger.audit import AuditEntry, append, claim_chain
from fraud.ledger.deployments import (
    challengers,
    champions,
    current_deployment,
    deployment_of,
    lock_steps,
    take_step,
)
from fraud.ledger.embedded import ledger_url
from fraud.ledger.engine import connect
from fraud.ledger.pool import ConnectionPool
from fraud.ledger.promotion_requests import PromotionRequest, ask, fulfil, waiting_request
from fraud.ledger.statement import Cursor
from fraud.settings import Settings
from orchestration.promotion.gates import GateResult
from orchestration.promotion.ladder import Rung
from orchestration.training.tracking import point_aliases

CHAIN_PREFIX = "operator"

log = logging.getLogger("fraud.promotion")


@dataclass(frozen=True)
class Outcome:
    """What became of a step that was asked for.

    Attributes:
        deployment: the step, if it was taken.
        request: what waits for a second person, if it was not.
        sentence: that in words.
    """

    deployment: Deployment | None
    request: PromotionRequest | None
    sentence: str


class PromotionOffice:
    """Takes steps on behalf of somebody; make it with `open_office`.

    Args:
        pool: connections to the ledger.
        settings: the configuration.
        actor: who decides.
        chain: an audit chain that is ours.
        clock_us: the time now, microseconds UTC.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        settings: Settings,
        actor: str,
        chain: str,
        clock_us: Callable[[], int],
    ) -> None:
        self.pool = pool
        self.settings = settings
        self.actor = actor
        self.clock_us = clock_us
        self._chain = chain

    def move(
        self, model: Deployment, rung: Rung, reason: str, gates: Sequence[GateResult]
    ) -> Outcome:
        """Take a model forwards, or ask for the second person that this needs.

        Args:
            model: which one; its bundle and run are taken from here.
            rung: where to.
            reason: why.
            gates: what was measured for this step; all of them were passed.
        """
        step = replace(
            model,
            stage=rung.stage,
            share=rung.share,
            move="promote",
            reason=reason,
            promoted_by=self.actor,
            promoted_at_us=self.clock_us(),
            gates=tuple(each.plain() for each in gates),
            approved_by=None,
        )
        answers = rung.stage in (CANARY, CHAMPION)
        if answers and self.settings.two_person_approval:
            return self._ask(step)
        with self.pool.transaction() as cursor:
            taken = self._take(cursor, step, "deployment.promote")
        return self._done(taken)

    def approve(self, request_id: int) -> Outcome:
        """Agree, as the second person, to what somebody else asked for.

        Raises:
            NotFound: nothing of this number waits.
            Forbidden: it was the same person.
            ContractError: the model is not what was asked for any more.
        """
        with self.pool.transaction() as cursor:
            request = waiting_request(cursor, request_id)
            lock_steps(cursor, request.fraud_type)
            if request.requested_by == self.actor:
                self._refuse(cursor, request, "the same person")
            else:
                taken = self._fulfil(cursor, request)
        if request.requested_by == self.actor:
            raise Forbidden(
                f"{self.actor} asked for promotion {request_id}, and so cannot agree to it.",
                remedy="Another person must: fraud promote --approve, as another user or token.",
            )
        return self._done(taken)

    def withdraw(self, challenger: Deployment, reason: str, gates: Sequence[GateResult]) -> Outcome:
        """End a challenge."""
        return self._back(replace(challenger, stage=WITHDRAWN, share=0.0), reason, gates)

    def roll_back(self, fraud_type: str, reason: str, gates: Sequence[GateResult] = ()) -> Outcome:
        """End a challenge, if there is one; else let the champion before the present one serve.

        Raises:
            NotFound: nothing is in service, or nothing was before it.
        """
        with self.pool.transaction() as cursor:
            challenger = challengers(cursor).get(fraud_type)
            standing = standing_champions(champions(cursor, fraud_type))
        if challenger is not None:
            return self.withdraw(challenger, reason, gates)
        before = self.previous(standing)
        return self._back(replace(before, stage=CHAMPION, share=0.0), reason, gates)

    @staticmethod
    def previous(standing: Sequence[Deployment]) -> Deployment:
        """The champion before the present one.

        Raises:
            NotFound: there is none.
        """
        others = [each for each in standing if each.bundle_digest != standing[0].bundle_digest]
        if not others:
            raise NotFound(
                "There is no champion to go back to.",
                remedy="Promote another model: fraud pipeline run",
            )
        return others[0]

    def refused(self, model: Deployment, rung: Rung, gates: Sequence[GateResult]) -> None:
        """Keep an audit record of a promotion that gates did not let pass."""
        with self.pool.transaction() as cursor:
            detail = {
                "stage": rung.stage,
                "share": rung.share,
                "bundle_digest": model.bundle_digest,
                "failed": {each.gate: each.sentence for each in gates if not each.passed},
            }
            self._audit(cursor, "deployment.promote", model.model_version, detail, is_done=False)

    def follow(self, fraud_type: str) -> str:
        """Let MLflow's aliases name what is in service; what is wrong, or nothing."""
        with self.pool.transaction() as cursor:
            champion = current_deployment(cursor, fraud_type)
            challenger = challengers(cursor).get(fraud_type)
        wanted = {
            "champion": champion.model_version if champion else None,
            "challenger": challenger.model_version if challenger else None,
        }
        try:
            point_aliases(fraud_type, wanted, tracking_uri=self.settings.mlflow_tracking_uri)
        except UnavailableError as error:
            log.warning("The registry lags behind the ledger: %s", error)
            return str(error)
        return ""

    def _ask(self, step: Deployment) -> Outcome:
        with self.pool.transaction() as cursor:
            request = ask(
                cursor,
                PromotionRequest(
                    step.fraud_type,
                    step.model_version,
                    step.bundle_digest,
                    step.stage,
                    step.share,
                    step.reason,
                    self.actor,
                    step.promoted_at_us,
                ),
            )
            if request.requested_at_us == step.promoted_at_us:
                detail = {"request": request.request_id, **_facts(step)}
                self._audit(cursor, "deployment.request", step.model_version, detail)
        rung = Rung(step.stage, step.share)
        return Outcome(
            None,
            request,
            f"{step.model_version} waits for a second person to become {rung}: "
            f"fraud promote --approve {request.request_id}",
        )

    def _fulfil(self, cursor: Cursor, request: PromotionRequest) -> Deployment:
        model = deployment_of(cursor, request.fraud_type, request.model_version)
        if model is None or model.bundle_digest != request.bundle_digest:
            raise ContractError(
                f"Promotion {request.request_id} was asked for another bundle of "
                f"{request.model_version}.",
                remedy="Ask again.",
            )
        step = replace(
            model,
            stage=request.stage,
            share=request.share,
            move="promote",
            reason=request.reason,
            promoted_by=request.requested_by,
            promoted_at_us=self.clock_us(),
            approved_by=self.actor,
        )
        taken = self._take(cursor, step, "deployment.approve")
        fulfil(cursor, request.request_id, taken.deployment_id)
        return taken

    def _refuse(self, cursor: Cursor, request: PromotionRequest, why: str) -> None:
        detail = {"request": request.request_id, "why": why}
        self._audit(cursor, "deployment.approve", request.model_version, detail, is_done=False)

    def _back(self, step: Deployment, reason: str, gates: Sequence[GateResult]) -> Outcome:
        step = replace(
            step,
            move=ROLLBACK,
            reason=reason,
            promoted_by=self.actor,
            promoted_at_us=self.clock_us(),
            gates=tuple(each.plain() for each in gates),
            approved_by=None,
        )
        with self.pool.transaction() as cursor:
            taken = self._take(cursor, step, "deployment.rollback")
        return self._done(taken)

    def _take(self, cursor: Cursor, step: Deployment, action: str) -> Deployment:
        taken = take_step(cursor, step)
        self._audit(cursor, action, step.model_version, _facts(taken))
        return taken

    def _done(self, taken: Deployment) -> Outcome:
        problem = self.follow(taken.fraud_type)
        rung = Rung(taken.stage, taken.share)
        lag = f" The registry lags behind: {problem}" if problem else ""
        return Outcome(taken, None, f"{taken.model_version} is {rung} now.{lag}")

    def _audit(
        self,
        cursor: Cursor,
        action: str,
        version: str,
        detail: dict[str, Any],
        *,
        is_done: bool = True,
    ) -> None:
        entry = AuditEntry(
            actor=self.actor,
            action=action,
            outcome="success" if is_done else "failure",
            origin=socket.gethostname(),
            object_type="model",
            object_id=version,
            detail=detail,
        )
        append(cursor, self._chain, [entry], self.clock_us())


def _facts(step: Deployment) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "fraud_type": step.fraud_type,
        "stage": step.stage,
        "share": step.share,
        "bundle_digest": step.bundle_digest,
        "reason": step.reason,
    }
    if step.deployment_id:
        facts["deployment_id"] = step.deployment_id
    if step.approved_by:
        facts["requested_by"] = step.promoted_by
    return facts


def known_model(cursor: Cursor, fraud_type: str, version: str | None) -> Deployment:
    """The last step of a model, or of who challenges if no model is named.

    Raises:
        NotFound: there is no such model.
    """
    found = (
        challengers(cursor).get(fraud_type)
        if version is None
        else deployment_of(cursor, fraud_type, version)
    )
    if found is None:
        what = f"model {version!r}" if version else "challenger"
        raise NotFound(
            f"There is no {what} of {fraud_type} to promote.",
            remedy="See: fraud deployments. New models come from: fraud pipeline run",
        )
    return found


@contextmanager
def open_office(
    settings: Settings, actor: str, clock_us: Callable[[], int] = lambda: time.time_ns() // 1000
) -> Iterator[PromotionOffice]:
    """The office, with an audit chain of its own for as long as it is open.

    Raises:
        LedgerUnavailable: PostgreSQL does not answer.
    """
    url = ledger_url(settings)
    session = connect(url)
    pool = ConnectionPool(url, size=2)
    try:
        chain = claim_chain(session, CHAIN_PREFIX)
        yield PromotionOffice(pool, settings, actor, chain, clock_us)
    finally:
        pool.close()
        session.close()
