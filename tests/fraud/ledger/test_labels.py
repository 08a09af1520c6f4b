import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fraud.domain.label import Label
from fraud.ledger.labels import ROWS_PER_STATEMENT, labels_of, upsert_labels
from fraud.ledger.pool import transaction
from tests.fraud.ledger.builders import NOON_US

LABEL = Label("tx-1", True, NOON_US, "chargeback")


@pytest.fixture
def url(new_ledger: Callable[[], str]) -> str:
    return new_ledger()


def store(url: str, *labels: Label, observed_at_us: int = NOON_US, of: str = "credit_card") -> int:
    with transaction(url) as cursor:
        return upsert_labels(cursor, of, labels, observed_at_us)


def rows(url: str, what: str) -> list[tuple[Any, ...]]:
    with transaction(url) as cursor:
        cursor.execute(f"SELECT {what} FROM labels ORDER BY seq")
        return cursor.fetchall()


def test_a_label_comes_back_as_it_was(url: str) -> None:
    assert store(url, LABEL) == 1
    with transaction(url) as cursor:
        assert list(labels_of(cursor, ["tx-1", "tx-2"])) == [LABEL]


def test_the_same_label_again_changes_nothing(url: str) -> None:
    store(url, LABEL)
    before = rows(url, "*")
    assert store(url, LABEL, LABEL, observed_at_us=NOON_US + 10) == 0
    assert rows(url, "*") == before


def test_a_changed_verdict_counts_from_when_it_was_seen(url: str) -> None:
    store(url, LABEL)
    assert store(url, dataclasses.replace(LABEL, is_fraud=False), observed_at_us=NOON_US + 10) == 1
    assert rows(url, "is_fraud, seq") == [(False, NOON_US + 10)]


def test_reports_from_several_sources_stand_beside_each_other(url: str) -> None:
    later = dataclasses.replace(LABEL, reported_at_us=NOON_US + 1, source="analyst", is_fraud=False)
    assert store(url, LABEL, later) == 2
    with transaction(url) as cursor:
        assert list(labels_of(cursor, ["tx-1"])) == [LABEL, later]


def test_observation_numbers_rise_even_if_the_clock_does_not(url: str) -> None:
    labels = [dataclasses.replace(LABEL, transaction_id=f"tx-{n}") for n in range(4)]
    store(url, *labels[:2])
    store(url, *labels[2:], observed_at_us=NOON_US - 5)  # a clock that was set back
    found = rows(url, "transaction_id, seq")
    assert found == [(f"tx-{n}", NOON_US + n) for n in range(4)]


def test_many_labels_in_pieces(url: str) -> None:
    count = ROWS_PER_STATEMENT + 5  # one more statement than one
    labels = [dataclasses.replace(LABEL, transaction_id=f"tx-{n}") for n in range(count)]
    assert store(url, *labels) == count
    assert [row[0] for row in rows(url, "seq")] == list(range(NOON_US, NOON_US + count))


def test_writers_at_the_same_time_never_share_a_number(url: str) -> None:
    def work(writer: int) -> None:
        for n in range(10):
            store(url, dataclasses.replace(LABEL, transaction_id=f"tx-{writer}-{n}"))

    workers = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [row[0] for row in rows(url, "seq")] == list(range(NOON_US, NOON_US + 40))
