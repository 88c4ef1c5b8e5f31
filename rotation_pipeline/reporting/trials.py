"""The configurations ever evaluated as a table, and which of them the deflated Sharpe ratio counts."""

from __future__ import annotations

import json
from typing import Any, cast

from rotation_pipeline.backtest.counting import counts, read_trials
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.formats import count, plain
from rotation_pipeline.reporting.frames import records
from rotation_pipeline.reporting.sheets import Cell, Head, Sheet
from rotation_pipeline.reporting.words import Words


def trials(data: ReportData, words: Words) -> Sheet:
    """Every configuration at its last evaluation up to the report's month."""
    rows = data.history("trials").drop_duplicates("trial_id", keep="last").sort_values(["strategy", "trial_id"])
    counted = counts(read_trials(rows))
    heads = [Head(words(f"head.{key}"), numeric=False) for key in ("trial", "book", "counts")]
    heads += [
        Head(words("head.months")),
        Head(words("head.sharpe_month")),
        Head(words("head.configuration"), numeric=False),
    ]
    cells = [
        [
            Cell(str(row["trial_id"])[:12]),
            Cell(words.named("book", str(row["strategy"])), _kind(row, words)),
            Cell(words(f"counts.{counted[str(row['trial_id'])]}")),
            Cell(count(row["months"])),
            Cell(plain(row["sharpe"], 3)),
            Cell(str(row["configuration"])),
        ]
        for row in records(rows)
    ]
    return Sheet("trials", words("table.trials"), words("table.trials.how"), heads, cells, folded=True)


def _kind(row: dict[str, object], words: Words) -> str:
    """What a trial is, where it is no book of the factor-level backtest; of one traded as stocks, as which portfolio."""
    kind = str(row["kind"])
    if kind == "stock_book":
        described = cast(dict[str, Any], json.loads(str(row["configuration"])))
        portfolio = str(described.get("configuration", {}).get("portfolio", ""))
        return words("trial.stock_book", portfolio=words.named("stock", portfolio))
    return words("trial.cell") if kind == "cell" else ""
