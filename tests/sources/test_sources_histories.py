"""Previous closes and factors of a whole history."""

from __future__ import annotations

from datetime import date

import polars as pl

from rotation_pipeline.sources.vendors.histories import chained, previous_closes


def test_previous_close_over_a_suspension_with_two_ex_days() -> None:
    """Two factors while nothing traded count together, on the day trading goes on; half a cent goes up."""
    days = [date(2022, 1, 4), date(2022, 1, 5), date(2022, 1, 20)]
    bars = pl.DataFrame({"day": days, "close": [10.0, 10.0, 6.0]})
    factors = pl.DataFrame({"day": [date(1900, 1, 1), date(2022, 1, 10), date(2022, 1, 12)], "adj_factor": [1.0, 1.25, 1.6]})  # fmt: skip
    found = previous_closes(bars, factors)
    assert found["prev_close"].to_list() == [None, 10.0, 6.25]
    whole = chained(found.with_columns(pl.col("prev_close").fill_null(10.0)))
    assert whole["adj_factor"].to_list() == [1.0, 1.0, 1.6]
    half = previous_closes(bars.with_columns(pl.lit(1.005 * 1.6).alias("close")), factors)
    assert half["prev_close"][2] == 1.01  # 1.005 exactly
