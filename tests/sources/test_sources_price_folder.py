"""A CSV of prices made into a folder some securities at a time: the tables of all at once, and nothing left of what fails."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources import price_folder
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.price_csv import read_index, read_prices
from rotation_pipeline.sources.price_folder import write_price_folder
from rotation_pipeline.sources.prices import price_tables

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


@pytest.mark.parametrize("rows", [1, 1500, 10**9])
@pytest.mark.parametrize("with_index", [False, True])
def test_some_securities_at_a_time_make_the_tables_of_all_at_once(
    csv: Path, tmp_path: Path, rows: int, with_index: bool
) -> None:
    index = None
    if with_index:
        path = tmp_path / "index.csv"
        path.write_text("date,close\n" + "\n".join(f"{day},{3000 + n}" for n, day in enumerate(DAYS)), encoding="utf-8")
        index = read_index(path)
    whole = price_tables(read_prices(csv), index, None, "999999.SH", lots=False, thousands=False)
    made = write_price_folder(
        csv, tmp_path / "mine", index, None, "999999.SH", lots=False, thousands=False, rows_at_once=rows
    )
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {f"{name}.parquet" for name in whole.tables}
    for name, table in whole.tables.items():
        found = pl.read_parquet(tmp_path / "mine" / f"{name}.parquet")
        assert found.schema == table.schema, name
        assert found.equals(table), name
        assert made.rows[name] == table.height, name
    told = ("notes", "first", "last", "members", "styles", "absent", "history_months")
    assert [getattr(made, name) for name in told] == [getattr(whole, name) for name in told]
    assert any("sessions have no row" in note for note in made.notes)
    left = {path.name for path in tmp_path.iterdir()} - {"mine", "index.csv"}
    assert left == set()


def test_a_file_that_fails_leaves_nothing(csv: Path, tmp_path: Path) -> None:
    """The row that is one too many belongs to the last securities: all others were made already."""
    lines = csv.read_text(encoding="utf-8").splitlines()
    lines.append(next(line for line in lines if line.startswith("688001")))
    path = tmp_path / "twice.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SourceError, match=r"twice\.csv hold 688001\.SH of .* more than once \(2 such rows\)"):
        write_price_folder(
            path, tmp_path / "a" / "mine", None, None, "999999.SH", lots=False, thousands=False, rows_at_once=1
        )
    with pytest.raises(SourceError, match=r"With --lots they fit|Without --lots they fit"):
        write_price_folder(path, tmp_path / "a" / "mine", None, None, "999999.SH", lots=True, thousands=False)
    assert [found.name for found in tmp_path.iterdir()] == ["twice.csv"]


def test_later_prices_leave_the_made_index_of_earlier_days_as_it_was(csv: Path, tmp_path: Path) -> None:
    """Later rows move the borders between the securities that are handled at once."""
    early = tmp_path / "early.csv"
    rows = pl.read_csv(csv, infer_schema=False)
    rows.filter(pl.col("date") < "2013-12-01").write_csv(early)
    found = [
        write_price_folder(
            path, tmp_path / name, None, None, "999999.SH", lots=False, thousands=False, rows_at_once=1500
        )
        for path, name in ((early, "one"), (csv, "other"))
    ]
    before, after = (made.tables["index_bars"] for made in found)
    assert before.height > 600
    assert after.head(before.height).equals(before)


def test_a_file_without_rows_is_refused(csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(csv.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"empty\.csv hold no rows"):
        write_price_folder(path, tmp_path / "mine", None, None, "999999.SH", lots=False, thousands=False)


def test_a_folder_that_is_there_is_filled_from_within(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a volume of its own: nothing can be moved into it from beside."""
    places: list[Path] = []

    def watched(*, prefix: str, dir: Path) -> TemporaryDirectory[str]:
        places.append(dir)
        return TemporaryDirectory(prefix=prefix, dir=dir)

    monkeypatch.setattr(price_folder, "TemporaryDirectory", watched)
    mine, other = tmp_path / "mine", tmp_path / "a" / "b"
    mine.mkdir()
    for folder in (mine, other):
        made = write_price_folder(csv, folder, None, None, "999999.SH", lots=False, thousands=False)
        assert {path.name for path in folder.iterdir()} == {f"{name}.parquet" for name in made.rows}
    assert places == [mine, tmp_path]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "a"}
