"""Amounts as Stripe writes them, in the minor units of the platform's currency.

Integers in, integers out; a rate is a decimal fraction, and rounding happens once, half to even.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Self

from fraud.domain.errors import InvalidField, SettingsError

PLATFORM_DECIMALS = 2
"""Decimals of the platform's currency: what the ledger's DECIMAL(10,2) holds."""

ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905
)
"""Currencies whose `amount` is in major units.

ISK and UGX have no minor unit either, but Stripe kept writing them with two decimals.
"""

THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
"""Currencies with three decimals, of which Stripe wants the last one to be 0."""


def decimals(currency: str) -> int:
    """How many decimals the `amount` of a currency has at Stripe."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


@dataclass(frozen=True)
class Exchange:
    """Turns amounts of any known currency into the platform's.

    Attributes:
        currency: of the platform, ISO 4217 in small letters.
        rates: platform's major units per major unit of another currency.
    """

    currency: str
    rates: Mapping[str, Decimal] = field(default_factory=dict)

    @classmethod
    def parse(cls, currency: str, rates: str) -> Self:
        """From settings such as `usd` and `eur=1.08,jpy=0.0067`.

        Raises:
            SettingsError: a rate is not a positive number.
        """
        found: dict[str, Decimal] = {}
        for part in filter(None, (each.strip() for each in rates.split(","))):
            name, _, text = part.partition("=")
            try:
                rate = Decimal(text)
            except InvalidOperation:
                rate = Decimal(0)
            if not rate.is_finite() or rate <= 0 or len(name.strip()) != 3:
                raise SettingsError(
                    f"FRAUD_EXCHANGE_RATES has {part!r}.",
                    remedy="Write code=rate, e.g. eur=1.08,jpy=0.0067.",
                    field="exchange_rates",
                )
            found[name.strip().lower()] = rate
        return cls(currency, found)

    def to_platform_minor(self, amount: int, currency: str) -> int:
        """An amount as Stripe writes it, in minor units of the platform's currency.

        Raises:
            InvalidField: there is no rate for the currency.
        """
        shift = PLATFORM_DECIMALS - decimals(currency)
        if currency == self.currency and shift >= 0:
            return amount * (100 if shift == 2 else 1)
        rate = Decimal(1) if currency == self.currency else self.rates.get(currency)
        if rate is None:
            what = f"is {currency!r}, and the platform counts in {self.currency!r}"
            remedy = f"Add a rate to FRAUD_EXCHANGE_RATES, e.g. {currency}=1.1."
            raise InvalidField([("currency", what, remedy)])
        exact = Decimal(amount).scaleb(shift) * rate
        return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
