"""The restatement drill by the commands: one dividend of an old month changed at the source, over the whole graph."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from cli_project import CONFIG

from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.simulation import simulate
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import compare
from rotation_pipeline.settings import load_settings
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.store import open_warehouse

PAID = date(2013, 5, 1)
"""Month of the dividend: in the yield until April 2014, and looked for in May, whose last session may lie a year behind it."""
LAST = date(2014, 6, 1)
FORMED = months_between(date(2013, 7, 1), add_months(PAID, 12))
"""Exposures begin in July 2013."""
SINCE_RETURNS, SINCE_WEIGHTS, SAMPLE = (months_between(first, LAST) for first in (date(2013, 8, 1), date(2013, 12, 1), date(2014, 1, 1)))  # fmt: skip
AFFECTED = {
    "intermediate.": {"stock_snapshot": FORMED},
    "marts.": {
        "factor_exposures": FORMED,
        **dict.fromkeys(("factor_longshort", "factor_groups", "factor_longshort_daily"), SINCE_RETURNS),
        **dict.fromkeys(("factor_evidence", "factor_decay", "factor_summary"), SINCE_RETURNS),
        **dict.fromkeys(("regime_evidence", "regime_tests", "regime_transitions", "regime_summary"), SINCE_RETURNS),
        **dict.fromkeys(("expert_forecasts", "latent_states", "expert_weights", "forecasts"), SINCE_RETURNS),
        **dict.fromkeys(("forecast_scores", "forecast_confidence_set"), SINCE_RETURNS),
        **dict.fromkeys(("weights", "books", "selection"), SINCE_WEIGHTS),
        **dict.fromkeys(("backtest", "attribution", "backtest_measures", "trials", "significance"), SAMPLE),
        **dict.fromkeys(("stock_backtest", "stock_orders", "stock_positions", "stock_lots"), SAMPLE),
        **dict.fromkeys(("stock_significance", "stock_measures", "narrative_facts"), SAMPLE),
    },
}
"""By table what is made of the dividend, by hand; June's scores are not, its returns are those of May's."""
LEFT_OUT = ("narratives", "html_report")
"""Texts and pages, which repeat what stands in the facts."""
Partitions = dict[tuple[str, date], list[tuple[Any, ...]]]


def market(folder: Path) -> None:
    """A canonical folder with the simulated market's tables up to June 2014."""
    (folder / "rotation.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "data").mkdir()
    for name, frame in simulate(load_settings().simulation, LAST).tables.items():
        rows = with_asset_id(frame) if "asset_key" in frame.columns else frame
        rows.write_parquet(folder / "data" / f"{name}.parquet")


def more_paid(folder: Path) -> dict[str, Any]:
    """0.15 CNY a share more in the last payment of the month to a member of the index; its key."""
    members = pl.read_parquet(folder / "index_members.parquet")
    inside = (pl.col("valid_from") <= date(2013, 9, 30)) & (pl.col("valid_to") > date(2013, 9, 30)).fill_null(
        value=True
    )
    dividends = pl.read_parquet(folder / "dividends.parquet").sort("ex_day", "asset_id")
    paid = (pl.col("ex_day").dt.month_start() == PAID) & pl.col("asset_id").is_in(
        members.filter(inside)["asset_id"].implode()
    )
    key = dividends.filter(paid).select("ex_day", "asset_id").row(-1, named=True)
    at = (pl.col("ex_day") == key["ex_day"]) & (pl.col("asset_id") == key["asset_id"])
    cash = pl.when(at).then(pl.col("cash_per_share") + 0.15).otherwise("cash_per_share").alias("cash_per_share")
    dividends.with_columns(cash).write_parquet(folder / "dividends.parquet")
    return key


def partitions(database: Path) -> Partitions:
    """All rows, run ids included, by table and month."""
    found: Partitions = {}
    with open_warehouse(database, read_only=True) as warehouse:
        for name, table in catalog().items():
            for row in [] if table.view else warehouse.execute(f"SELECT * FROM {name} ORDER BY ALL"):
                found.setdefault((name, row[0]), []).append(row)
    return found


def named(months: Mapping[str, Iterable[date]]) -> dict[str, list[str]]:
    return {name: [f"{month:%Y-%m}" for month in of] for name, of in months.items()}


def test_one_dividend_of_an_old_month(rotation: Any, tmp_path: Path) -> None:
    """Shown, taken over, exactly what was made of it stale, one command; then as if it had always been so."""
    market(tmp_path)
    only = [part for stage in stages() if stage.name not in LEFT_OUT for part in ("--stage", stage.name)]
    source, file = ["--source", "files", "--path", tmp_path / "data"], tmp_path / "drill.duckdb"
    database = ["--database", file]
    assert rotation("run", *source, *database, *only).code == 0
    before = partitions(file)
    kept = shutil.copy(file, tmp_path / "before.duckdb")
    key = more_paid(tmp_path / "data")

    shown = rotation("ingest", "--restated", *database, "--json")
    expected = {prefix + name: months for prefix, tables in AFFECTED.items() for name, months in tables.items()}
    assert (shown.code, shown.json["taken_over"], shown.json["stale"]) == (1, False, named(expected))
    assert [(row["table_name"], row["month"], row["changed"]) for row in shown.json["partitions"]] == [
        ("dividends", f"{PAID}", 1)
    ]
    (cell,) = shown.json["largest_changes"]
    assert (cell["column"], key["asset_id"] in cell["row_key"]) == ("cash_per_share", True)
    assert round(float(cell["now"]) - float(cell["before"]), 9) == 0.15
    assert partitions(file) == partitions(Path(kept)) == before, "shown only"

    assert rotation("ingest", "--restated", "--accept", *database).code == 0
    assert rotation("status", *database, "--json").json["stale"] == named(expected)
    again = rotation("run", "--stale", *database, "--json")
    assert again.code == 0, again.stderr
    computed = {row["table"]: [row["first"], row["last"]] for row in again.json["stored"]}
    assert computed == {name: [months[0], months[-1]] for name, months in named(expected).items()}
    assert rotation("status", *database, "--json").json["stale"] == {}

    after = partitions(file)
    stale = {(name, month) for name, months in expected.items() for month in months}
    restated = {("raw.dividends", PAID), ("raw.ingestions", PAID)}
    assert before.keys() == after.keys()
    assert {at for at in before if before[at] != after[at]} - stale == restated, (
        "all else is the same, run ids included"
    )

    scratch = tmp_path / "scratch.duckdb"
    assert rotation("run", *source, "--database", scratch, *only).code == 0
    changed: set[str] = set()
    with (
        open_warehouse(file, read_only=True) as one,
        open_warehouse(scratch, read_only=True) as other,
        open_warehouse(Path(kept), read_only=True) as old,
    ):
        for name, table in catalog().items():
            if not table.view:
                assert compare(table, other.read(name), one.read(name)) == (0, ""), name
                changed |= {name} if compare(table, old.read(name), one.read(name))[0] else set()
    assert {"raw.dividends", "intermediate.stock_snapshot", "marts.factor_exposures", "marts.factor_longshort",
            "marts.forecasts", "marts.backtest", "marts.stock_backtest"} <= changed, "it matters"  # fmt: skip
