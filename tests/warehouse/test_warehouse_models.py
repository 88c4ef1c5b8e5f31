"""SQL models, lineage and expectations."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rotation_pipeline.market.tables import TRADING_DAYS
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import PartitionInvalid
from rotation_pipeline.warehouse.lineage import check_lineage, direct_sources, table_sources, upstream
from rotation_pipeline.warehouse.models import ModelError, read_model, sql_models
from rotation_pipeline.warehouse.quality import check

JAN = date(2014, 1, 1)
HEAD = """/*
description: a model
materialized: {kind}
key: [day]
columns:
  month: {{type: DATE, unit: date, meaning: "partition"}}
  day: {{type: DATE, unit: date, meaning: "day"}}
*/
"""


def model(folder: Path, text: str, kind: str = "view") -> Path:
    path = folder / "staging" / "some.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD.format(kind=kind) + text)
    return path


def test_models_come_after_what_they_read() -> None:
    seen: set[str] = set()
    names = {item.table.full_name for item in sql_models()}
    for item in sql_models():
        assert set(item.reads) & names <= seen
        seen.add(item.table.full_name)
    assert "intermediate.stock_snapshot" in seen


def test_every_materialised_model_is_bounded_by_its_months() -> None:
    for item in sql_models():
        assert item.is_view or {"month_from", "month_to"} <= set(item.parameters), item.path.name


def test_a_head_that_differs_from_the_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"some\.sql: the query selects \['day', 'month'\]"):
        read_model(model(tmp_path, "SELECT day, month FROM raw.trading_days"))


def test_a_file_without_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.sql"
    path.write_text("SELECT 1 AS a")
    with pytest.raises(ModelError, match="YAML comment"):
        read_model(path)


def test_dependencies_are_parsed_from_the_sql(tmp_path: Path) -> None:
    found = read_model(model(tmp_path, "WITH a AS (SELECT * FROM raw.trading_days) SELECT month, day FROM a"))
    assert found.reads == ("raw.trading_days",)


def test_how_far_a_model_looks_back_is_parsed_from_the_sql(tmp_path: Path) -> None:
    text = """WITH a AS (SELECT month, day FROM raw.trading_days WHERE month BETWEEN $month_from - INTERVAL 3 MONTH AND $month_to),
    b AS (SELECT month, day FROM raw.trading_days WHERE day > month - INTERVAL 40 MONTH AND month >= $month_from - INTERVAL 2 MONTH)
    SELECT month, day FROM a"""
    assert read_model(model(tmp_path, text, "table")).back == 3
    assert read_model(model(tmp_path, "SELECT month, day FROM raw.trading_days", "table")).back == 0
    with pytest.raises(
        ModelError, match=r"some\.sql: write months before the first one as \$month_from - INTERVAL n MONTH"
    ):
        read_model(model(tmp_path, text.replace("3 MONTH", "90 DAY"), "table"))
    unbounded = text.replace("month >= $month_from - INTERVAL 2 MONTH", "month < $month_from - INTERVAL 2 MONTH")
    assert read_model(model(tmp_path, unbounded, "table")).back is None
    back = {item.table.name: item.back for item in sql_models() if not item.is_view}
    assert back["adjusted_bars"] is None, "the bar before a suspension may lie anywhere"
    assert back["stock_snapshot"] == 12
    assert back["fundamentals_as_of"] == 30
    assert back["universe"] == 0


def test_declared_sources_exist() -> None:
    check_lineage()


def test_a_sql_column_is_followed_through_common_table_expressions() -> None:
    assert set(direct_sources("intermediate.adjusted_bars.adj_close")) == {
        "staging.daily_bars.close",
        "staging.daily_bars.adj_factor",
    }
    assert "staging.dividends.cash_per_share" in direct_sources("intermediate.stock_snapshot.dividend_yield")


def test_every_number_of_a_narrative_reaches_raw_columns() -> None:
    for column in (
        "marts.narrative_facts.value",
        "marts.narratives.text",
        "marts.weights.weight",
        "marts.backtest.net_return",
    ):
        steps = list(upstream(column))
        assert {"raw.daily_bars.close", "raw.index_bars.close"} <= {step.source for step in steps}, column


def test_every_computed_table_names_what_it_reads() -> None:
    for name, table in catalog().items():
        if table.schema not in {"raw", "truth"}:
            assert table_sources(name), name
            for column in table.columns:
                if column.name not in table.key and table.schema == "marts" and not table.view:
                    assert list(upstream(f"{name}.{column.name}")) or not column.reads or column.reads


def test_nothing_reads_the_truth() -> None:
    for name in catalog():
        assert not any(source.startswith("truth.") for source in table_sources(name) if not name.startswith("raw"))


def days(**changes: object) -> pl.DataFrame:
    base = {
        "month": [JAN] * 12, "day": [date(2014, 1, 2 + number) for number in range(12)], "is_month_end": [False] * 12,
    }  # fmt: skip
    return pl.DataFrame({**base, **changes})


def test_a_good_partition_passes() -> None:
    found = check(TRADING_DAYS, days(), [JAN])
    assert found.passed
    assert found.expectations >= 5
    found.raise_if_failed()


@pytest.mark.parametrize(
    ("changes", "column", "rows"),
    [
        ({"day": [date(2014, 1, 2)] * 12}, "day", 12),
        ({"is_month_end": [None, *[False] * 11]}, "is_month_end", 1),
    ],
)
def test_a_broken_expectation_names_column_and_rows(changes: dict[str, object], column: str, rows: int) -> None:
    found = check(TRADING_DAYS, days(**changes), [JAN])
    assert [(failure.column, failure.rows) for failure in found.failures] == [(column, rows)]
    with pytest.raises(PartitionInvalid, match=rf"raw\.trading_days breaks its definition[\s\S]*{column}") as caught:
        found.raise_if_failed()
    assert caught.value.quality["raw.trading_days"] is found


def test_a_month_without_rows_is_a_failure() -> None:
    found = check(TRADING_DAYS, days(), [JAN, date(2014, 2, 1)])
    assert "rows" in {failure.column for failure in found.failures}


def test_ranges_and_allowed_values_come_from_the_definition() -> None:
    table = table_named("marts.regime_transitions")
    frame = pl.DataFrame(
        {
            "month": [JAN], "detector": ["oracle"], "from_regime": ["bear"], "to_regime": ["bear"], "count": [1],
            "probability": [1.5],
        }
    )  # fmt: skip
    assert {failure.column for failure in check(table, frame, [JAN]).failures} == {"detector", "probability"}
