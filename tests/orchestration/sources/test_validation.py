import datetime as dt
import math
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from annotated_types import MultipleOf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from feature_store.schema import arrow_schema
from fraud.domain.errors import InvalidField
from fraud.domain.event import TransactionBase, to_event, to_us
from fraud.types.credit_card import CREDIT_CARD, CreditCardTransaction
from orchestration.sources.coercion import coerce
from orchestration.sources.constraints import constraints
from orchestration.sources.validation import _Door, check_transactions

NOW = dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC)
BODY: dict[str, Any] = {
    "transaction_id": "t1",
    "timestamp": "2026-03-05T10:30:00Z",
    "amount": 12.5,
    "user_id": "u1",
    "merchant_id": "m1",
    "merchant_category": "grocery",
}
OPTIONAL = ("country", "device_id", "distance_from_home_km", "latitude", "longitude", "time_zone")
GONE = object()


def batch(*changes: dict[str, Any]) -> pd.DataFrame:
    """One row per change of the standard body; a value of GONE leaves the field out."""
    rows = [
        {name: value for name, value in (BODY | change).items() if value is not GONE}
        for change in changes
    ]
    return pd.DataFrame(rows)


def refusal(**change: Any) -> str:
    """The reason the frame door gives for the standard body with a change."""
    (reason,) = check_transactions(CREDIT_CARD, batch(change), NOW).quarantined["reason"]
    return str(reason)


# --- the two doors agree ----------------------------------------------------------------------

_TEXTS = st.one_of(
    st.text(max_size=4),
    st.text(alphabet="aZ09!~ \n-é", min_size=1, max_size=60),
    st.sampled_from(
        ["", "US", "us", "USA", "grocery", "a b", "US\n", "x" * 50, "x" * 51, "x" * 101]
    ),
)
_NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-5, 10**9).map(lambda cents: cents / 100),
    st.sampled_from([0.0, -0.0, 20_038.0, 20_038.5, 99_999_999.99, 1e8, 0.005, 1.005, 12.345]),
)
_FIRST, _LAST = dt.datetime.fromisoformat("1999-12-31"), dt.datetime.fromisoformat("2026-03-06")
_MOMENTS = st.one_of(
    st.datetimes(_FIRST, _LAST),
    st.datetimes(
        _FIRST,
        _LAST,
        timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-9, minutes=-30))]),
    ),
    st.datetimes(_FIRST, _LAST).map(dt.datetime.isoformat),
    st.sampled_from(
        [
            *("2026-03-05", "2026-03-05T10", "2026-03-05 10:30", "20260305T103000Z", "2026-W10-4"),
            *("2026-03-05T10:30:00+05:30", "2026-03-05T10:30:00.123456789Z", "05.03.2026", "now"),
            *("2026-02-30", "2026-03-05T24:00:00", "2026-03-05T10:30:00-14:00", "2026", ""),
        ]
    ),
)
_FLAGS = st.booleans()


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.none(), st.just(GONE))


_BODIES = st.fixed_dictionaries(
    {
        "transaction_id": _maybe(_TEXTS),
        "timestamp": _maybe(_MOMENTS),
        "amount": _maybe(_NUMBERS),
        "fraud_type": st.sampled_from([GONE, "credit_card", "ach"]),
        "user_id": _maybe(_TEXTS),
        "merchant_id": _maybe(_TEXTS),
        "merchant_category": _maybe(_TEXTS),
        "distance_from_home_km": _maybe(_NUMBERS),
        "foreign_transaction": _maybe(_FLAGS),
        "card_present": _maybe(_FLAGS),
        "used_chip": _maybe(_FLAGS),
        "device_id": _maybe(_TEXTS),
        "country": _maybe(_TEXTS),
        "latitude": _maybe(_NUMBERS),
        "longitude": _maybe(_NUMBERS),
        "time_zone": _maybe(st.one_of(st.sampled_from(["Europe/Paris", "UTC"]), _TEXTS)),
    }
)
# Of a random body nearly every one is refused: most tries change two fields of a good one.
_NEAR_MISSES = st.builds(
    lambda body, names: {name: body[name] for name in names},
    _BODIES,
    st.sets(st.sampled_from([*BODY, *OPTIONAL]), max_size=2),
)


def pydantic_door(body: dict[str, Any]) -> Any:
    """The event the HTTP door makes of a body, or None if it refuses it."""
    cells = {name: value for name, value in body.items() if value is not GONE and value is not None}
    try:
        return to_event("credit_card", CreditCardTransaction.model_validate(cells), to_us(NOW))
    except (ValidationError, InvalidField):
        return None


@given(st.lists(st.one_of(_NEAR_MISSES, _BODIES), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_frame_door_accepts_what_the_model_accepts(changes: list[dict[str, Any]]) -> None:
    rows = [BODY | {"fraud_type": GONE} | change for change in changes]
    frame = batch(*rows).assign(observed_at=NOW)
    verdict = check_transactions(CREDIT_CARD, frame, NOW)
    events = [pydantic_door(row) for row in rows]
    good = [place for place, event in enumerate(events) if event is not None]
    assert verdict.accepted.index.tolist() == good
    assert sorted(verdict.quarantined["row_number"]) == sorted(set(range(len(rows))) - set(good))
    for place, row in verdict.accepted.iterrows():
        event = events[int(str(place))]
        assert row["transaction_id"] == event.transaction_id
        assert to_us(row["event_time"].to_pydatetime()) == event.event_time_us
        assert row["amount_minor"] == event.amount_minor
        for name, value in event.fields.items():
            found = None if pd.isna(row[name]) else row[name]
            assert found == value, name


@pytest.mark.parametrize("amount", [12.5005, 12.50001, 12.500000001, 0.1 + 0.2, 1e-9, 4_503_599.63])
def test_the_doors_agree_how_far_from_a_whole_cent_is_too_far(amount: float) -> None:
    frame = batch({"amount": amount}).assign(observed_at=NOW)
    is_accepted = len(check_transactions(CREDIT_CARD, frame, NOW).accepted) == 1
    assert is_accepted == (pydantic_door(BODY | {"amount": amount}) is not None)


def test_rows_of_plain_data_never_need_the_slow_way() -> None:
    """What the vectorised look is not sure of costs a model call; good rows must not."""
    full = {
        "distance_from_home_km": 3.25,
        "foreign_transaction": False,
        "card_present": True,
        "used_chip": None,
        "device_id": "d-1",
        "country": "US",
        "latitude": 48.85,
        "longitude": 2.29,
        "time_zone": "Europe/Paris",
    }
    door = _Door(CREDIT_CARD, batch(full, full | {"device_id": None, "timestamp": GONE}))
    asked: list[object] = []

    class Watched(CreditCardTransaction):
        @classmethod
        def model_validate(cls, obj: Any, **_: Any) -> Any:
            asked.append(obj)

    door.model = Watched
    assert door.ask_the_model() == {}
    assert asked == []


class Exotic(TransactionBase):
    """A type with demands the vectorised look cannot read."""

    lot: Annotated[float, MultipleOf(5)]
    code: str = Field(pattern=r"^\w+$")
    side: str = "buy"
    tries: int = 0

    @field_validator("side")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("buy", "sell"):
            raise ValueError("must be buy or sell")
        return value


def test_demands_that_cannot_be_read_are_left_to_the_model() -> None:
    unread = {one.name for one in constraints(Exotic) if not one.is_understood}
    assert unread == {"lot", "code", "side"}
    exotic = type("Exotic", (), {})()
    exotic.name, exotic.transaction = "exotic", Exotic
    shared = {"transaction_id": "t1", "timestamp": "2026-03-05T10:00:00Z", "amount": 1.0}
    rows = [
        shared | {"lot": 10.0, "code": "ünï", "side": "buy", "tries": "3"},
        shared | {"lot": 7.0, "code": "a", "side": "buy", "tries": 0},
        shared | {"lot": 5.0, "code": "a", "side": "short", "tries": 0},
        shared | {"lot": 5.0, "code": "a", "side": "sell", "tries": 2.5},
    ]
    verdict = check_transactions(exotic, pd.DataFrame(rows), NOW)
    assert verdict.accepted["tries"].tolist() == [3.0]
    assert verdict.quarantined["field"].tolist() == ["lot", "side", "tries"]
    assert "must be buy or sell" in verdict.quarantined["reason"][1]


# --- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": -5.0}, ["amount -5.0", "greater than or equal to 0"]),
        ({"amount": 12.345}, ["amount 12.345", "at most two decimals"]),
        ({"amount": math.inf}, ["amount inf", "finite number"]),
        ({"amount": "12,50"}, ["amount '12,50'", "plain number with a decimal point"]),
        ({"amount": GONE}, ["amount is missing", "Map a column or a constant"]),
        ({"user_id": "two words"}, ["user_id 'two words'", "pattern"]),
        ({"user_id": "x" * 5000}, ["user_id", "(5002 characters)", "50 characters"]),
        ({"card_present": "maybe"}, ["card_present 'maybe'", "yes or no, 1 or 0"]),
        ({"country": "usa"}, ["country 'usa'"]),
        ({"latitude": 91.0, "longitude": 0.0}, ["latitude 91.0", "less than or equal to 90"]),
        ({"latitude": 48.85}, ["longitude must be sent together with latitude"]),
        ({"longitude": 2.29}, ["longitude 2.29 must be sent together with latitude"]),
        ({"time_zone": "Mars/Base"}, ["time_zone 'Mars/Base'", "is not an IANA time zone"]),
        ({"timestamp": "05.03.2026"}, ["timestamp '05.03.2026'", "ISO 8601"]),
        ({"timestamp": "1999-12-31"}, ["must not lie before 2000-01-01"]),
        ({"timestamp": "2026-03-05T12:06:00Z"}, ["timestamp", "lies in the future"]),
        ({"timestamp": GONE}, ["timestamp is missing, and so is observed_at"]),
        ({"observed_at": "soon"}, ["observed_at 'soon'", "ISO 8601"]),
        ({"observed_at": "2026-03-05T10:20:00Z"}, ["timestamp", "lies after it was observed"]),
        ({"fraud_type": "ach"}, ["fraud_type 'ach'", "'credit_card'"]),
        ({"amount": -1.0, "user_id": ""}, ["amount -1.0", "Also wrong: user_id."]),
    ],
)
def test_a_reason_names_the_field_its_value_and_the_remedy(
    change: dict[str, Any], words: list[str]
) -> None:
    reason = refusal(**change)
    assert all(word in reason for word in words), reason
    assert len(reason) < 300


def test_five_minutes_ahead_is_a_clock_and_not_an_error() -> None:
    verdict = check_transactions(CREDIT_CARD, batch({"timestamp": "2026-03-05T12:05:00Z"}), NOW)
    assert len(verdict.accepted) == 1


def test_what_a_refused_row_said_is_kept() -> None:
    frame = batch({"amount": -1.0, "user_id": "a\0b", "merchant_id": None})
    (raw,) = check_transactions(CREDIT_CARD, frame, NOW).quarantined["raw"]
    assert raw["amount"] == -1.0
    assert raw["user_id"] == "a\0b"
    assert "merchant_id" not in raw


def test_accepted_rows_have_the_columns_of_the_log() -> None:
    verdict = check_transactions(CREDIT_CARD, batch({}, {"amount": -1.0}, {}), NOW)
    names = [name for name in arrow_schema(CREDIT_CARD, "events").names if name != "seq"]
    assert list(verdict.accepted.columns) == names
    assert verdict.accepted.index.tolist() == [0, 2]
    assert verdict.accepted["observed_at"].equals(verdict.accepted["event_time"])


def test_an_empty_batch_is_no_trouble() -> None:
    verdict = check_transactions(CREDIT_CARD, batch({}).iloc[:0], NOW)
    assert len(verdict.accepted) == len(verdict.quarantined) == 0


# --- coercion ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1.5", " 2 ", "1e3", "1,5", None, "nan"], "number", [1.5, 2.0, 1000.0, None, None, None]),
        ([1, 0, 2], "flag", [True, False, None]),
        (["Yes", "no", "TRUE", "0", "y"], "flag", [True, False, True, False, None]),
        ([7, 8], "text", ["7", "8"]),
        ([7.0, math.nan, 7.5], "text", ["7", None, None]),
        ([True, False], "text", [None, None]),
        ([True, False], "number", [None, None]),
        (["7", 8, 9.0, None, True, b"x"], "text", ["7", "8", "9", None, None, None]),
        ([10**20, 5], "text", [str(10**20), "5"]),
        ([1_700_000_000], "moment", [None]),
    ],
)
def test_cells_become_values_where_that_is_unambiguous(
    cells: list[Any], kind: Any, expected: list[Any]
) -> None:
    column = coerce(pd.Series(cells), kind)
    found = [column.cell(row) if column.is_typed[row] else None for row in range(len(cells))]
    assert found == expected


@pytest.mark.parametrize("dtype", ["category", "string", "string[pyarrow]", "object"])
def test_texts_of_every_dtype_are_texts(dtype: str) -> None:
    column = coerce(pd.Series(["12.5", None, "x"], dtype=dtype), "money")
    assert column.is_typed.tolist() == [True, False, False]
    assert column.is_null.tolist() == [False, True, False]
    assert column.values[0] == 12.5


def test_times_with_a_zone_become_utc() -> None:
    local = pd.Series(pd.to_datetime(["2026-03-05T10:00:00"])).dt.tz_localize("Europe/Paris")
    expected = to_us(dt.datetime(2026, 3, 5, 9, tzinfo=dt.UTC))
    assert coerce(local, "moment").values.tolist() == [expected]
    assert coerce(local.dt.tz_convert("UTC").dt.tz_localize(None), "moment").values[0] == expected


def test_a_million_rows_pass_in_seconds() -> None:
    size = 1_000_000
    frame = pd.DataFrame(
        {
            "transaction_id": np.arange(size),
            "timestamp": pd.date_range("2026-01-01", periods=size, freq="s", tz="UTC"),
            "amount": np.arange(size) % 10_000 / 100,
            "user_id": np.arange(size) % 5_000,
            "merchant_id": np.arange(size) % 9_000,
            "merchant_category": "grocery",
        }
    )
    begun = pd.Timestamp.now()
    verdict = check_transactions(CREDIT_CARD, frame, NOW)
    took_s = (pd.Timestamp.now() - begun).total_seconds()
    assert len(verdict.accepted) == size
    # 1.5 s where this was written; row by row it would be more than half a minute.
    assert took_s < 15
