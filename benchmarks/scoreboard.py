"""The research core's speeds in one table: every benchmark leaves its rows here, `make bench` prints them at the end.

A row is one line of JSON in the file that the variable BENCH_TABLE names; without it nothing is written. What left no row
is named as not measured, so a missing peer or a broken benchmark is seen.

    BENCH_TABLE=build/bench.jsonl python benchmarks/bench_regimes_hmm.py
    python benchmarks/scoreboard.py build/bench.jsonl
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

GATE = 0.8
"""A goal counts as kept from this share of it on."""
ROWS = (
    "factor table, against pandas group-by",
    "factor table, against polars",
    "factor table, against DuckDB windows",
    "factor table, against Qlib without cache",
    "factor table from the kept panel, against pandas",
    "factor table, one further month against all",
    "factor kernel, against the bandwidth limit",
    "factor kernel, against KunQuant",
    "factor table, peak memory",
    "scores, quintiles and ICs, against pandas and alphalens",
    "networks, monthly form, CPU against an nn module loop",
    "networks, daily form, CPU against an nn module loop",
    "networks, daily form, two fits on two cores",
    "hidden Markov models, against hmmlearn",
    "jump model, against jumpmodels",
    "recovery study",
    "stock-level engine, the same orders in backtrader",
    "stock-level engine, 50 stocks, ten years, a book",
    "stock-level engine, 5,000 stocks, ten years, a book",
    "Dagster around the graph, against the command line",
)


def add(row: str, figure: str, goal: str = "–", verdict: str = "–") -> None:
    """Leave a row; ValueError for one the table does not have."""
    if row not in ROWS:
        raise ValueError(f"the table has no row {row!r}; add it to ROWS")
    path = os.environ.get("BENCH_TABLE")
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"row": row, "figure": figure, "goal": goal, "verdict": verdict}) + "\n")


def verdict(value: float, goal: float) -> str:
    """Of a figure that should be at least ``goal``."""
    return "reached" if value >= goal else "within a fifth" if value >= GATE * goal else "MISSED"


def ceiling(value: float, goal: float) -> str:
    """Of a figure that should be at most ``goal``."""
    return "reached" if value <= goal else "within a fifth" if value * GATE <= goal else "MISSED"


def table(lines: Sequence[str]) -> str:
    """The rows in their order; each that is absent says so."""
    found = [json.loads(line) for line in lines if line.strip()]
    rows = [("what", "measured", "goal", "")]
    for name in ROWS:
        own = [item for item in found if item["row"] == name]
        rows += [(name if i == 0 else "", each["figure"], each["goal"], each["verdict"]) for i, each in enumerate(own)]
        rows += [] if own else [(name, "not measured in this run", "", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
