"""The door for whole frames: what it accepts and refuses is what the fraud type's model does.

A vectorised look accepts the rows it is sure of. Every other row is shown to the pydantic
model itself, which gives the verdict and the reason, so the two doors cannot disagree.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from feature_store.schema import arrow_schema, from_arrow
from fraud.domain.event import (
    EARLIEST,
    FUTURE_TOLERANCE_US,
    TransactionBase,
    field_kinds,
    from_us,
    sensitive_fields,
    to_us,
)
from fraud.domain.fraud_type import FraudType
from fraud.security.masking import holds_card_number
from orchestration.sources.certainty import surely_accepted
from orchestration.sources.coercion import Column, Mask, coerce
from orchestration.sources.constraints import constraints
from orchestration.sources.reasons import Problem, problem_of, said

MANY_DIGITS = r"\d(\D{0,3}\d){12}"
"""What no card number is without; most columns are done with it in one look."""

QUARANTINE_COLUMNS = ("row_number", "field", "reason", "raw")


@dataclass(frozen=True)
class Verdict:
    """What became of the rows of a batch: each is in exactly one of the two frames.

    Attributes:
        accepted: canonical rows, in the order they came, without observation numbers; the
            index is that of the batch.
        quarantined: `row_number, field, reason, raw` (what it said, a dict) per refused row.
    """

    accepted: pd.DataFrame
    quarantined: pd.DataFrame


def check_transactions(fraud_type: FraudType, batch: pd.DataFrame, now: dt.datetime) -> Verdict:
    """Let transactions in, or say why not.

    Args:
        fraud_type: whose door it is.
        batch: columns named like the model's fields, and `observed_at` if it is known when
            each row was seen (otherwise it was seen when it happened); the index numbers the
            rows of the source.
        now: nothing can have been observed later than this, give or take five minutes.
    """
    door = _Door(fraud_type, batch)
    problems = door.ask_the_model()
    event_us, observed_us = door.times(problems, to_us(now))
    good = np.ones(len(batch), bool)
    good[list(problems)] = False
    return Verdict(
        accepted=door.canonical(good, event_us, observed_us),
        quarantined=quarantine(batch, problems),
    )


def quarantine(batch: pd.DataFrame, problems: dict[int, Problem]) -> pd.DataFrame:
    """Refused rows with their reason and everything they said, by position in the batch."""
    places = sorted(problems)
    refused = batch.iloc[places]
    columns = (
        [int(row) for row in refused.index],
        [problems[place].field for place in places],
        [problems[place].reason for place in places],
        [_as_it_came(row) for row in refused.to_dict("records")],
    )
    return pd.DataFrame(dict(zip(QUARANTINE_COLUMNS, columns, strict=True)))


def _as_it_came(row: dict[Any, Any]) -> dict[str, Any]:
    """The cells a row had, as Python's own objects."""
    return {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
        if not pd.isna(value)
    }


class _Door:
    """The columns of one batch, and where each row stands."""

    def __init__(self, fraud_type: FraudType, batch: pd.DataFrame) -> None:
        self.fraud_type = fraud_type
        self.batch = batch
        self.model: type[TransactionBase] = fraud_type.transaction
        self.sensitive = sensitive_fields(self.model)
        self.constraints = constraints(self.model)
        absent = pd.Series(None, batch.index, dtype=object)
        self.columns: dict[str, Column] = {
            constraint.name: coerce(batch.get(constraint.name, absent), constraint.kind)
            for constraint in self.constraints
        }

    def ask_the_model(self) -> dict[int, Problem]:
        """Problems by position, of the rows that only the model itself can judge."""
        sure = np.ones(len(self.batch), bool)
        for constraint in self.constraints:
            column = self.columns[constraint.name]
            sure &= surely_accepted(constraint, column)
            if constraint.together_with:
                sure &= self.columns[constraint.together_with].is_null == column.is_null
        problems: dict[int, Problem] = {}
        for place in np.flatnonzero(~sure).tolist():
            body = self._body(place)
            try:
                accepted = self.model.model_validate(body)
            except ValidationError as error:
                problems[place] = problem_of(error, self.sensitive)
            else:
                self._keep(place, accepted)
        self._refuse_card_numbers(problems)
        return problems

    def _refuse_card_numbers(self, problems: dict[int, Problem]) -> None:
        for name, column in self.columns.items():
            if not isinstance(column.values, np.ndarray):
                may_hold = pc.match_substring_regex(column.values, MANY_DIGITS)
                for place in np.flatnonzero(pc.fill_null(may_hold, False)).tolist():
                    if holds_card_number(column.values[place].as_py()):
                        what, remedy = "holds a card number", "Leave it out of the file, or send "
                        reason = said(name, None, what, remedy + "a token of it.")
                        problems.setdefault(place, Problem(name, reason))

    def _body(self, place: int) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for constraint in self.constraints:
            column = self.columns[constraint.name]
            if not column.is_null[place]:
                value = column.cell(place)
                if constraint.kind == "moment" and column.is_typed[place]:
                    value = from_us(value)
                elif constraint.kind == "whole" and column.is_typed[place] and value == int(value):
                    value = int(value)
                body[constraint.name] = value
            elif constraint.is_required and constraint.is_nullable:
                body[constraint.name] = None
        return body

    def _keep(self, place: int, accepted: TransactionBase) -> None:
        """Write back what the model made of a row: it may have parsed more than we could."""
        for constraint in self.constraints:
            column, value = self.columns[constraint.name], getattr(accepted, constraint.name)
            if value is None or column.is_null[place] or column.is_typed[place]:
                continue
            if isinstance(value, dt.datetime):
                value = to_us(value)
            if isinstance(column.values, np.ndarray):
                column.values = np.require(column.values, requirements="W")
                column.values[place] = value
            else:
                texts = column.values.to_pylist()
                texts[place] = value
                column.values = pa.array(texts, pa.string())
            column.is_typed[place] = True

    def times(
        self, problems: dict[int, Problem], now_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Event and observation times (us); adds the problems they have among themselves."""
        event = self.columns["timestamp"]
        raw = self.batch.get("observed_at", pd.Series(None, self.batch.index, dtype=object))
        observed = coerce(raw, "moment")
        observed_us = np.where(observed.is_null, event.values, observed.values)
        event_us = np.where(event.is_null, observed_us, event.values)
        unreadable = ~observed.is_null & ~observed.is_typed
        unreadable |= observed_us < to_us(EARLIEST)
        for wrong, field, what, remedy in (
            (
                observed.is_null & event.is_null,
                "timestamp",
                "is missing, and so is observed_at",
                "Map a column to one of them.",
            ),
            (
                unreadable,
                "observed_at",
                "must be ISO 8601 and not before 2000",
                "Write it like 2026-01-15T10:30:00Z.",
            ),
            (
                observed_us > now_us + FUTURE_TOLERANCE_US,
                "timestamp" if raw.isna().all() else "observed_at",
                "lies in the future",
                "Check the clock and the time zone of the source.",
            ),
            (
                event_us > observed_us + FUTURE_TOLERANCE_US,
                "timestamp",
                "lies after it was observed",
                "Check that both times are in the same time zone.",
            ),
        ):
            for place in np.flatnonzero(wrong).tolist():
                value = self.batch[field].iloc[place] if field in self.batch else None
                problems.setdefault(place, Problem(field, said(field, value, what, remedy)))
        return event_us.astype(np.int64), observed_us.astype(np.int64)

    def canonical(
        self, good: Mask, event_us: NDArray[np.int64], observed_us: NDArray[np.int64]
    ) -> pd.DataFrame:
        """The accepted rows in the columns of the event log, but for `seq`."""
        schema = arrow_schema(self.fraud_type, "events")
        rows = pa.array(np.flatnonzero(good))
        amount = self.columns["amount"]
        cents = np.where(good & amount.is_typed, amount.values, 0.0) * 100.0
        parts: dict[str, Any] = {
            "transaction_id": self.columns["transaction_id"].values,
            "event_time": pa.array(event_us),
            "observed_at": pa.array(observed_us),
            "amount_minor": pa.array(np.rint(cents).astype(np.int64)),
        }
        for name in field_kinds(self.model):
            column = self.columns[name]
            gone = pa.array(column.is_null | ~column.is_typed)
            parts[name] = pc.if_else(gone, None, pa.array(column.values))
        table = pa.table(
            {name: part.take(rows).cast(schema.field(name).type) for name, part in parts.items()}
        )
        return from_arrow(table).set_index(self.batch.index[good])
