"""One line of the journal: a decision, all that the ledger will want to know, a checksum."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from bentos.scoring.scorer import ScoreRequest
from fraud.domain.decision import Decision, Reason
from fraud.domain.errors import ContractError
from fraud.domain.event import Event
from fraud.domain.rules import RiskLevel


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


def encode(entry: JournalEntry) -> bytes:
    """The entry as one line of JSON with its own SHA-256, newline included."""
    request = entry.request
    content = orjson.dumps(
        {
            "event": request.event,
            "body_digest": request.body_digest.hex(),
            "actor": request.actor,
            "origin": request.origin,
            "decision": entry.decision,
        }
    )
    return b'{"sha256":"%s","entry":%s}\n' % (_digest(content), content)


def decode(line: bytes) -> JournalEntry:
    """The entry of a line.

    Raises:
        ContractError: the line is not one of ours, or was damaged.
    """
    try:
        content = orjson.loads(line)
        entry: dict[str, Any] = content["entry"]
        if content["sha256"].encode() != _digest(orjson.dumps(entry)):
            raise ContractError("A line of the journal does not match its checksum.")
        return JournalEntry(
            ScoreRequest(
                Event(**entry["event"]),
                bytes.fromhex(entry["body_digest"]),
                entry["actor"],
                entry["origin"],
            ),
            _decision(entry["decision"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"A line of the journal cannot be read: {error}.") from error


def _decision(content: dict[str, Any]) -> Decision:
    parts = {
        "risk_level": RiskLevel(content["risk_level"]),
        "reasons": tuple(Reason(**each) for each in content["reasons"]),
        "rules": tuple(content["rules"]),
        "shadow_rules": tuple(content["shadow_rules"]),
    }
    return Decision(**{**content, **parts})


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
