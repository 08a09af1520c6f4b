"""Calls to Stripe's API: retried, idempotent, and with errors of our own tree."""

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import stripe
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from bentos.connectors.stripe.payments import EXPAND, Merchant
from fraud.domain.errors import (
    NotFound,
    PartnerUnavailable,
    RefusedByPartner,
    SettingsError,
)

T = TypeVar("T")

TIMEOUT_S = 10.0
NETWORK_RETRIES = 2
"""Retries of Stripe's library, with its own backoff: broken connections, 409 and 5xx."""

RATE_LIMIT_ATTEMPTS = 4
"""Attempts after a 429, which that library leaves to its callers."""

LONGEST_PAUSE_S = 4.0

_AWAY = (stripe.RateLimitError, stripe.APIConnectionError, stripe.APIError)


class StripeGateway:
    """One Stripe account.

    Args:
        api_key: a restricted key with write access to PaymentIntents will do.
        api_base: address of the API.
        http_client: carries the requests; the library's own unless given.
    """

    def __init__(
        self,
        api_key: str,
        api_base: str,
        http_client: stripe.HTTPClient | None = None,
    ) -> None:
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base},
            max_network_retries=NETWORK_RETRIES,
            http_client=http_client or stripe.RequestsClient(timeout=TIMEOUT_S),
        )
        self._retrying = Retrying(
            retry=retry_if_exception(_is_rate_limit),
            stop=stop_after_attempt(RATE_LIMIT_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_S),
            reraise=True,
        )

    @cached_property
    def merchant(self) -> Merchant:
        """The account the key belongs to; asked for once."""
        account = self._call(self._client.v1.accounts.retrieve_current)
        return Merchant(account.id, account.country or "")

    def payment(self, intent_id: str) -> stripe.PaymentIntent:
        """A PaymentIntent with its latest charge and payment method.

        Raises:
            NotFound: there is none of this id.
            PartnerUnavailable: Stripe does not answer.
            SettingsError: the key is not accepted.
        """
        return self._call(
            lambda: self._client.v1.payment_intents.retrieve(intent_id, {"expand": [*EXPAND]})
        )

    def flag(self, intent_id: str, metadata: dict[str, str], key: str) -> None:
        """Write metadata; `key` makes a repetition do nothing. Errors as in `payment`."""
        self._call(
            lambda: self._client.v1.payment_intents.update(
                intent_id, {"metadata": metadata}, {"idempotency_key": key}
            )
        )

    def cancel(self, intent_id: str, key: str) -> None:
        """Cancel as fraudulent: money that was held is free again. Errors as in `payment`."""
        self._call(
            lambda: self._client.v1.payment_intents.cancel(
                intent_id, {"cancellation_reason": "fraudulent"}, {"idempotency_key": key}
            )
        )

    def capture(self, intent_id: str, key: str) -> None:
        """Take the money that is held. Errors as in `payment`."""
        self._call(
            lambda: self._client.v1.payment_intents.capture(intent_id, {}, {"idempotency_key": key})
        )

    def _call(self, request: Callable[[], T]) -> T:
        answer: T = self._retrying(_translated, request)
        return answer


def _is_rate_limit(error: BaseException) -> bool:
    return isinstance(error.__cause__, stripe.RateLimitError)


def _translated(request: Callable[[], T]) -> T:
    try:
        return request()
    except _AWAY as error:
        raise PartnerUnavailable(
            f"Stripe does not answer: {type(error).__name__}.",
            remedy="Try again; nothing is done twice.",
            retry_after_s=5,
        ) from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise SettingsError(
            f"Stripe does not accept the key: {error.user_message}",
            remedy="Set FRAUD_STRIPE_API_KEY to a key that may write PaymentIntents.",
            field="stripe_api_key",
        ) from error
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            raise NotFound(
                f"Stripe knows no such payment: {error.user_message}",
                remedy="Check the id, and that key and payment are both live or both test.",
            ) from error
        raise _refused(error) from error
    except stripe.StripeError as error:
        raise _refused(error) from error


def _refused(error: stripe.StripeError) -> RefusedByPartner:
    return RefusedByPartner(
        f"Stripe refuses: {error.user_message or error}",
        remedy="Look at the payment in Stripe's dashboard.",
    )
