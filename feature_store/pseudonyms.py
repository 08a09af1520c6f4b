"""Pseudonyms in whole frames: what the log holds in place of sensitive fields."""

import pandas as pd

from fraud.domain.fraud_type import FraudType
from fraud.security.encryption import FieldProtection


def hidden_frame(
    fraud_type: FraudType, frame: pd.DataFrame, protection: FieldProtection
) -> pd.DataFrame:
    """The frame with pseudonyms for what is sensitive, made once per different value."""
    columns = {}
    for name in protection.sensitive[fraud_type.name]:
        codes, values = pd.factorize(frame[name])
        pseudonyms = [protection.pseudonym(name, str(each)) for each in values]
        known = pd.Series(pseudonyms, dtype=frame[name].dtype).array
        columns[name] = known.take(codes, allow_fill=True)
    return frame.assign(**columns)
