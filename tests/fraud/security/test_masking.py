"""Card numbers are found however they are written, and little else is taken for one."""

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraud.security.masking import (
    _RUN,
    _may_hold_run,
    card_fields,
    holds_card_number,
    install_masking,
    masked,
    masked_record,
)

NUMBERS = {
    "4111111111111111": "411111******1111",  # Visa
    "4222222222222": "422222***2222",  # Visa, 13 digits
    "5555555555554444": "555555******4444",  # Mastercard
    "2223003122003222": "222300******3222",  # Mastercard, second series
    "378282246310005": "378282*****0005",  # American Express
    "30569309025904": "305693****5904",  # Diners Club
    "3530111333300000": "353011******0000",  # JCB
    "6011111111111117": "601111******1117",  # Discover
    "6304000000000000": "630400******0000",  # Maestro
    "6205500000000000004": "620550*********0004",  # UnionPay, 19 digits
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("separator", ["", " ", "-", ".", "_", "\u00a0", "\u2013", "%20", "+"])
def test_numbers_of_all_networks_are_masked_however_they_are_grouped(
    number: str, separator: str
) -> None:
    groups = [number[place : place + 4] for place in range(0, len(number), 4)]
    text = f"paid with {separator.join(groups)} today"
    assert holds_card_number(text)
    assert masked(text) == f"paid with {NUMBERS[number]} today"


@pytest.mark.parametrize("around", ["TXN_{}", "x{}y", "({})", '"{}"', "a 12 {} 34 b", "{},{}"])
def test_a_number_is_found_in_its_surroundings(around: str) -> None:
    number = "4111111111111111"
    shown = masked(around.format(number, number))
    assert number not in shown
    assert shown == around.format(NUMBERS[number], NUMBERS[number])


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # the check digit is wrong
        "1764000000000000",  # microseconds: no network begins with 1
        "20260115103000123",
        "41111111111111111111",  # 20 digits
        "192.168.100.100:51234",
        "550e8400-e29b-41d4-a716-446655440000",
        "01a206e8-6902-7878-9524-3f3775fa1b94",  # a UUID; 6902 7878 9524 3 passes as a number
        "411111******1111",
        "USER_000123",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert not holds_card_number(text)
    assert masked(text) == text


def test_digits_of_other_scripts_are_digits() -> None:
    assert masked("\uff14" + "1" * 15) == "411111******1111"


@pytest.mark.parametrize("text", ["cvv 123", "CVC2: 1234", '"cvv":"123"', "card security code=999"])
def test_named_codes_are_starred_out(text: str) -> None:
    shown = masked(text)
    assert "***" in shown
    assert not any(code in shown for code in ("123", "999"))


def test_a_record_is_masked_whatever_its_values_are() -> None:
    number = 4111111111111111
    record = {
        "n": number,
        "f": float(number),
        "cvv": 123,
        "in": [{"x": str(number)}],
        str(number): 1,
    }
    shown = masked_record(record)
    assert str(number) not in repr(shown)
    assert shown["cvv"] == "***"
    assert masked_record({"amount": 12.5, "ok": True, "none": None}) == {
        "amount": 12.5,
        "ok": True,
        "none": None,
    }


def test_fields_are_named_also_deep_inside() -> None:
    content = {"a": "4111111111111111", "b": [{"c": ["x", "5555-5555-5555-4444"]}], "d": "fine"}
    assert card_fields(content) == ["a", "b.0.c.1"]


@pytest.mark.parametrize("separator", ["", "-", " ", ".", "_", "--", " -", "%2D", "\u2010"])
@pytest.mark.parametrize("around", ["{}", "20261108_{}", "25.558607Z{}", "x{}-", "%{}", "a{}é"])
def test_the_quick_look_overlooks_nothing(around: str, separator: str) -> None:
    for number in ("4111111111111111", "378282246310005", "2200770239097761"):
        grouped = separator.join(number[place : place + 4] for place in range(0, len(number), 4))
        text = around.format(grouped)
        assert _RUN.search(text)
        assert _may_hold_run(text)
        assert holds_card_number(text)


def test_the_search_stays_linear() -> None:
    """Twice the text takes twice the time, give or take what else this machine does."""

    def took_s(text: str) -> float:
        started = time.process_time()
        masked(text)
        return time.process_time() - started

    for piece in ("4" * 20, "4 " * 10, "4111 " * 4):
        assert took_s(piece * 2_000) < 6 * took_s(piece * 1_000) + 0.1


@pytest.fixture
def masked_logs() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    install_masking()
    install_masking()  # twice is once
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("masked_logs")
def test_no_log_line_shows_a_card_number(tmp_path: Path) -> None:
    file = tmp_path / "log"
    handler = logging.FileHandler(file)
    log = logging.getLogger("tests.masking")
    log.addHandler(handler)
    try:
        log.warning("card %s, 100%% sure of %d", "4111111111111111", 3)
        try:
            raise ValueError("4111111111111111")
        except ValueError:
            log.exception("it broke")
            log.warning("again", exc_info=sys.exc_info())
    finally:
        log.removeHandler(handler)
        handler.close()
    text = file.read_text()
    assert "4111111111111111" not in text
    assert "card 411111******1111, 100% sure of 3" in text
    assert text.count("ValueError: 411111******1111") == 2
