"""A CSV of prices made into a folder some securities at a time: the tables of all at once, and nothing left of what fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources import price_folder
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.locking import locked
from rotation_pipeline.sources.price_csv import read_index
from rotation_pipeline.sources.price_folder import is_free, write_price_folder
from rotation_pipeline.sources.prices import PriceFolder, PriceTables

DAYS = sessions(date(2011, 1, 4), date(2014, 1, 30))


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven securities by day, with gaps, late listings, an early end, industries that change and the exchange's previous close."""
    rng, parts = np.random.default_rng(4), list[pl.DataFrame]()
    for n, code in enumerate(("000001", "000016", "600000", "600016", "601318", "688001", "300001")):
        days = DAYS[n * 5 : len(DAYS) - 40 * (n == 3)]
        close = np.round(10 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days)))), 2)
        before = np.concatenate([[10.0], close[:-1]])
        volume = rng.integers(1000, 99999, len(days)) * 100
        rows = pl.DataFrame({"code": [code] * len(days), "date": days, "open": before, "high": np.maximum(close, before), "low": np.minimum(close, before), "close": close, "volume": volume, "amount": np.round(volume * close, 2), "pre_close": before, "pb": np.round(rng.uniform(0.5, 5, len(days)), 4)})  # fmt: skip
        kept = pl.Series(rng.random(len(days)) > 0.02) | pl.Series(np.isin(np.arange(len(days)), [0, len(days) - 1]))
        industry = pl.when(pl.col("date") < date(2012, 7, 1)).then(pl.lit("a")).otherwise(pl.lit(f"b{n}"))
        parts.append(rows.filter(kept).with_columns(industry.alias("industry")))
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    pl.concat(parts).sort("date", "code").write_csv(path)
    return path


def write(path: Path, folder: Path, index: pl.DataFrame | None = None, **said: Any) -> PriceFolder:
    """Prices as most have them: unadjusted, in shares and CNY, with an index that is made."""
    return write_price_folder(
        path, folder, index, "999999.SH", **{"adjusted": False, "lots": False, "thousands": False, **said}
    )


@pytest.mark.parametrize("rows", [1, 1500])
@pytest.mark.parametrize("with_index", [False, True])
def test_some_securities_at_a_time_make_the_tables_of_all_at_once(
    csv: Path, tmp_path: Path, rows: int, with_index: bool
) -> None:
    index = None
    if with_index:
        path = tmp_path / "index.csv"
        path.write_text("date,close\n" + "\n".join(f"{day},{3000 + n}" for n, day in enumerate(DAYS)), encoding="utf-8")
        index = read_index(path)
    whole = write(csv, tmp_path / "whole", index, rows_at_once=10**9)
    made = write(csv, tmp_path / "mine", index, rows_at_once=rows)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {f"{name}.parquet" for name in whole.rows}
    for name, height in whole.rows.items():
        table, found = (pl.read_parquet(tmp_path / place / f"{name}.parquet") for place in ("whole", "mine"))
        assert found.schema == table.schema, name
        assert found.equals(table), name
        assert made.rows[name] == table.height == height > 0, name
    told = ("notes", "first", "last", "members", "styles", "absent", "history_months")
    assert [getattr(made, name) for name in told] == [getattr(whole, name) for name in told]
    assert any("sessions have no row" in note for note in made.notes)
    left = {path.name for path in tmp_path.iterdir()} - {"mine", "whole", "index.csv"}
    assert left == set()


def test_a_file_in_any_order_is_read_a_fixed_number_of_times(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By security each time the rows asked for; else written apart once, and each part removed when it is used."""
    rows, seen = pl.read_csv(csv, infer_schema=False), list[tuple[bool, list[str]]]()
    whole = write(csv, tmp_path / "whole", rows_at_once=10**9)
    add = PriceTables.add

    def watched(making: PriceTables, prices: pl.DataFrame) -> pl.DataFrame:
        (place,) = tmp_path.glob(".init-files-*")
        left = sorted(path.name for path in place.glob("parts/*"))
        seen.append(((place / "parts").exists(), left))
        return add(making, prices)

    monkeypatch.setattr(PriceTables, "add", watched)
    orders = {
        "code": rows.sort("code", maintain_order=True),
        "day": rows,
        "any": rows.sample(fraction=1.0, shuffle=True, seed=2),
    }
    for name, ordered in orders.items():
        ordered.write_csv(tmp_path / f"{name}.csv")
        seen.clear()
        made = write(tmp_path / f"{name}.csv", tmp_path / name, rows_at_once=1500)
        assert made.rows == whole.rows
        for table in made.rows:
            found, wanted = (pl.read_parquet(tmp_path / place / f"{table}.parquet") for place in (name, "whole"))
            assert found.equals(wanted), (name, table)
        assert len(seen) == 4
        assert [apart for apart, _ in seen] == [name != "code"] * 4
        if name != "code":  # that at hand is in memory and gone
            assert [len(left) for _, left in seen] == [4, 3, 2, 1]


KILLED = """
import os, signal, sys
from pathlib import Path
from rotation_pipeline.sources.price_folder import write_price_folder
from rotation_pipeline.sources.prices import PriceTables

add, calls = PriceTables.add, []

def killed(self, prices):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(self, prices)

PriceTables.add = killed
write_price_folder(Path(sys.argv[1]), Path(sys.argv[2]), None, "999999.SH", adjusted=False, lots=False, thousands=False, rows_at_once=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_call_left_goes_and_the_next_makes_the_same(csv: Path, tmp_path: Path, there: bool) -> None:
    write(csv, tmp_path / "whole", rows_at_once=1)
    mine = tmp_path / "mine"
    if there:
        mine.mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(csv), str(mine)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (mine if there else tmp_path).glob(".init-files-*")
    assert list(left.glob("daily_bars-*.parquet"))
    assert is_free(mine)
    made = write(csv, mine, rows_at_once=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "whole"]
    assert sorted(path.name for path in mine.iterdir()) == sorted(f"{name}.parquet" for name in made.rows)
    for path in mine.iterdir():
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes(), path.name
    assert not is_free(mine)


def test_another_call_at_work_is_left_alone(csv: Path, tmp_path: Path) -> None:
    """Beside it another folder may be made; into the same one, not."""
    mine = tmp_path / "mine"
    for place in (tmp_path, mine):
        (place / ".init-files-other").mkdir(parents=True)
        (place / ".init-files-other" / "prices.parquet").write_text("at work")
    with locked(tmp_path / ".init-files-other" / ".lock"), locked(mine / ".init-files-other" / ".lock"):
        write(csv, tmp_path / "beside")
        with pytest.raises(SourceError, match=rf"process {os.getpid()} is making .*mine; run again when it has ended"):
            write(csv, mine)
        for place in (tmp_path, mine):
            assert (place / ".init-files-other" / "prices.parquet").read_text() == "at work"


def test_a_file_that_fails_leaves_nothing(csv: Path, tmp_path: Path) -> None:
    """The row that is one too many belongs to the last securities: all others were made already."""
    lines = csv.read_text(encoding="utf-8").splitlines()
    lines.append(next(line for line in lines if line.startswith("688001")))
    path = tmp_path / "twice.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SourceError, match=r"twice\.csv hold 688001\.SH of .* more than once \(2 such rows\)"):
        write(path, tmp_path / "a" / "mine", rows_at_once=1)
    with pytest.raises(SourceError, match="Without --lots they fit"):
        write(path, tmp_path / "a" / "mine", lots=True)
    assert [found.name for found in tmp_path.iterdir()] == ["twice.csv"]


def test_later_prices_leave_the_made_index_of_earlier_days_as_it_was(csv: Path, tmp_path: Path) -> None:
    """Later rows move the borders between the securities that are handled at once."""
    early = tmp_path / "early.csv"
    rows = pl.read_csv(csv, infer_schema=False)
    rows.filter(pl.col("date") < "2013-12-01").write_csv(early)
    found = [write(path, tmp_path / name, rows_at_once=1500) for path, name in ((early, "one"), (csv, "other"))]
    before, after = (made.tables["index_bars"] for made in found)
    assert before.height > 600
    assert after.head(before.height).equals(before)


def test_a_file_without_rows_is_refused(csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(csv.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"empty\.csv hold no rows"):
        write(path, tmp_path / "mine")


def test_a_folder_that_is_there_is_filled_from_within(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a volume of its own: nothing can be moved into it from beside."""
    places: list[Path] = []

    def watched(*, prefix: str, dir: Path) -> str:
        places.append(dir)
        return mkdtemp(prefix=prefix, dir=dir)

    monkeypatch.setattr(price_folder, "mkdtemp", watched)
    mine, other = tmp_path / "mine", tmp_path / "a" / "b"
    mine.mkdir()
    for folder in (mine, other):
        made = write(csv, folder)
        assert {path.name for path in folder.iterdir()} == {f"{name}.parquet" for name in made.rows}
    assert places == [mine, tmp_path]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "a"}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lots": True}, "Without --lots they fit"),
        ({"fewest": 8}, r"prices of 7 securities at the end of 2013-\d\d; 8 are needed"),
        ({"index": pl.DataFrame({"day": DAYS[1:]})}, "the index has no level of 2011-01-04"),
    ],
)
def test_what_all_prices_tell_is_refused_before_a_table_is_made(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], message: str
) -> None:
    handed: list[int] = []

    def add(_self: PriceTables, prices: pl.DataFrame) -> pl.DataFrame:
        handed.append(prices.height)
        raise AssertionError("a table was begun")

    monkeypatch.setattr(PriceTables, "add", add)
    with pytest.raises(SourceError, match=message):
        write(csv, tmp_path / "mine", **said)
    assert (handed, list(tmp_path.iterdir())) == ([], [])
    with pytest.raises(AssertionError, match="a table was begun"):  # sound prices come as far
        write(csv, tmp_path / "mine", fewest=6)


@pytest.mark.parametrize(
    ("column", "adjusted", "message"),
    [
        ("pre_close", False, "the file has neither adj_factor nor prev_close"),
        ("", True, "said to be adjusted and have prev_close"),
        ("close", False, r"prices .*\.csv lack close"),
    ],
)
def test_what_the_first_line_tells_is_refused_before_the_rest_is_read(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, adjusted: bool, message: str
) -> None:
    path = tmp_path / "prices.csv"
    pl.read_csv(csv, infer_schema=False).drop(column, strict=False).write_csv(path)

    def stage(*_given: object) -> None:
        raise AssertionError("the rest was read")

    monkeypatch.setattr(price_folder, "stage_prices", stage)
    with pytest.raises(SourceError, match=message):
        write(path, tmp_path / "mine", adjusted=adjusted)
    with pytest.raises(AssertionError, match="the rest was read"):
        write(csv, tmp_path / "mine")
