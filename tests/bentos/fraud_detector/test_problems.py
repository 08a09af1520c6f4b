"""Every error of the platform as the problem a caller gets."""

import json

import pytest

from bentos.fraud_detector.problems import MEDIA_TYPE, TITLES, Problem, problem_of
from fraud.domain.errors import (
    BundleError,
    ContractError,
    DuplicateConflict,
    Forbidden,
    FraudError,
    InvalidField,
    LedgerUnavailable,
    MalformedInput,
    ModelUnavailable,
    NotFound,
    Overloaded,
    SettingsError,
    Unauthenticated,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedInput("x"), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (DuplicateConflict("x"), 409),
        (InvalidField([("amount", "is odd", "Send an even one.")]), 422),
        (Overloaded("x"), 429),
        (LedgerUnavailable("x"), 503),
        (ModelUnavailable("x"), 503),
    ],
)
def test_each_error_means_one_status(error: FraudError, status: int) -> None:
    assert problem_of(error).status == status


@pytest.mark.parametrize("error", [ModelUnavailable("x", retry_after_s=5), Overloaded("x")])
def test_who_may_come_back_is_told_when(error: ModelUnavailable | Overloaded) -> None:
    assert problem_of(error).headers["retry-after"] == str(error.retry_after_s)


@pytest.mark.parametrize(
    "error", [ContractError("secret"), BundleError("secret"), SettingsError("secret")]
)
def test_faults_of_ours_say_nothing_of_themselves(error: FraudError) -> None:
    problem = problem_of(error)
    assert problem.status == 500
    assert "secret" not in json.dumps(problem.body())


def test_the_body_has_the_members_of_rfc_9457() -> None:
    error = InvalidField([("amount", "is odd", "Send an even one."), ("b", "c", "d")])
    response = problem_of(error).response("/predict")
    assert response.media_type == MEDIA_TYPE == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:fraud-platform:problem:invalid-field",
        "title": TITLES["invalid-field"][1],
        "status": 422,
        "detail": "amount: is odd (and 1 more). Send an even one.",
        "instance": "/predict",
        "errors": [
            {"field": "amount", "problem": "is odd", "remedy": "Send an even one."},
            {"field": "b", "problem": "c", "remedy": "d"},
        ],
    }


def test_what_callers_sent_comes_back_short_and_printable() -> None:
    name = "a\r\nlevel=fatal \ud800" + "x" * 10_000
    body = Problem("invalid-field", name, ((name, name, "Stop."),)).body(instance=name)
    text = json.dumps(body, ensure_ascii=False)
    text.encode()  # no half surrogates
    assert "\\r" not in text
    assert len(text) < 2500
