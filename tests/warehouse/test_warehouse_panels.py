"""Large tables pass in pieces, in order; panels are kept and given back under their key only."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from rotation_pipeline.factors.errors import BadInput
from rotation_pipeline.factors.kernels import LEAD
from rotation_pipeline.factors.panel import Panel, panel_of
from rotation_pipeline.warehouse import store
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.panels import keep_panel, kept_panel
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

TABLE = "intermediate.adjusted_bars"
DAYS = [date(2020, month, day) for month in (1, 2, 3) for day in (6, 7, 10)]
COLUMNS = ("day", "asset_key", "adj_close", "ret", "is_suspended")
ORDER = ("day", "asset_key")


def bars(days: list[date], scale: float = 1.0) -> pl.DataFrame:
    frame = pl.DataFrame({"day": days}).join(pl.DataFrame({"asset_key": [5, 9, 13]}), how="cross")
    return frame.with_columns(
        pl.col("asset_key").cast(pl.Int32), pl.col("day").dt.month_start().alias("month"),
        (scale * pl.int_range(1, pl.len() + 1)).cast(pl.Float64).alias("adj_close"),
        pl.lit(0.01).alias("ret"), pl.lit(False).alias("is_suspended"), pl.lit(1.0).alias("close"), pl.lit(False).alias("is_st"),
        pl.lit(1.0).alias("volume"), pl.lit(1.0).alias("amount"), pl.lit(None, pl.Float64).alias("turnover_rate"),
    )  # fmt: skip


def fill(warehouse: Warehouse, month: int, scale: float = 1.0) -> None:
    days = [day for day in DAYS if day.month == month]
    warehouse.write({TABLE: bars(days, scale)}, [date(2020, month, 1)], "run")


def test_pieces_are_the_table_in_order_even_after_a_month_was_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 4)
    with open_warehouse(tmp_path / "a.duckdb") as warehouse:
        for month in (1, 2, 3):
            fill(warehouse, month)
        for again in (False, True):
            if again:
                fill(warehouse, 1, scale=3.0)
            for first, last in ((None, None), (date(2020, 1, 1), date(2020, 2, 1)), (date(2020, 2, 1), None)):
                pieces = list(warehouse.batches(TABLE, columns=COLUMNS, order=ORDER, first=first, last=last))
                expected = warehouse.read(TABLE, columns=COLUMNS, order=ORDER, first=first, last=last)
                found = pl.DataFrame(pa.Table.from_batches(pieces))
                assert len(pieces) > 1
                assert found.schema["is_suspended"] == pl.UInt8  # flags come a byte each
                assert found.with_columns(pl.col("is_suspended").cast(pl.Boolean)).equals(expected)
        with pytest.raises(KeyError, match="no column 'price'"):
            next(warehouse.batches(TABLE, columns=("price",), order=ORDER))


def test_another_query_may_run_between_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    with open_warehouse(tmp_path / "a.duckdb") as warehouse:
        fill(warehouse, 1)
        rows = 0
        for piece in warehouse.batches(TABLE, columns=COLUMNS, order=ORDER):
            rows += piece.num_rows
            assert warehouse.count(TABLE) == 9
        assert rows == 9


def limit_of(warehouse: Warehouse) -> str:
    return str(warehouse.execute("SELECT current_setting('memory_limit')")[0][0])


def test_a_large_table_passes_through_little_memory_which_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    with open_warehouse(tmp_path / "a.duckdb") as warehouse:
        for month in (1, 2, 3):
            fill(warehouse, month)
        usual = limit_of(warehouse)
        expected = warehouse.read(TABLE, columns=COLUMNS, order=ORDER).height
        for size, seen in ((28, usual), (27, "30.5 MiB")):
            monkeypatch.setattr(store, "_LARGE", size)
            rows, limits = 0, set[str]()
            for piece in warehouse.batches(TABLE, columns=COLUMNS, order=ORDER):
                rows += piece.num_rows
                limits.add(limit_of(warehouse))
            assert (rows, limits) == (expected, {seen})
            assert limit_of(warehouse) == usual
        warehouse.execute("SET threads = 64")
        pieces = warehouse.batches(TABLE, columns=COLUMNS, order=ORDER)
        next(pieces)
        assert limit_of(warehouse) == "267.0 MiB", "each thread holds blocks of its own"
        warehouse.execute("SET threads = 2")
        others = warehouse.batches(TABLE, columns=COLUMNS, order=ORDER)
        next(others)
        others.close()
        assert limit_of(warehouse) == "267.0 MiB", "another reader needs it yet"
        pieces.close()  # whoever stops half way gives it back too
        assert limit_of(warehouse) == usual


def test_pieces_of_any_length_make_the_same_panel() -> None:
    frame = bars(DAYS).with_columns(pl.when(pl.col("asset_key") == 9).then(pl.col("ret")).alias("ret"))
    days = np.array(DAYS, dtype="datetime64[D]")
    whole = panel_of(frame, days, ("volume",))
    for size in (1, 4, 27):
        pieces = list(frame.iter_slices(size))
        for given in (pieces, [part.to_arrow().to_batches()[0] for part in pieces]):
            made = panel_of(given, days, ("volume",))
            for begin, end, at in zip(whole.start, whole.stop, made.start, strict=True):
                rows = slice(at, at + end - begin)
                np.testing.assert_array_equal(made.session[rows], whole.session[begin:end])
                for name, values in whole.columns.items():
                    np.testing.assert_array_equal(made.columns[name][rows], values[begin:end])
    assert np.isnan(whole.columns["ret"][whole.start[0]])
    assert whole.columns["ret"][whole.start[1]] == 0.01


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("is_suspended", "is_suspended is null in 2 rows, the first of them asset_key 9 on 2020-01-07; quarantine them"),
        ("asset_key", "asset_key is null in 2 rows, the first of them on 2020-01-07, after that of asset_key 5 on 2020-01-07"),
        ("day", "day is null in 2 rows, the first of them asset_key 9, after that of asset_key 5 on 2020-01-07"),
    ],
)  # fmt: skip
def test_the_first_row_without_a_value_is_named(column: str, said: str) -> None:
    row = pl.int_range(pl.len())
    frame = bars(DAYS).with_columns(pl.when(row.is_in([4, 20]).not_()).then(pl.col(column)).alias(column))
    for given in (frame, [frame], frame.to_arrow().to_batches()):
        with pytest.raises(BadInput, match=re.escape(said)):
            panel_of(given, np.array(DAYS, dtype="datetime64[D]"))


def test_a_row_without_anything_is_named_by_the_next_one_or_its_place() -> None:
    frame = bars(DAYS[:1]).with_columns(
        pl.when(pl.int_range(pl.len()) > 0).then(pl.col(name)).alias(name) for name in ("day", "asset_key")
    )
    with pytest.raises(
        BadInput, match="day is null in 1 rows, the first of them before that of asset_key 9 on 2020-01-06"
    ):
        panel_of([frame], np.array(DAYS, dtype="datetime64[D]"))
    with pytest.raises(BadInput, match="day is null in 1 rows, the first of them row 0 of 1"):
        panel_of([frame.head(1)], np.array(DAYS, dtype="datetime64[D]"))


def test_a_negative_key_is_refused_by_name() -> None:
    key = pl.when((pl.col("asset_key") == 9) & (pl.col("day") == DAYS[1])).then(-9).otherwise("asset_key")
    frame = bars(DAYS).with_columns(key.cast(pl.Int32).alias("asset_key"))
    for given in (frame, [frame]):
        with pytest.raises(BadInput, match="asset_key -9 on 2020-01-07 is negative"):
            panel_of(given, np.array(DAYS, dtype="datetime64[D]"))


def test_a_row_twice_counts_inside_the_range_only() -> None:
    """Days in order and keys not: the frame is sorted first, unless a row that is asked for is there twice."""
    frame = bars(DAYS).sort("day", "asset_key", descending=[False, True])
    days = np.array(DAYS[1:], dtype="datetime64[D]")
    whole = panel_of(frame, days)
    outside = pl.concat([frame.head(1), frame])
    same_rows(panel_of(outside, days), whole)
    inside = pl.concat([frame, frame.tail(1)])
    with pytest.raises(BadInput, match="out of order or twice"):
        panel_of(inside, days)


def panel() -> Panel:
    return panel_of(bars(DAYS), np.array(DAYS, dtype="datetime64[D]"))


def test_a_kept_panel_comes_back_under_its_key_only(tmp_path: Path) -> None:
    folder = tmp_path / "panel"
    assert kept_panel(folder, "one") is None
    keep_panel(folder, panel(), "one")
    assert kept_panel(folder, "two") is None
    found, made = kept_panel(folder, "one"), panel()
    assert found is not None
    for name in ("days", "asset_key"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    same_rows(found, made)
    found.columns["ret"][found.start[0]] = 7.0  # stays in memory
    again = kept_panel(folder, "one")
    assert again is not None
    assert again.columns["ret"][again.start[0]] == 0.01
    keep_panel(folder, again, "two")  # kept from what was kept
    assert kept_panel(folder, "one") is None
    last = kept_panel(folder, "two")
    assert last is not None
    same_rows(last, made)


def same_rows(found: Panel, made: Panel) -> None:
    """Each security's rows, and those of ones before them."""
    np.testing.assert_array_equal(found.stop - found.start, made.stop - made.start)
    for one, other, length in zip(found.start, made.start, made.stop - made.start, strict=True):
        rows, of = slice(one, one + length), slice(other, other + length)
        np.testing.assert_array_equal(found.session[rows], made.session[of])
        for name, values in made.columns.items():
            np.testing.assert_array_equal(found.columns[name][rows], values[of])
            assert (found.columns[name][one - LEAD : one] == 1.0).all()


def test_room_that_holds_nothing_is_not_kept(tmp_path: Path) -> None:
    """Room is made for a thousand securities; what is kept is what three of them need."""
    made = panel_of(
        bars(DAYS).filter((pl.col("asset_key") != 9) | (pl.col("day") < DAYS[4])), np.array(DAYS, "datetime64[D]")
    )
    keep_panel(tmp_path / "panel", made, "one")
    rows = 2 * len(DAYS) + 4 + 3 * LEAD
    assert made.session.size > 100 * rows
    for path, size in (("session", 4), ("column-adj_close", 8), ("column-ret", 8)):
        stored = (tmp_path / "panel" / f"{path}.npy").stat().st_size
        assert 0 <= stored - rows * size <= 128, "a header beside the rows"
    found = kept_panel(tmp_path / "panel", "one")
    assert found is not None
    assert found.start.tolist() == [LEAD, 2 * LEAD + 9, 3 * LEAD + 13]
    assert found.stop.tolist() == [LEAD + 9, 2 * LEAD + 13, 3 * LEAD + 22]
    same_rows(found, made)


def test_a_panel_of_nobody_is_kept(tmp_path: Path) -> None:
    keep_panel(tmp_path / "panel", panel_of(bars(DAYS).clear(), np.array(DAYS, "datetime64[D]")), "none")
    found = kept_panel(tmp_path / "panel", "none")
    assert found is not None
    assert (found.start.size, found.session.size, set(found.columns)) == (0, 0, {"adj_close", "ret"})


def test_a_damaged_panel_is_named(tmp_path: Path) -> None:
    keep_panel(tmp_path / "panel", panel(), "one")
    (tmp_path / "panel" / "session.npy").write_bytes(b"short")
    with pytest.raises(WarehouseError, match="damaged"):
        kept_panel(tmp_path / "panel", "one")
