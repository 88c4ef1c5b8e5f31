"""What is published of the real data, by hand on small frames; and all of it on the data beside the project."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import REAL_DATA
from rich.console import Console

from rotation_pipeline.cli.proving import checks_table
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration.study_real_data import markdown, run_study
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.ingest import Ingestion
from rotation_pipeline.sources.real_data import (
    MOUTAI,
    Check,
    close_checks,
    defect_checks,
    factor_checks,
    index_check,
    index_moves,
    member_check,
)

A, B = "600001.SH", "600002.SH"
NO_LISTINGS = pl.DataFrame(schema={"asset_id": pl.String, "listed_on": pl.Date})
PAGE = Path(__file__).resolve().parents[2] / "docs" / "real-data.md"


def test_closes_are_held_to_the_cent() -> None:
    bars = pl.DataFrame({"asset_id": ["600519.SH"] * 4, "day": list(MOUTAI), "close": list(MOUTAI.values())})
    assert all(check.holds for check in close_checks(bars))
    wrong = bars.with_columns(pl.when(pl.col("day") == date(2018, 1, 2)).then(703.86).otherwise("close").alias("close"))
    assert [check.holds for check in close_checks(wrong)] == [True, False, True, True]
    assert not any(check.holds for check in close_checks(bars.clear()))


def test_members_are_counted_at_last_closes() -> None:
    members = pl.DataFrame(
        {
            "index_id": ["000016.SH"] * 3, "asset_id": [A, B, "600003.SH"],
            "valid_from": [date(2020, 1, 1), date(2020, 1, 1), date(2020, 2, 17)],
            "valid_to": [None, date(2020, 2, 17), None],
        }
    )  # fmt: skip
    assert member_check(members, "000016.SH", 2, date(2020, 1, 1), date(2020, 3, 1)).holds
    late = members.with_columns(pl.Series("valid_from", [date(2020, 1, 1), date(2020, 1, 1), date(2020, 3, 2)]))
    found = member_check(late, "000016.SH", 2, date(2020, 1, 1), date(2020, 3, 1))
    assert (found.holds, found.found) == (False, "in 2 months")


def test_index_moves_by_hand() -> None:
    """Units 1 and 2: 10 + 2 × 20 = 50 before; after, A pays one bonus share for each at half the price: 2 × 6 + 2 × 19 = 50."""
    start, end = date(2020, 1, 2), date(2020, 1, 31)
    weights = pl.DataFrame(
        {
            "index_id": ["i"] * 4,
            "asset_id": [A, B] * 2,
            "day": [start, start, end, end],
            "weight": [0.2, 0.8, 0.24, 0.76],
        }
    )
    bars = pl.DataFrame({"asset_id": [A, B] * 2, "day": [start, start, end, end], "close": [10.0, 20.0, 6.0, 19.0]})
    paid = pl.DataFrame({"asset_id": [A], "ex_day": [date(2020, 1, 15)], "shares_per_share": [1.0]})
    index = pl.DataFrame({"day": [start, end], "close": [1000.0, 1000.0]})
    moves = index_moves(weights, bars, index, paid)
    assert moves.height == 1
    assert moves["members"][0] == pytest.approx(0.0, abs=1e-12)
    assert index_check(moves).holds
    without = index_moves(weights, bars, index, paid.clear())
    assert without["members"][0] == pytest.approx(-0.12)
    assert not index_check(without).holds
    assert index_moves(
        weights.filter((pl.col("asset_id") == A) | (pl.col("day") == start)), bars, index, paid
    ).is_empty()
    assert not index_check(moves.clear()).holds


def test_factors_of_a_made_up_market() -> None:
    """Returns = market + size × s: the series itself is found, another one is not."""
    rng = np.random.default_rng(4)
    months = [add_months(date(2010, 1, 1), n) for n in range(60)]
    market, size = rng.normal(0.01, 0.05, 60), rng.normal(0.0, 0.004, 60)
    rows = [
        (f"s{name}", month, market[n] + (0.5 if name < 20 else -0.5) * size[n], 1e4 * (1 + name), 1e4 * (1 + name))
        for name in range(40)
        for n, month in enumerate(months)
    ]
    stocks = pl.DataFrame(rows, schema=["code", "month", "ret", "total_mv_wan", "float_mv_wan"], orient="row")
    published = pl.DataFrame({"date": months, "rf_mon": 0.0, "mktrf": 100 * market, "SMB": 100 * size})
    found = factor_checks(stocks, published, NO_LISTINGS)
    assert [check.holds for check in found] == [True, True]
    assert found[1].found == "1.0000"
    other = published.with_columns(SMB=pl.Series(rng.normal(0, 3, 60)))
    assert [check.holds for check in factor_checks(stocks, other, NO_LISTINGS)] == [True, False]
    # s0's code goes to a large company, whose first five months are those of a new listing
    known = pl.DataFrame({"asset_id": ["600000.SH"] * 2, "listed_on": [date(1999, 11, 10), date(2012, 6, 20)]})
    late = (pl.col("code") == "sh.600000") & (pl.col("month") >= date(2012, 6, 1))
    large = pl.col("month").replace_strict(dict(zip(months, market - 0.5 * size, strict=True)))
    wild = pl.when(late & (pl.col("month") <= date(2012, 11, 1))).then(2.0).when(late).then(large).otherwise("ret")
    values = [wild.alias("ret")] + [
        pl.when(late).then(1e7).otherwise(name).alias(name) for name in ("total_mv_wan", "float_mv_wan")
    ]
    reused = stocks.with_columns(pl.col("code").replace("s0", "sh.600000")).with_columns(values)
    assert [check.holds for check in factor_checks(reused, published, known)] == [True, True]
    assert [check.holds for check in factor_checks(reused, published, known.head(1))] == [False, False]


def test_defects_must_be_the_listed_ones() -> None:
    def found(*keys: tuple[str, str, str]) -> Ingestion:
        rows = [(rule, f'{{"asset_id":"{asset}","day":"{day}"}}') for rule, asset, day in keys]
        quarantine = pl.DataFrame(
            rows, schema=["rule", "row_key"], orient="row", schema_overrides={"rule": pl.String, "row_key": pl.String}
        )
        return Ingestion({}, quarantine, pl.DataFrame())

    listed = pl.DataFrame(
        [
            ("3 float above total", A, "2020-01-02", "float/total 1.1"),
            ("3 float above total", A, "2020-03-02", "after the last whole month"),
            ("3 share jump", B, "2020-01-03", "share count x 1.500000, bonus 0.0000"),
            ("3 share jump", B, "2020-01-06", "share count x 1.500000, bonus 0.5000"),
        ],
        schema=["rule", "asset_id", "day", "detail"], orient="row",
    )  # fmt: skip
    right = found(("3_float_above_total", A, "2020-01-02"), ("3_share_count_jump", B, "2020-01-03"))
    assert all(check.holds for check in defect_checks(right, listed, date(2020, 2, 1)))
    missed = found(("3_share_count_jump", B, "2020-01-03"), ("5_price_limit", A, "2020-01-02"))
    failed = [check.check for check in defect_checks(missed, listed, date(2020, 2, 1)) if not check.holds]
    assert failed == ["float above total (rule 3)", "closes beyond the limit (rule 5)"]
    more = found(
        ("3_float_above_total", A, "2020-01-02"),
        ("3_share_count_jump", B, "2020-01-03"),
        ("3_share_count_jump", B, "2020-01-06"),
    )
    assert [check.holds for check in defect_checks(more, listed, date(2020, 2, 1))][1] is False


def test_every_published_check_holds_on_the_real_data_and_stands_in_the_docs() -> None:
    if not all((REAL_DATA / name).is_dir() for name in ("sse50", "csi300", "references", "factors")):
        pytest.skip(f"the real data are not at {REAL_DATA}")
    checks = run_study(REAL_DATA)
    assert [f"{check.data}: {check.check}: {check.found}" for check in checks if not check.holds] == []
    assert {check.data for check in checks} == {"sse50", "csi300", "references"}
    assert len(checks) > 35
    assert markdown(checks) in PAGE.read_text(encoding="utf-8")


def test_the_command_names_a_folder_without_data(rotation: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds none of sse50, csi300"):
        run_study(tmp_path)
    answer = rotation("study", "real-data", "--path", tmp_path)
    assert answer.code == 1
    assert "give the folder that does (--path)" in answer.stderr


def test_a_window_of_a_hundred_columns_shows_every_check_whole() -> None:
    long = Check("references", "crude size factor (small − large) against the China three-factor series", "correlation > 0.95", "0.9697", True, "139 months")  # fmt: skip
    wrong = Check("sse50", "share count moves of more than 20% (rule 3)", "94 listed", "93", False, "79 stay (warnings), 48 rows come back within 30 days (kept out)")  # fmt: skip
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(checks_table([wrong, long, long]))
    shown = console.export_text()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 100
    for check in (long, wrong):
        for text in (check.check, check.note, check.expected, check.found):
            assert set(text.split()) <= set(shown.split()), text
    assert (shown.count("NO"), shown.count("yes"), shown.count("references")) == (1, 2, 1)
