"""The stock-level books on the page and in the terminal."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import reporting_frames

from rotation_pipeline.backtest.stock_level.measures import MEASURE_NAMES
from rotation_pipeline.backtest.stock_level.tables import STOCK_STRATEGIES
from rotation_pipeline.backtest.stock_level.targets import PORTFOLIOS
from rotation_pipeline.reporting.report import render_report
from rotation_pipeline.reporting.stock_level import ON_PAGE, stock_level, stock_level_text
from rotation_pipeline.reporting.words import LANGUAGES, Words

DATA = reporting_frames.build(24)


def measures(month: pd.Timestamp = DATA.month) -> pd.DataFrame:
    rows = []
    for place, (strategy, portfolio) in enumerate((s, p) for s in STOCK_STRATEGIES for p in PORTFOLIOS):
        for name in MEASURE_NAMES:
            value = {"capacity": 2.5e8 + place * 1e6, "sharpe": 0.5, "excess_to_equal_weight": 0.0123}.get(
                name, 0.01 * (place + 1)
            )
            known = not (name == "excess_to_equal_weight" and strategy == "equal_weight")
            rows.append(
                (
                    month,
                    strategy,
                    portfolio,
                    name,
                    value if known else None,
                    -0.2 if known else None,
                    0.3 if known else None,
                    24,
                )
            )
    return pd.DataFrame(rows, columns=["month", "strategy", "portfolio", "measure", "value", "low", "high", "months"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_book_has_a_row(language: str) -> None:
    words = Words(language)
    sheet = stock_level(replace(DATA, stock_measures=measures()), words)
    assert len(sheet.rows) == len(STOCK_STRATEGIES) * len(PORTFOLIOS)
    assert all(len(row) == len(sheet.heads) == len(ON_PAGE) + 2 for row in sheet.rows)
    assert len({row[0].text for row in sheet.rows}) == len(sheet.rows)


def test_figures_are_those_of_the_table() -> None:
    first, second = stock_level_text(measures())[:2]
    assert first["book"] == "Top group, Rotation"
    assert first["capacity"] == "250"
    assert first["sharpe"] == "0.50 [−0.20, 0.30]"
    assert first["excess_to_equal_weight"] == "1.23% [−20.00, 30.00]"
    assert second["excess_to_equal_weight"] == "–"
    assert first["annualised_return"] == "1.0%"


def test_a_book_that_never_held_a_stock_claims_nothing() -> None:
    rows = measures()
    rows.loc[(rows["portfolio"] == "index_tilt") & (rows["measure"] == "volatility"), "value"] = 0.0
    empty = [row for row in stock_level_text(rows) if "Tilted index" in row["book"]]
    assert len(empty) == len(STOCK_STRATEGIES)
    for row in empty:
        assert row["book"].endswith("(held no stock: figures are missing)")
        assert {text for name, text in row.items() if name not in ("book", "months")} == {"–"}
    others = [row for row in stock_level_text(rows) if "Tilted index" not in row["book"]]
    assert others == [row for row in stock_level_text(measures()) if "Tilted index" not in row["book"]]


def test_the_page_shows_the_books_as_of_its_month() -> None:
    later = measures(DATA.month + pd.DateOffset(months=1)).assign(value=9.87)
    page = render_report(replace(DATA, stock_measures=pd.concat([measures(), later])))
    assert Words("en")("table.stock_level") in page
    assert "Top group, Rotation" in page
    assert "987" not in page.split(Words("en")("table.stock_level"))[1].split("</table>")[0]
    without = render_report(DATA)
    assert "stock_measures has no rows" in without
