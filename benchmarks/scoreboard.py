"""The research core's speeds in one table: every benchmark leaves its rows here, `make bench` prints them at the end.

A row is one line of JSON in the file that the variable BENCH_TABLE names; without it nothing is written. What left no row
is named as not measured, so a missing peer or a broken benchmark is seen.

    BENCH_TABLE=build/bench.jsonl python benchmarks/bench_regimes_hmm.py
    python benchmarks/scoreboard.py build/bench.jsonl
    python benchmarks/scoreboard.py build/bench.jsonl --page docs/speed.md

The last writes the table between the page's marks.
"""

from __future__ import annotations

import argparse
import json
import os
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
    "`rotation run` for one further month, report included, against all",
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


def rows_of(lines: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """The rows in their order under a head; each that is absent says so."""
    found = [json.loads(line) for line in lines if line.strip()]
    rows = [("what", "measured", "goal", "")]
    for name in ROWS:
        own = [item for item in found if item["row"] == name]
        rows += [(name if i == 0 else "", each["figure"], each["goal"], each["verdict"]) for i, each in enumerate(own)]
        rows += [] if own else [(name, "not measured in this run", "", "")]
    return rows


def table(lines: Sequence[str]) -> str:
    """The rows as text."""
    rows = rows_of(lines)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


def into_page(page: Path, lines: Sequence[str]) -> None:
    """The rows as a table between the page's marks; SystemExit for a page without them."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}; the table goes between them")
    head, *rows = [f"| {' | '.join(row)} |" for row in rows_of(lines)]
    laid = "\n".join([head, "|---|---|---|---|", *rows])
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{laid}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Print the table of a file of rows, and write it into a page if one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    lines = arguments.rows.read_text(encoding="utf-8").splitlines()
    print(table(lines))
    if arguments.page:
        into_page(arguments.page, lines)


if __name__ == "__main__":
    main()
