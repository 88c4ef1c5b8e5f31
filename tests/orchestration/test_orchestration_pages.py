"""What Dagster's pages tell: failing rows, newest rows, failures with their remedy."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from rotation_pipeline.orchestration.graph import stage_named
from rotation_pipeline.orchestration.pages import broken_text, check_metadata, known_failure, newest_rows
from rotation_pipeline.orchestration.plots import PLOTTED, plot_markdown, plotted
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import MissingPartition, PartitionInvalid
from rotation_pipeline.warehouse.quality import Failure, Quality

ROWS = (
    {"month": datetime(2015, 6, 1), "day": date(2015, 6, 3), "close": 4075.333, "amount": -1.0},
    {"month": datetime(2015, 6, 1), "day": date(2015, 6, 4), "close": float("nan"), "amount": None},
)
BROKEN = Quality(
    "intermediate.index_daily",
    21,
    9,
    (Failure("column values to be between (min_value=0)", "amount", 2, ROWS), Failure("key", "day", 1, ())),
)
MONTHS = [date(2015, 5, 1), date(2015, 6, 1)]


def test_failing_rows_are_shown_whole() -> None:
    metadata = check_metadata(BROKEN)
    assert (metadata["rows"], metadata["expectations"]) == (21, 9)
    broken = [record.data for record in metadata["broken expectations"].records]
    assert [record["column"] for record in broken] == ["amount", "day"]
    failing = [record.data for record in metadata["failing rows"].records]
    assert failing[0] == {
        "broken": "amount: column values to be between (min_value=0)", "month": "2015-06-01", "day": "2015-06-03",
        "close": 4075.333, "amount": -1.0,
    }  # fmt: skip
    assert (failing[1]["close"], failing[1]["amount"]) == ("nan", "")


def test_a_sound_table_has_counts_only() -> None:
    sound = Quality("marts.weights", 5, 3, ())
    assert check_metadata(sound) == {"rows": 5, "expectations": 3}
    assert broken_text(sound) is None


def test_a_known_failure_says_what_to_do() -> None:
    text = "weights needs marts.forecasts of 2015-05; `rotation run --to 2015-06` computes it"
    failure = known_failure(MissingPartition(text), stage_named("weights"), MONTHS)
    assert failure is not None
    assert failure.description == text
    assert failure.allow_retries is False
    told = {key: value.value for key, value in failure.metadata.items()}
    assert told["kind"] == "missing partition"
    assert told["stage"] == "weights"
    assert told["months"] == "2015-05 … 2015-06"
    assert "rotation doctor" in str(told["more"])


def test_broken_rows_are_counted_and_the_remedy_named() -> None:
    error = PartitionInvalid("raw text of the rows", {"intermediate.index_daily": BROKEN})
    failure = known_failure(error, stage_named("index_daily"), MONTHS)
    assert failure is not None
    assert "amount: column values to be between (min_value=0) broken by 2 rows of 21" in str(failure.description)
    assert "rotation lineage TABLE.COLUMN" in str(failure.description)
    assert "Timestamp" not in str(failure.description)


def test_a_fault_of_the_program_keeps_its_trace() -> None:
    assert known_failure(KeyError("weights"), stage_named("weights"), MONTHS) is None
    assert known_failure(ValueError("from a library"), stage_named("weights"), MONTHS) is None


def test_newest_rows_are_those_of_the_last_month_in_the_order_of_the_key() -> None:
    table = table_named("marts.factor_decay")
    months = [*[date(2015, 5, 1)] * 3, *[date(2015, 6, 1)] * 7]
    frame = pl.DataFrame(
        {"month": months, "factor": ["MOM"] * 10, "horizon": list(range(10, 0, -1)), "rank_ic": [1.0 / 3.0] * 10}
    )
    shown = newest_rows(table, frame, date(2015, 6, 1))
    assert shown is not None
    assert [record.data["horizon"] for record in shown.records] == [1, 2, 3, 4, 5]
    assert shown.records[0].data["rank_ic"] == 0.333333
    assert newest_rows(table, frame, date(2015, 7, 1)) is None


def test_every_plotted_column_is_one_of_its_table() -> None:
    for name in PLOTTED:
        table = table_named(name)
        for column in plotted(table):
            table.column(column)
    assert plotted(table_named("raw.daily_bars")) == ("month",)
    frame = pl.DataFrame({"month": MONTHS, "rank_ic": [0.1, 0.2]})
    assert "data:image/svg+xml" in str(plot_markdown(table_named("marts.factor_decay"), frame))
