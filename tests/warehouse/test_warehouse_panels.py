"""Large tables pass in pieces, in order; panels are kept and given back under their key only."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

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
                assert pl.concat(pieces).equals(expected)
        with pytest.raises(KeyError, match="no column 'price'"):
            next(warehouse.batches(TABLE, columns=("price",), order=ORDER))


def test_another_query_may_run_between_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    with open_warehouse(tmp_path / "a.duckdb") as warehouse:
        fill(warehouse, 1)
        rows = 0
        for piece in warehouse.batches(TABLE, columns=COLUMNS, order=ORDER):
            rows += piece.height
            assert warehouse.count(TABLE) == 9
        assert rows == 9


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
