"""Webhooks: signed, tried again with pauses, given up in the end, and easy to receive."""

import datetime as dt
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from bentos.stream.endpoints import read_endpoints
from bentos.stream.sinks.webhooks import WebhookSink
from fraud.domain.errors import SettingsError, SinkUnavailable
from fraud.ledger.deliveries import Message
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC
from tests.bentos.stream.places import WebhookPlace

NOON = dt.datetime(2026, 9, 22, 12, tzinfo=dt.UTC)
PAGE = Path(__file__).resolve().parents[3] / "docs" / "relay.md"


def a_message(number: int, key: str = "user-1", topic: str = RESULTS_TOPIC) -> Message:
    return Message(number, topic, key, f'{{"transaction_id": "tx-{number}"}}', NOON)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[WebhookPlace]:
    made = WebhookPlace(tmp_path)
    yield made
    made.close()


@pytest.fixture
def new_sink(place: WebhookPlace) -> Iterator[Callable[..., WebhookSink]]:
    sinks: list[WebhookSink] = []

    def make(stop: threading.Event | None = None, **changes: object) -> WebhookSink:
        [endpoint] = read_endpoints(place.folder / "webhooks.yaml")
        sinks.append(WebhookSink(endpoint.model_copy(update=changes), stop or threading.Event()))
        return sinks[-1]

    yield make
    for each in sinks:
        each.close()


def test_a_message_says_what_when_and_about_whom(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    assert new_sink().deliver([a_message(7)]) == []
    assert place.requests == [
        {
            "type": "decision.made",
            "timestamp": "2026-09-22T12:00:00Z",
            "data": {"transaction_id": "tx-7"},
            "message_id": 7,
        }
    ]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink], status: int
) -> None:
    answers = iter([(status, {}), (status, {})])
    place.trouble = lambda: next(answers, None)
    assert new_sink().deliver([a_message(1), a_message(2)]) == []
    assert [each.message_id for each in place.told()] == [1, 2]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 413, 422])
def test_what_will_not_pass_is_refused_at_once(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink], status: int
) -> None:
    answers = iter([(status, {})])
    place.trouble = lambda: next(answers, None)
    [refusal] = new_sink().deliver([a_message(1), a_message(2)])
    assert (refusal.message.outbox_id, refusal.attempts) == (1, 1)
    assert f"HTTP {status}" in refusal.reason
    assert [each.message_id for each in place.told()] == [2]


def test_a_message_is_given_up_after_its_last_try(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    tries: list[float] = []

    def fail() -> tuple[int, dict[str, str]]:
        tries.append(time.monotonic())
        return 503, {}

    place.trouble = fail
    [refusal] = new_sink(attempts=4).deliver([a_message(1)])
    assert len(tries) == refusal.attempts == 4
    assert "HTTP 503" in refusal.reason


def test_the_receiver_says_how_long_to_wait(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    answers = iter([(429, {"retry-after": "1"})])
    place.trouble = lambda: next(answers, None)
    began = time.monotonic()
    assert new_sink().deliver([a_message(1)]) == []
    assert time.monotonic() - began >= 1.0  # our own first pause is 0.02 s at most


def test_nobody_there_is_tried_again_until_somebody_is(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    place.go()
    threading.Timer(0.3, place.come_back).start()
    assert new_sink().deliver([a_message(1)]) == []
    assert [each.message_id for each in place.told()] == [1]


def test_keys_go_side_by_side_and_each_in_its_order(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    messages = [a_message(number, f"user-{number % 3}") for number in range(30)]
    answers = iter([(503, {"retry-after": "1"})])  # one key waits, the others go on
    place.trouble = lambda: next(answers, None)
    assert new_sink().deliver(messages) == []
    told = [each.message_id for each in place.told()]
    for key in range(3):
        assert [number for number in told if number % 3 == key] == list(range(key, 30, 3))
    assert told != sorted(told)


def test_only_the_topics_that_were_asked_for_are_sent(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    sink = new_sink(topics=frozenset({ERASURES_TOPIC}))
    assert sink.deliver([a_message(1), a_message(2, topic=ERASURES_TOPIC)]) == []
    assert [each["type"] for each in place.requests] == ["transactions.erased"]


def test_while_a_secret_changes_both_verify(place: WebhookPlace, tmp_path: Path) -> None:
    old, new = place.secret, "whsec_" + "bmV3" * 8
    (tmp_path / "secret").write_text(f"{new}\n{old}\n")
    for place.secret in (old, new):
        [endpoint] = read_endpoints(tmp_path / "webhooks.yaml")
        sink = WebhookSink(endpoint, threading.Event())
        assert sink.deliver([a_message(1)]) == []
        sink.close()
    assert len(place.requests) == 2


def test_the_end_of_the_relay_ends_its_pauses_without_giving_up(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink]
) -> None:
    stop = threading.Event()

    def fail() -> tuple[int, dict[str, str]]:
        stop.set()
        return 503, {"retry-after": "60"}

    place.trouble = fail
    with pytest.raises(SinkUnavailable, match="relay ends"):
        new_sink(stop).deliver([a_message(1)])


def test_the_receiver_of_the_documentation_receives(
    place: WebhookPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [source] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "case-desk.secret").write_text(place.secret + "\n")
    monkeypatch.chdir(tmp_path)
    said: list[object] = []
    scope = {"print": lambda *words: said.append(words)}
    exec(compile(source, str(PAGE), "exec"), scope)
    client = TestClient(scope["app"])  # type: ignore[arg-type]
    body = '{"type": "decision.made", "data": {"transaction_id": "tx-1"}}'
    now = dt.datetime.now(dt.UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(place.secret).sign("msg_1", now, body),
    }
    for _ in range(2):
        assert client.post("/fraud", content=body, headers=headers).status_code == 204
    assert said == [("decision.made", {"transaction_id": "tx-1"})]
    forged = {**headers, "webhook-id": "msg_2"}
    assert client.post("/fraud", content=body, headers=forged).status_code == 401


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("endpoints: [{name: a, secret_file: s}]", "endpoints.0.url"),
        ("endpoints: [{name: a, url: 'http://example.com', secret_file: s}]", "https"),
        ("endpoints: [{name: a/b, url: 'https://x', secret_file: s}]", "endpoints.0.name"),
        ("endpoints: [{name: a, url: 'https://x', secret_file: s, retries: 3}]", "retries"),
        ("endpoints: [", "cannot be read"),
        (
            "endpoints: [{name: a, url: 'https://x', secret_file: s},"
            " {name: a, url: 'https://y', secret_file: s}]",
            "twice",
        ),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "webhooks.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=what):
        read_endpoints(path)


@pytest.mark.parametrize("secret", ["", "whsec_c2hvcnQ=", "c2VjcmV0" * 5, "whsec_no base64!"])
def test_a_secret_that_is_none_is_refused(
    place: WebhookPlace, new_sink: Callable[..., WebhookSink], secret: str
) -> None:
    (place.folder / "secret").write_text(secret)
    with pytest.raises(SettingsError, match="secret_file of webhook 'partner'") as caught:
        new_sink()
    assert not secret or secret not in str(caught.value)
