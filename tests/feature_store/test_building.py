"""Frames built in parts equal the frame built in memory, and stay within their budget."""

import datetime as dt
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_store.build_steps import LocalEngine
from feature_store.building import Span, build_dataset
from feature_store.dataset import FrameDataset
from feature_store.lake import Lake
from feature_store.partitions import BASE_BYTES, MB
from feature_store.schema import from_arrow
from fraud.domain.errors import ContractError, NotFound, SettingsError
from fraud.domain.event import from_us
from fraud.types.credit_card import CREDIT_CARD
from tests.feature_store.lakes import a_plain_lake, an_adversarial_lake, in_memory
from tests.feature_store.worlds import DAY, START

ROOT = Path(__file__).parents[2]


@dataclass
class ManyParts(LocalEngine):
    """An engine for which even a small log is cut."""

    parallelism: int = 7


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return an_adversarial_lake(str(tmp_path_factory.mktemp("lake")))


@pytest.mark.parametrize("parts", [1, 2, 7, 50])
def test_a_frame_built_in_parts_equals_the_frame_built_in_memory(
    lake: Lake, tmp_path: Path, parts: int
) -> None:
    info = build_dataset(CREDIT_CARD, lake.url, str(tmp_path), engine=ManyParts(parts))
    wanted = in_memory(lake)
    assert FrameDataset(str(tmp_path)).frame().equals(wanted)
    assert (info.rows, len(info.part_rows)) == (len(wanted), min(parts, 40))
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith("part-")}
    assert names == {"_info.json", "_labels.parquet"}, "nothing is left of the steps"


def test_the_parts_hold_values_that_differ_between_entities(lake: Lake) -> None:
    """Otherwise equal frames would say little."""
    frame = in_memory(lake)
    moving = (frame[list(CREDIT_CARD.feature_names)].nunique() > 1).sum()
    assert moving > 0.8 * len(CREDIT_CARD.features)


@pytest.mark.parametrize(
    "span",
    [
        Span(as_of=from_us(START + 100 * DAY + 1)),
        Span(first=from_us(START + 60 * DAY).date()),
        Span(last=from_us(START + 60 * DAY).date(), as_of=from_us(START + 300 * DAY)),
    ],
    ids=["as_of", "from", "to"],
)
def test_a_span_of_the_log_is_what_was_known_of_it(lake: Lake, tmp_path: Path, span: Span) -> None:
    info = build_dataset(CREDIT_CARD, lake.url, str(tmp_path), span=span, engine=ManyParts())
    wanted = in_memory(lake, span)
    assert 0 < len(wanted) < len(in_memory(lake))
    assert FrameDataset(str(tmp_path)).frame().equals(wanted)
    assert span.as_of is None or info.cutoff == span.as_of


def test_log_frame_and_scratch_may_be_any_fsspec_url(tmp_path: Path) -> None:
    memory = f"memory://{tmp_path.name}"
    lake = an_adversarial_lake(f"{memory}/lake")
    wanted = in_memory(lake)
    scratch = tmp_path / "scratch"
    for out in (f"{memory}/out", f"file://{tmp_path}/out"):
        build_dataset(
            *(CREDIT_CARD, lake.url, out),
            engine=ManyParts(3),
            scratch_url=scratch.as_uri() if "file" in out else f"{memory}/scratch",
        )
        assert FrameDataset(out).frame().equals(wanted)
    assert list(scratch.iterdir()) == []


def test_other_readers_of_parquet_take_the_folder_as_it_is(lake: Lake, tmp_path: Path) -> None:
    build_dataset(CREDIT_CARD, lake.url, str(tmp_path), engine=ManyParts())
    wanted = in_memory(lake)
    assert from_arrow(pq.read_table(tmp_path)).equals(wanted)
    features = list(CREDIT_CARD.feature_names)
    assert pd.read_parquet(tmp_path, columns=features).equals(wanted[features])


def test_a_frame_replaces_an_earlier_one_and_a_half_built_one(lake: Lake, tmp_path: Path) -> None:
    class PowerCut(Exception):
        pass

    def cut(step: str, done: int, total: int) -> None:
        if step == "assemble" and done == 3:
            raise PowerCut

    out = FrameDataset(str(tmp_path))
    build_dataset(CREDIT_CARD, lake.url, out.url, engine=ManyParts())
    with pytest.raises(PowerCut):
        build_dataset(CREDIT_CARD, lake.url, out.url, engine=ManyParts(), progress=cut)
    with pytest.raises(NotFound, match="no complete feature frame"):
        out.info()
    build_dataset(CREDIT_CARD, lake.url, out.url)
    assert out.frame().equals(in_memory(lake))
    assert sorted(path.name for path in tmp_path.glob("part-*")) == ["part-00000.parquet"]


def test_a_folder_with_something_else_is_left_alone(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(ContractError, match=r"thesis\.docx"):
        build_dataset(CREDIT_CARD, lake.url, str(tmp_path))
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


def test_a_log_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    lake = an_adversarial_lake(str(tmp_path / "lake"))
    day = lake.days(CREDIT_CARD)[10]

    def rewrite(step: str, done: int, total: int) -> None:
        if (step, done) == ("assemble", 0):
            events = lake.events(CREDIT_CARD, day, day)
            lake.write_events(CREDIT_CARD, day, events.assign(seq=events["seq"] + 1))

    with pytest.raises(ContractError, match="changed while features were built"):
        build_dataset(CREDIT_CARD, lake.url, str(tmp_path / "out"), progress=rewrite)


def test_an_empty_log_and_an_empty_span_are_said_to_be_so(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"is empty\. Ingest first"):
        build_dataset(CREDIT_CARD, str(tmp_path / "none"), str(tmp_path / "out"))
    with pytest.raises(ContractError, match=r"It reaches from 2026-04-\d\d to 2026"):
        build_dataset(
            CREDIT_CARD, lake.url, str(tmp_path / "out"), span=Span(last=dt.date(2020, 1, 1))
        )


def test_a_budget_below_the_libraries_is_refused_with_the_least_one(
    lake: Lake, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"300 MB is too small.*Give at least 800MB"):
        build_dataset(CREDIT_CARD, lake.url, str(tmp_path), memory_budget_bytes=300 * MB)


def test_a_key_too_busy_for_the_budget_is_refused_before_any_work(tmp_path: Path) -> None:
    lake = a_plain_lake(str(tmp_path / "lake"), rows=200_000, days=2, users=1)
    steps: list[str] = []
    with pytest.raises(
        SettingsError, match=r"One value of .*_id has up to .* needs .* MB"
    ) as error:
        build_dataset(
            CREDIT_CARD,
            lake.url,
            str(tmp_path / "out"),
            memory_budget_bytes=805 * MB,
            progress=lambda step, done, total: steps.append(step),
        )
    assert set(steps) == {"survey"}
    assert "Give at least" in error.value.remedy


def test_the_build_knows_its_type_by_name(lake: Lake, tmp_path: Path) -> None:
    other = replace(CREDIT_CARD, features=CREDIT_CARD.features[:5], rules=())
    with pytest.raises(ContractError, match="same version of the platform"):
        build_dataset(other, lake.url, str(tmp_path))


# Not ru_maxrss: a process inherits that of the one that started it.
_PEAK = """
peak = 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])
"""
ONE_BUILD = f"""
import json, re, sys
from pathlib import Path
from feature_store.building import build_dataset
from fraud.types.credit_card import CREDIT_CARD
info = build_dataset(CREDIT_CARD, sys.argv[1], sys.argv[2], memory_budget_bytes=int(sys.argv[3]))
{_PEAK}
print(json.dumps([peak, len(info.part_rows)]))
"""
IN_MEMORY = f"""
import json, re, sys
from pathlib import Path
from feature_store.dataset import FrameDataset
from feature_store.lake import Lake
from tests.feature_store.lakes import in_memory
frame = in_memory(Lake(sys.argv[1]))
{_PEAK}
print(json.dumps([peak, FrameDataset(sys.argv[2]).frame().equals(frame)]))
"""


@pytest.mark.timeout(600)
def test_memory_stays_within_the_budget_where_the_log_is_far_larger(tmp_path: Path) -> None:
    budget = 810 * MB
    lake = a_plain_lake(str(tmp_path / "lake"), rows=1_200_000)
    out = str(tmp_path / "out")
    peak, parts = _printed(ONE_BUILD, lake.url, out, str(budget))
    needed, is_equal = _printed(IN_MEMORY, lake.url, out)
    assert is_equal
    assert needed - BASE_BYTES > 2 * (budget - BASE_BYTES), f"{needed / MB:.0f} MB is not far more"
    assert parts > 6
    assert peak <= budget, f"{peak / MB:.0f} MB"


def _printed(program: str, *arguments: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    return json.loads(done.stdout)


def test_pieces_of_a_day_are_its_rows_whatever_the_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = a_plain_lake(str(tmp_path), rows=1000, days=1)
    monkeypatch.setattr("feature_store.lake.PIECE", 64)
    (path,) = tmp_path.rglob("events/*/part-0.parquet")
    whole = pd.read_parquet(path)
    whole.to_parquet(path, index=False, row_group_size=130)
    (day,) = lake.days(CREDIT_CARD)
    for rows in (range(1000), range(129, 131), range(130, 390), range(500, 1000), range(7, 8)):
        pieces = list(lake.pieces(CREDIT_CARD, "events", day, ["seq"], rows))
        assert max(len(piece) for piece in pieces) <= 64
        found = np.concatenate([piece["seq"].to_numpy() for piece in pieces])
        assert found.tolist() == whole["seq"].iloc[rows.start : rows.stop].tolist()
