"""One line of the journal: a decision and all that the ledger will want to know, encrypted."""

from dataclasses import dataclass
from typing import Any

import orjson

from bentos.scoring.scorer import ScoreRequest, repeated
from fraud.domain.decision import Decision, Reason
from fraud.domain.errors import ContractError, FraudError, ProtectionError
from fraud.domain.event import Event
from fraud.domain.rules import RiskLevel
from fraud.security.data_keys import DataKeys


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A decision that was answered while it could not be written to the ledger.

    Attributes:
        request: what was asked.
        decision: what was answered.
    """

    request: ScoreRequest
    decision: Decision

    @property
    def transaction_id(self) -> str:
        """Of the transaction decided on."""
        return self.request.event.transaction_id

    def again(self, request: ScoreRequest) -> Decision | FraudError:
        """The answer to a repetition: the first one again, or a conflict."""
        is_same = self.request.body_digest == request.body_digest
        return repeated(request, self.decision, is_same=is_same)


def encode(entry: JournalEntry, keys: DataKeys) -> bytes:
    """The entry as one encrypted line, newline included; a Fernet token guards its own bytes."""
    request = entry.request
    content = orjson.dumps(
        {
            "journal": entry.transaction_id,
            "event": request.event,
            "body_digest": request.body_digest.hex(),
            "actor": request.actor,
            "origin": request.origin,
            "decision": entry.decision,
        }
    )
    return f"{keys.encrypt(content)}\n".encode()


def decode(line: bytes, keys: DataKeys) -> JournalEntry:
    """The entry of a line.

    Raises:
        ContractError: the line is not one of ours, or was damaged.
    """
    try:
        entry: dict[str, Any] = orjson.loads(keys.decrypt(line.decode("ascii").rstrip("\n")))
        if entry["journal"] != entry["event"]["transaction_id"]:
            raise ContractError("A line of the journal is about another transaction than it says.")
        return JournalEntry(
            ScoreRequest(
                Event(**entry["event"]),
                bytes.fromhex(entry["body_digest"]),
                entry["actor"],
                entry["origin"],
            ),
            _decision(entry["decision"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ProtectionError) as error:
        raise ContractError(f"A line of the journal cannot be read: {error}.") from error


def _decision(content: dict[str, Any]) -> Decision:
    parts = {
        "risk_level": RiskLevel(content["risk_level"]),
        "reasons": tuple(Reason(**each) for each in content["reasons"]),
        "rules": tuple(content["rules"]),
        "shadow_rules": tuple(content["shadow_rules"]),
    }
    return Decision(**{**content, **parts})
