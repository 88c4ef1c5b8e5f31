"""Large tables pass in pieces, in order; panels are kept and given back under their key only."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from rotation_pipeline.factors.errors import BadInput
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


def test_a_missing_flag_is_named() -> None:
    frame = bars(DAYS).with_columns(pl.lit(None, pl.Boolean).alias("is_suspended"))
    with pytest.raises(BadInput, match="is_suspended is null in 27 rows"):
        panel_of(frame, np.array(DAYS, dtype="datetime64[D]"))


def panel() -> Panel:
    return panel_of(bars(DAYS), np.array(DAYS, dtype="datetime64[D]"))


def test_a_kept_panel_comes_back_under_its_key_only(tmp_path: Path) -> None:
    folder = tmp_path / "panel"
    assert kept_panel(folder, "one") is None
    keep_panel(folder, panel(), "one")
    assert kept_panel(folder, "two") is None
    found, made = kept_panel(folder, "one"), panel()
    assert found is not None
    for name in ("days", "asset_key", "start", "stop"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    for begin, end in zip(made.start, made.stop, strict=True):
        np.testing.assert_array_equal(found.session[begin:end], made.session[begin:end])
        for name, values in made.columns.items():
            np.testing.assert_array_equal(found.columns[name][begin:end], values[begin:end])
    found.columns["ret"][found.start[0]] = 7.0  # stays in memory
    again = kept_panel(folder, "one")
    assert again is not None
    assert again.columns["ret"][again.start[0]] == 0.01
    keep_panel(folder, panel(), "two")
    assert kept_panel(folder, "one") is None
    assert kept_panel(folder, "two") is not None


def test_a_damaged_panel_is_named(tmp_path: Path) -> None:
    keep_panel(tmp_path / "panel", panel(), "one")
    (tmp_path / "panel" / "session.npy").write_bytes(b"short")
    with pytest.raises(WarehouseError, match="damaged"):
        kept_panel(tmp_path / "panel", "one")
