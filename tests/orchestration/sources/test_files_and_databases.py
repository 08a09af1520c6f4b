import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from fraud.domain.errors import FraudError, InputError, InvalidField, MalformedInput, NotFound
from fraud.ledger.engine import sqlalchemy_url
from fraud.types.credit_card import CreditCardTransaction
from orchestration.sources.batch import Batch, Source
from orchestration.sources.coercion import coerce
from orchestration.sources.database import DatabaseSource
from orchestration.sources.files import FileSource
from orchestration.sources.mapping import Mapping, load_mapping

MAP = """
transaction:
  transaction_id: ID
  timestamp: WHEN
  amount: PRICE
  user_id: CARD
  merchant_id: SHOP
  merchant_category: {constant: grocery}
"""
LABELLED = (
    MAP
    + """
label:
  is_fraud: BAD
  report_delay: 2d
"""
)
ROWS = pd.DataFrame(
    {
        "ID": [1, 2, 3],
        "WHEN": pd.to_datetime(["2026-03-05 10:00", "2026-03-05 11:00", "2026-03-06 09:00"]),
        "PRICE": [12.5, 3.0, 99.99],
        "CARD": [7, 8, 7],
        "SHOP": ["a", "b", "a"],
        "BAD": [0, 1, 0],
        "EXTRA": ["x", "y", "z"],
    }
)


@pytest.fixture
def mapping(tmp_path: Path) -> Callable[[str], Mapping]:
    def load(text: str) -> Mapping:
        path = tmp_path / "map.yaml"
        path.write_text(text)
        return load_mapping(path, CreditCardTransaction)

    return load


def csv(tmp_path: Path, text: str, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def only(source: Source) -> Batch:
    (batch,) = source.batches()
    return batch


def moments(column: pd.Series) -> list[str]:
    us = coerce(column, "moment").values
    return [str(moment) for moment in pd.to_datetime(us, unit="us")]


# --- files -------------------------------------------------------------------------------------


def test_parquet_and_csv_of_the_same_rows_are_the_same(
    tmp_path: Path, mapping: Callable[[str], Mapping]
) -> None:
    ROWS.to_parquet(tmp_path / "rows.parquet")
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    ROWS.to_csv(tmp_path / "rows.tsv.gz", index=False, sep="\t")
    seen = []
    for name in ("rows.parquet", "rows.csv", "rows.tsv.gz"):
        batch = only(FileSource(tmp_path / name, mapping(LABELLED)))
        assert batch.transactions.index.tolist() == [1, 2, 3]
        assert batch.labels.index.tolist() == [2], "0 is silence, not a verdict"
        texts = coerce(batch.transactions["user_id"], "text").values.to_pylist()
        amounts = coerce(batch.transactions["amount"], "money").values.tolist()
        reported = moments(batch.labels["reported_at"])
        seen.append((texts, amounts, moments(batch.transactions["timestamp"]), reported))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0] == ["7", "8", "7"]
    assert seen[0][3] == ["2026-03-07 11:00:00"]


def test_a_row_that_cannot_be_split_is_set_aside_and_the_others_keep_their_numbers(
    tmp_path: Path, mapping: Callable[[str], Mapping]
) -> None:
    text = "ID,WHEN,PRICE,CARD,SHOP\n1,2026-03-05,1,7,a\n2,oops\n3,2026-03-05,1,7,a,b,c\n"
    batch = only(FileSource(csv(tmp_path, text + "4,2026-03-05,1,7,a\n"), mapping(MAP)))
    assert batch.transactions.index.tolist() == [1, 4]
    assert [(row.row_number, row.text) for row in batch.broken] == [
        (2, "2,oops"),
        (3, "3,2026-03-05,1,7,a,b,c"),
    ]
    assert "2 cells where 5 are expected" in batch.broken[0].reason


def test_a_file_of_broken_rows_alone_is_still_told(
    tmp_path: Path, mapping: Callable[[str], Mapping]
) -> None:
    batches = list(
        FileSource(csv(tmp_path, "ID,WHEN,PRICE,CARD,SHOP\n1\n2\n"), mapping(MAP)).batches()
    )
    assert sum(len(batch.transactions) for batch in batches) == 0
    assert [row.row_number for batch in batches for row in batch.broken] == [1, 2]


def test_large_files_come_in_pieces_numbered_through(
    tmp_path: Path, mapping: Callable[[str], Mapping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.sources.files.PIECE_ROWS", 2)
    ROWS.to_parquet(tmp_path / "rows.parquet")
    source = FileSource(tmp_path / "rows.parquet", mapping(MAP))
    assert source.size == 3
    assert [batch.transactions.index.tolist() for batch in source.batches()] == [[1, 2], [3]]


def test_local_times_become_utc_also_where_the_clock_goes_back(
    tmp_path: Path, mapping: Callable[[str], Mapping]
) -> None:
    text = "ID,WHEN,PRICE,CARD,SHOP\n" + "".join(
        f"{number},{when},1,7,a\n"
        for number, when in enumerate(
            [
                "2026-07-01 12:00:00",
                "2026-10-25 02:30:00",  # lived twice: the second time is meant
                "2026-03-29 02:30:00",  # does not exist: three o'clock
                "2026-07-01T12:00:00Z",
                "soon",
            ]
        )
    )
    source = FileSource(csv(tmp_path, text), mapping("time_zone: Europe/Paris" + MAP))
    column = only(source).transactions["timestamp"]
    assert moments(column)[:4] == [
        "2026-07-01 10:00:00",
        "2026-10-25 01:30:00",
        "2026-03-29 01:00:00",
        "2026-07-01 12:00:00",
    ]
    assert column.iloc[4] == "soon"


def test_values_can_be_renamed_divided_and_read_as_epochs(
    tmp_path: Path, mapping: Callable[[str], Mapping]
) -> None:
    text = "ID;T;CENTS;CARD;SHOP;HOW\n1;1772704800;1250;7;a;1\n2;x;x;7;a;9\n"
    rules = """
delimiter: ";"
transaction:
  transaction_id: ID
  timestamp: {column: T, epoch: s}
  amount: {column: CENTS, divide_by: 100}
  user_id: CARD
  merchant_id: SHOP
  merchant_category: {constant: fuel}
  card_present: {column: HOW, map: {1: true, 2: false}}
"""
    rows = only(FileSource(csv(tmp_path, text), mapping(rules))).transactions
    assert moments(rows["timestamp"][:1]) == ["2026-03-05 10:00:00"]
    assert rows["amount"].tolist() == [12.5, "x"]
    assert rows["card_present"].tolist() == [True, "9"], "what the map does not name stays"
    assert rows["timestamp"].iloc[1] == "x"


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("gone.csv", None, NotFound, "no file"),
        ("rows.xlsx", b"", MalformedInput, "neither CSV nor Parquet"),
        ("rows.parquet", b"not parquet", MalformedInput, "cannot be read"),
        ("rows.csv", b"", MalformedInput, "cannot be read"),
        ("rows.csv", b"ID,WHEN,PRICE\n1,2,3\n", InvalidField, "CARD: the mapping names"),
        ("rows.csv", b"ID,WHEN,PRICE,CARD,SHOP\n\xff,1,1,1,1\n", MalformedInput, "UTF8"),
    ],
)
def test_unusable_files_get_one_sentence(
    tmp_path: Path,
    mapping: Callable[[str], Mapping],
    name: str,
    content: bytes | None,
    kind: type[FraudError],
    words: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=words) as caught:
        list(FileSource(tmp_path / name, mapping(MAP)).batches())
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


# --- mappings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("transaction: [", "not valid YAML"),
        ("just text", "wrong at the whole file"),
        ("{}", "wrong at transaction"),
        (MAP + "  mechant_id: X\n", "mechant_id: is not a field.*Did you mean merchant_id"),
        (MAP.replace("  amount: PRICE\n", ""), "amount: is required, and map.yaml maps nothing"),
        (MAP.replace("  timestamp: WHEN\n", ""), "timestamp: is missing"),
        (MAP + "time_zone: Mars/Olympus\n", "no time zone 'Mars/Olympus'"),
        (MAP + "  country: {column: A, constant: B}\n", "either a column or a constant"),
        (MAP + "  used_chip: {column: A, map: {yes: true}}\n", "quote the keys"),
        (MAP + "label: {is_fraud: BAD}\n", "either reported_at or report_delay"),
        (MAP + "label: {is_fraud: BAD, report_delay: soon}\n", "'soon' is not a duration"),
    ],
)
def test_unusable_mappings_get_one_sentence(
    mapping: Callable[[str], Mapping], text: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        mapping(text)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.yaml cannot be read"):
        load_mapping(tmp_path / "gone.yaml", CreditCardTransaction)


# --- databases ---------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the rows in a table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shop.db'}"
    else:
        url = sqlalchemy_url(request.getfixturevalue("ledger_url"))
    engine = sa.create_engine(url)
    ROWS.to_sql("sales", engine, index=False, if_exists="replace")
    engine.dispose()
    return url


def test_tables_and_queries_yield_the_same_rows(
    database: str, mapping: Callable[[str], Mapping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.sources.database.PIECE_ROWS", 2)
    for origin in ({"table": "sales"}, {"query": 'SELECT * FROM sales ORDER BY "ID"'}):
        batches = list(DatabaseSource(database, mapping(LABELLED), **origin).batches())
        assert [batch.transactions.index.tolist() for batch in batches] == [[1, 2], [3]]
        rows = pd.concat(batch.transactions for batch in batches)
        assert coerce(rows["transaction_id"], "text").values.to_pylist() == ["1", "2", "3"]
        assert moments(rows["timestamp"])[2] == "2026-03-06 09:00:00"
        assert sum(len(batch.labels) for batch in batches) == 1


def test_days_far_from_those_wanted_are_not_read(
    database: str, mapping: Callable[[str], Mapping]
) -> None:
    source = DatabaseSource(database, mapping(MAP), table="sales")
    later = list(source.batches(dt.date(2026, 3, 9), dt.date(2026, 3, 9)))
    assert later == []
    near = list(source.batches(dt.date(2026, 3, 7), dt.date(2026, 3, 7)))
    assert [batch.transactions.index.tolist() for batch in near] == [[1]], "within a day of it"


@pytest.mark.parametrize(
    ("url", "origin", "words"),
    [
        ("nonsense", {"table": "sales"}, "URL cannot be read"),
        ("sqlite:///:memory:", {"table": "a", "query": "b"}, "needs a table or a query"),
        ("sqlite:///:memory:", {"table": "gone"}, "refused gone"),
        ("sqlite:///:memory:", {"query": "SELEKT 1"}, "refused query"),
        ("postgresql+psycopg2://u:secret@127.0.0.1:1/x", {"table": "t"}, r"u:\*\*\*@127"),
    ],
)
def test_unusable_databases_get_one_sentence(
    mapping: Callable[[str], Mapping], url: str, origin: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        list(DatabaseSource(url, mapping(MAP), **origin).batches())
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
