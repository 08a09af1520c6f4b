"""The stack's own ceiling: a BentoML service with our request schema and nothing behind it."""

from typing import Any

import bentoml

from fraud.types.credit_card import CreditCardTransaction


@bentoml.service(
    name="echo",
    metrics={"enabled": False, "namespace": "bentoml_service"},
    logging={"access": {"enabled": False}},
)
class Echo:
    """Checks a transaction and gives it back."""

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, transaction: CreditCardTransaction, /) -> dict[str, Any]:
        """The transaction as it was understood."""
        return transaction.model_dump(mode="json")
