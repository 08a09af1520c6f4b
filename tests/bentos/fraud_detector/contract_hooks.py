"""What the contract test must know beyond the schema; read by schemathesis, not by pytest.

JSON Schema has no bounds for times: that a timestamp lies between 2000 and now stands in the
field's description. Nor has it a name for time zones. Generated values are therefore such as
the descriptions ask for; others have tests of their own (test_refusals.py).
"""

import datetime as dt

import schemathesis
from hypothesis import strategies as st

TIMES = st.datetimes(dt.datetime(2000, 1, 2), dt.datetime(2026, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.isoformat() + "Z"
)

schemathesis.openapi.format("date-time", TIMES)
schemathesis.openapi.format(
    "iana-time-zone", st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "America/New_York"])
)
