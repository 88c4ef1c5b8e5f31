"""Commands that read what is stored: report, explain, status, lineage and show."""

from __future__ import annotations

import json
import re
import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rotation_pipeline.cli.show import register as register_show
from rotation_pipeline.cli.terminal import (
    DatabaseOption,
    JsonOption,
    Language,
    PathOption,
    SourceOption,
    app,
    month_of,
    out,
    recorded,
    rich_table,
    settings_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from rotation_pipeline.warehouse.store import Warehouse


@app.command()
def report(
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    language: Annotated[
        list[Language] | None, typer.Option("--lang", help="Language of the page; both by default.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML report from what is stored. Example: rotation report --lang zh --open"""
    from rotation_pipeline.orchestration.freshness import run_of_results
    from rotation_pipeline.orchestration.reports import last_month, write_reports
    from rotation_pipeline.settings import stored_settings

    with recorded(settings_of(source, path, database=database)) as (warehouse, latest):
        run = run_of_results(warehouse, last_month(warehouse))
        settings = stored_settings(run["settings"], database=latest.database, output=latest.output)
        written = write_reports(warehouse, settings, languages=[item.value for item in language or Language])
    if as_json:
        sys.stdout.write(json.dumps([str(item) for item in written]) + "\n")
    else:
        for item in written:
            out.print(str(item), highlight=False, soft_wrap=True)
    if opened:
        import webbrowser

        webbrowser.open(written[0].resolve().as_uri())


@app.command()
def explain(
    month: Annotated[str | None, typer.Option("--month", help="Month, as 2015-06.")] = None,
    quarter: Annotated[str | None, typer.Option("--quarter", help="Quarter instead of a month, as 2015Q2.")] = None,
    language: Annotated[Language, typer.Option("--lang", help="Language of the text.")] = Language.EN,
    facts: Annotated[bool, typer.Option("--facts", help="With the table of facts and their sources.")] = False,
    writers: Annotated[
        bool,
        typer.Option(
            "--writers", help="Who wrote each text, why, and what asking took; of all months without --month."
        ),
    ] = False,
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the verified narrative of a month or a quarter. Example: rotation explain --month 2015-06 --lang zh --facts"""
    from rotation_pipeline.narratives.explain import explain as explained
    from rotation_pipeline.orchestration.stages import to_pandas

    if writers and not (month or quarter):
        _print_writers(source, path, database, as_json)
        return
    if (month is None) == (quarter is None):
        raise typer.BadParameter("give either --month, as 2015-06, or --quarter, as 2015Q2; --writers works without")
    wanted = quarter_end(quarter) if quarter is not None else month_of(str(month), "--month")
    period = "month" if quarter is None else "quarter"
    with recorded(settings_of(source, path, database=database)) as (warehouse, _):
        why = "narratives exist for the months of the sample only: see `rotation status`"
        if quarter is not None:
            why = f"a quarter is told when its last month, {wanted:%Y-%m}, is stored; its other months have texts of their own (--month)"
        warehouse.require("marts.narratives", [wanted], why)
        narratives = warehouse.read("marts.narratives", first=wanted, last=wanted, period=period)
        table = warehouse.read("marts.narrative_facts", first=wanted, last=wanted, period=period)
        kind = str(warehouse.latest_run()["source_kind"])
    if writers:
        _print_writing(to_pandas(narratives), as_json)
        return
    if as_json:
        rows = narratives.filter(narratives["language"] == language.value).to_dicts()
        sys.stdout.write(
            json.dumps(
                {"source_kind": kind, "narrative": rows, "facts": table.to_dicts()}, ensure_ascii=False, default=str
            )
            + "\n"
        )
        return
    text = explained(to_pandas(narratives), to_pandas(table), wanted, language.value, facts, period, kind)
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _print_writers(source: str | None, path: Path | None, database: Path | None, as_json: bool) -> None:
    from rotation_pipeline.orchestration.stages import to_pandas

    with recorded(settings_of(source, path, database=database)) as (warehouse, _):
        narratives = to_pandas(warehouse.read("marts.narratives"))
    _print_writing(narratives, as_json)


def _print_writing(narratives: pd.DataFrame, as_json: bool) -> None:
    from rotation_pipeline.narratives.explain import usage, writing

    rows = writing(narratives)
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    out.print(rich_table(rows))
    out.print(usage(narratives), markup=False, highlight=False, soft_wrap=True)


def quarter_end(text: str) -> date:
    """First day of the last month of a quarter written as 2015Q2. Raises typer.BadParameter for anything else."""
    found = re.fullmatch(r"(\d{4})-?Q([1-4])", text.strip(), re.IGNORECASE)
    if found is None:
        raise typer.BadParameter(f"--quarter: {text!r} is no quarter; write it as 2015Q2")
    return date(int(found[1]), 3 * int(found[2]), 1)


@app.command()
def status(
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is stored, for which months, from which source. Example: rotation status --json"""
    from rotation_pipeline.orchestration.consistency import span
    from rotation_pipeline.warehouse.catalog import catalog
    from rotation_pipeline.warehouse.replaced import stale_marks

    with recorded(settings_of(source, path, database=database)) as (warehouse, _):
        rows: list[dict[str, Any]] = []
        for name, table in catalog().items():
            if table.view:
                continue
            months = warehouse.months(name)
            rows.append(
                {
                    "table": name,
                    "rows": warehouse.count(name),
                    "months": len(months),
                    "first": f"{months[0]:%Y-%m}" if months else None,
                    "last": f"{months[-1]:%Y-%m}" if months else None,
                }
            )
        runs = warehouse.runs()
        where = str(warehouse.path)
        books = _stock_books(warehouse)
        stale = {name: sorted(months) for name, months in stale_marks(warehouse).items()}
    if as_json:
        months = {name: [f"{month:%Y-%m}" for month in found] for name, found in stale.items()}
        facts = {"database": where, "runs": runs, "tables": rows, "stale": months, "stock_level": books}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")
        return
    out.print(f"database {where}", highlight=False, soft_wrap=True)
    for item in runs:
        out.print(
            f"run {item['run_id']}  {item['source_kind']} data of {item['source']}  code {item['code_version']}  wrote {item['first_month']:%Y-%m} … {item['last_month']:%Y-%m}  {item['finished_at']:%Y-%m-%d %H:%M} UTC",
            highlight=False,
        )
    out.print(rich_table(rows))
    if stale:
        out.print(
            "stale: computed from rows restated since; `rotation run --stale` computes them again", highlight=False
        )
        out.print(rich_table([{"table": name, "months": span(months)} for name, months in stale.items()]))
    if books:
        out.print("stock-level books, net, all months so far", highlight=False)
        shown = ("book", "annualised_return", "sharpe", "turnover", "cost_drag", "excess_to_equal_weight", "capacity")
        out.print(rich_table([{name: book[name] for name in shown} for book in books]))


def _stock_books(warehouse: Warehouse) -> list[dict[str, Any]]:
    """What the stock-level books earned up to the last month stored."""
    from rotation_pipeline.orchestration.stages import to_pandas
    from rotation_pipeline.reporting.stock_level import stock_level_text

    months = warehouse.months("marts.stock_measures")
    if not months:
        return []
    return stock_level_text(to_pandas(warehouse.read("marts.stock_measures", first=months[-1], last=months[-1])))


@app.command()
def lineage(
    column: Annotated[str, typer.Argument(help="schema.table.column, as marts.weights.weight; or schema.table.")],
    as_json: JsonOption = False,
) -> None:
    """From which columns a column comes, back to the raw ones. Example: rotation lineage marts.weights.weight"""
    from rich.tree import Tree

    from rotation_pipeline.warehouse.catalog import catalog, table_named
    from rotation_pipeline.warehouse.lineage import direct_sources, upstream

    whole = column in catalog() or column.count(".") < 2
    names = [f"{column}.{item}" for item in table_named(column).column_names] if whole else [column]
    try:
        steps = {name: list(upstream(name)) for name in names}
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    if as_json:
        facts = {
            name: [{"column": step.column, "source": step.source} for step in found] for name, found in steps.items()
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    for name in names:
        tree = Tree(f"[bold]{name}[/]")
        shown: set[str] = set()

        def grow(node: Tree, current: str, shown: set[str] = shown) -> None:
            for parent in direct_sources(current):
                known = parent in shown
                shown.add(parent)
                child = node.add(f"{parent}{' [dim]…[/]' if known and direct_sources(parent) else ''}")
                if not known:
                    grow(child, parent)

        grow(tree, name)
        out.print(tree, highlight=False)


register_show(app, lambda source, path, database: recorded(settings_of(source, path, database=database)), out)
