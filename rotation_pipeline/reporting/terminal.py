"""The headline table as rows for a terminal."""

from __future__ import annotations

from rotation_pipeline.reporting import sheets
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.words import Words

KEYS = ("return", "volatility", "sharpe", "max_drawdown", "turnover", "cost", "information_ratio")


def verdict_table_text(data: ReportData, language: str = "en") -> list[dict[str, str]]:
    """One row per book, the headline first: net figures as text, intervals in brackets behind their ratio.

    Keys: strategy, role, the figures (return, volatility and cost a year, turnover between styles a month), months.
    """
    words = Words(language)
    sheet = sheets.headline(data, words)
    roles = data.roles()
    names = {words(f"book.{book}"): book for book in data.strategies()}
    rows: list[dict[str, str]] = []
    for book, *cells, months in sheet.rows:
        figures = {key: f"{cell.text} {cell.aside}".strip() for key, cell in zip(KEYS, cells, strict=True)}
        rows.append(
            {"strategy": book.text, "role": words(f"role.{roles[names[book.text]]}"), **figures, "months": months.text}
        )
    return rows
