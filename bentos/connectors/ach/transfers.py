"""An ACH entry as a transaction, and the names that stand for accounts in it."""

import csv
import datetime as dt
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bentos.connectors.ach.file import AchFile, Batch
from bentos.connectors.ach.records import Entry, FileHeader
from bentos.connectors.ach.windows import EASTERN, EXCLUDED, SAME_DAY_LIMIT_MINOR
from fraud.domain.errors import InvalidField, MalformedInput
from fraud.security.secret_files import generated_secret
from fraud.settings import Settings

SAME_DAY_MARK = "SD"
ID_PREFIX = "ACH"
FIRST_SUFFIX, LAST_SUFFIX = "00000000000", "9999999999Z"
"""Bounds of what follows a trace number in an id: date, time and modifier of its file."""

_BALANCE_COLUMNS = ("routing_number", "account_number", "balance")


class Accounts:
    """Names accounts by a keyed hash, so that their numbers stay in the file.

    Args:
        key: secret; with another one every account has another name, and no history.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the key in `<run_dir>/secrets/ach-account-key`, made where there is none.

        Raises:
            SettingsError: it is too short, or readable by others.
        """
        return cls(generated_secret(settings.secrets_dir / "ach-account-key"))

    def name(self, routing: str, account: str) -> str:
        """`acct_` and 128 bits of HMAC-SHA-256."""
        number = "".join(account.split()).replace("-", "")
        return f"acct_{hmac.digest(self._key, f'{routing} {number}'.encode(), 'sha256').hex()[:32]}"


@dataclass(frozen=True)
class Balances:
    """What is on accounts before the file is carried out, in major units, by account name."""

    by_account: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, accounts: Accounts) -> Self:
        """From a CSV file with the columns routing_number, account_number and balance.

        Raises:
            MalformedInput: a column is missing, or a balance is no number.
        """
        found: dict[str, float] = {}
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not set(_BALANCE_COLUMNS) <= set(rows.fieldnames or ()):
                raise MalformedInput(
                    f"{path} lacks one of the columns {', '.join(_BALANCE_COLUMNS)}.",
                    remedy="Name them in its first line.",
                )
            for row in rows:
                try:
                    balance = float(row["balance"])
                except ValueError:
                    raise MalformedInput(
                        f"Line {rows.line_num} of {path} has the balance {row['balance']!r}.",
                        remedy="Write major units, e.g. 1250.00.",
                    ) from None
                found[accounts.name(row["routing_number"], row["account_number"])] = balance
        return cls(found)


def transaction_of(
    file: AchFile, batch: Batch, entry: Entry, accounts: Accounts, balances: Balances
) -> dict[str, object]:
    """The body of `/batch-predict` for an entry.

    The originator's own account does not stand in a file: it is named after bank and company.
    What the entry is compared with, its history, is the platform's: see docs/features.md.
    """
    header = batch.header
    own = accounts.name(header.odfi, header.company_id)
    other = accounts.name(entry.routing, entry.account)
    sender, receiver = (other, own) if entry.direction == "debit" else (own, other)
    found: dict[str, object | None] = {
        "fraud_type": "ach",
        "transaction_id": transaction_id(file.header, entry),
        "timestamp": created(file.header).isoformat(),
        "amount": entry.amount_minor / 100.0,
        "user_id": "_".join(header.company_id.split()),
        "sender_id": sender,
        "receiver_id": receiver,
        "sec_code": header.sec_code,
        "direction": entry.direction,
        "same_day": is_same_day(file.header, batch, entry),
        "sender_balance": balances.by_account.get(sender),
        "receiver_balance": balances.by_account.get(receiver),
    }
    return {name: value for name, value in found.items() if value is not None}


def transaction_id(header: FileHeader, entry: Entry) -> str:
    """Trace numbers begin again with every file, so it takes the file's identity as well."""
    minute = header.created_at.strip() or "0000"
    return f"{trace_prefix(entry.trace)}{header.created_on}{minute}{header.modifier.strip() or '0'}"


def trace_prefix(trace: str) -> str:
    """How the ids of all entries with a trace number begin."""
    return f"{ID_PREFIX}_{trace}_"


def created(header: FileHeader) -> dt.datetime:
    """When the file says it was made; files carry Eastern time.

    Raises:
        InvalidField: it is no time.
    """
    text = header.created_on + (header.created_at.strip() or "0000")
    try:
        return dt.datetime.strptime(text, "%y%m%d%H%M").replace(tzinfo=EASTERN)
    except ValueError:
        what = f"is {text!r}"
        raise InvalidField(
            [("file creation date", what, "Write YYMMDD and HHMM in the file header.")]
        ) from None


def is_same_day(header: FileHeader, batch: Batch, entry: Entry) -> bool:
    """Whether an entry is to settle on the day of its file, and may."""
    wants = batch.header.descriptive_date.startswith(SAME_DAY_MARK)
    effective = batch.header.effective_on
    wants = wants or (effective.isdigit() and effective <= header.created_on)
    is_small = entry.amount_minor <= SAME_DAY_LIMIT_MINOR
    return wants and is_small and batch.header.sec_code not in EXCLUDED
