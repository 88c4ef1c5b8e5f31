"""`rotation reconcile A B`: two sources for the same months."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotation_pipeline.cli.terminal import (
    FromOption,
    JsonOption,
    SetOption,
    ToOption,
    app,
    err,
    escaped,
    month_of,
    out,
    plain_key,
    rich_table,
    settings_of,
    short_value,
)

if TYPE_CHECKING:
    from rotation_pipeline.sources.reconciliation import Reconciliation

WORST_SHOWN = 15
"""Worst rows a screen shows; ``--json`` gives all that are kept."""


@app.command()
def reconcile(
    a: Annotated[str, typer.Argument(help="A DuckDB file, a folder of files, or the name of a source.")],
    b: Annotated[str, typer.Argument(help="What it is held against: the same kinds.")],
    first: FromOption = None,
    last: ToOption = None,
    only_common: Annotated[
        bool, typer.Option("--common", help="Only securities and indices both have: sources of different coverage.")
    ] = False,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two sources: rows, prices, volumes, returns; exit 1 if they differ. Example: rotation reconcile data/a.duckdb FOLDER --from 2014-01 --to 2014-12"""
    from rotation_pipeline.cli.computing import fetching
    from rotation_pipeline.market.calendar import months_between
    from rotation_pipeline.orchestration.reconcile import reconcile as compare
    from rotation_pipeline.orchestration.reconcile import side

    settings = settings_of(pairs=pairs)

    def listen(done: int, total: int) -> None:
        if not as_json and out.is_terminal:
            err.print(f"compared {done} of {total} months", highlight=False)

    with ExitStack() as stack:
        left, right = stack.enter_context(side(a, settings)), stack.enter_context(side(b, settings))
        low = month_of(first, "--from") if first else max(left.first, right.first)
        high = month_of(last, "--to") if last else min(left.last, right.last)
        if low > high:
            raise typer.BadParameter(f"{a} and {b} have no month in common from {low:%Y-%m} to {high:%Y-%m}")
        months, tell = months_between(low, high), fetching(as_json)
        found = compare(left, right, settings, months, only_common=only_common, listen=listen, fetching=tell)
    span = f"{low:%Y-%m} … {high:%Y-%m}"
    if as_json:
        facts: dict[str, Any] = {
            "a": a, "b": b, "months": span, "agree": found.agree, "named": list(found.named), "rows": found.rows.to_dicts(),
            "columns": found.columns.to_dicts(), "worst": found.worst.to_dicts(), "missing": found.missing.to_dicts(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(_finite(facts), ensure_ascii=False, default=str) + "\n")
    else:
        _print(found, a, b, span)
    if not found.agree:
        raise typer.Exit(1)


def _finite(value: Any) -> Any:  # JSON has no infinity: a value one side lacks has no size
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _print(found: Reconciliation, a: str, b: str, span: str) -> None:
    out.print(f"A {escaped(a)}\nB {escaped(b)}\n{span}", highlight=False, soft_wrap=True)
    out.print(rich_table(found.rows.to_dicts()))
    names = ("table", "column", "compared", "beyond", "largest", "null_in_a", "null_in_b")
    rows = found.columns.select(names).to_dicts()
    out.print(
        rich_table([{**row, "largest": "" if row["largest"] is None else f"{row['largest']:.2g}"} for row in rows])
    )
    for text in found.named:
        out.print(escaped(text), highlight=False, soft_wrap=True)
    worst = found.worst.head(WORST_SHOWN).to_dicts()
    if worst:
        out.print(f"worst rows ({len(worst)} of {found.worst.height} kept)", highlight=False)
        shown = [
            {"table": row["table"], "column": row["column"], "row": plain_key(row["row_key"]), "A": short_value(row["a"]), "B": short_value(row["b"]), "size": f"{row['size']:.2g}"}
            for row in worst
        ]  # fmt: skip
        out.print(rich_table(shown))
    if found.missing.height:
        out.print(f"rows one side lacks ({found.missing.height})", highlight=False)
        lacking = found.missing.head(WORST_SHOWN).to_dicts()
        out.print(
            rich_table(
                [
                    {"table": row["table"], "lacking": row["lacking"].upper(), "row": plain_key(row["row_key"])}
                    for row in lacking
                ]
            )
        )
    out.print("They agree." if found.agree else "They differ.", highlight=False)
