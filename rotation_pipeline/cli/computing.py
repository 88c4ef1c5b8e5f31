"""Commands that compute: run and ingest."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rotation_pipeline.cli import restating
from rotation_pipeline.cli.terminal import (
    DatabaseOption,
    FromOption,
    JsonOption,
    PathOption,
    SetOption,
    SourceOption,
    ToOption,
    app,
    err,
    escaped,
    month_of,
    out,
    rich_table,
    settings_of,
)

if TYPE_CHECKING:
    from rotation_pipeline.orchestration.runner import Event
    from rotation_pipeline.orchestration.stages import Outcome
    from rotation_pipeline.settings import Settings
    from rotation_pipeline.sources.base import Source


SECONDS_BETWEEN_LINES = 5.0
"""How often a download tells how far it is."""


@contextmanager
def show_progress(quiet: bool) -> Generator[Callable[[Event], None]]:
    """Bars on a terminal, one line a stage in a pipe, nothing with --json."""
    if quiet:
        yield lambda _event: None
        return
    if not out.is_terminal:

        def line(event: Event) -> None:
            if event.outcome is not None:
                rows = sum(event.outcome.rows.values())
                text = _done(event.outcome, f"{rows} rows, {event.outcome.seconds:.1f} s")
                err.print(
                    f"[{event.position + 1}/{event.stages}] {event.stage.name}: {text}", markup=False, highlight=False
                )

        yield line
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        overall = bars.add_task("graph", total=None)
        stage_bar = bars.add_task("", total=1, visible=False)

        def show(event: Event) -> None:
            bars.update(overall, total=event.stages, completed=event.position + (event.outcome is not None))
            if event.outcome is not None:
                rows = sum(event.outcome.rows.values())
                text = _done(event.outcome, f"{rows:>9,} rows  {event.outcome.seconds:6.1f} s")
                bars.console.print(f"[green]✓[/] {event.stage.name:<24} {text}", highlight=False)
                bars.update(stage_bar, visible=False)
            elif event.total:
                bars.update(
                    stage_bar, description=event.stage.name, total=event.total, completed=event.done, visible=True
                )
            else:
                bars.update(overall, description=event.stage.name)

        yield show


def _done(outcome: Outcome, rows_and_time: str) -> str:
    """What a stage did, and how many months it found stored."""
    kept = f"{outcome.kept} month{'s' if outcome.kept > 1 else ''} stored before"
    if not outcome.kept:
        return rows_and_time
    return f"{rows_and_time}, {kept}" if outcome.months else kept


def _execute(
    settings: Settings, months: Sequence[date], only: Sequence[str] | None, as_json: bool, *, again: bool = True
) -> list[Any]:
    from rotation_pipeline.cli.interrupt import heed_interrupts
    from rotation_pipeline.orchestration.runner import download, make_source, run_graph, stages_named
    from rotation_pipeline.warehouse.store import open_warehouse

    def warn(text: str) -> None:
        err.print(f"[yellow]warning[/] {escaped(text)}", highlight=False, soft_wrap=True)

    chosen = stages_named(only)  # what is wrong with names or the source is told before a database is made
    source = make_source(settings)
    _tell_refused(source, as_json)
    tell = fetching(as_json)
    with heed_interrupts() as refuse_after_interrupt:
        if any(stage.fetches for stage in chosen):
            download(settings, source, months, tell)
        with (
            nothing_left_behind(settings.database_path, settings.threads),
            open_warehouse(settings.database_path, threads=settings.threads) as warehouse,
            show_progress(as_json) as show,
        ):

            def listen(event: Event) -> None:
                refuse_after_interrupt()
                show(event)

            return run_graph(
                warehouse,
                settings,
                months,
                only=only,
                source=source,
                listen=listen,
                warn=warn,
                fetching=tell,
                again=again,
            )


@contextmanager
def nothing_left_behind(path: Path, threads: int) -> Generator[None]:
    """Remove a database that was made here and holds nothing, when what was to fill it fails."""
    from rotation_pipeline.warehouse.errors import WarehouseError
    from rotation_pipeline.warehouse.store import open_warehouse

    existed, had_folder = path.exists(), path.parent.exists()
    try:
        yield
    except BaseException:
        if not existed and path.exists():
            try:
                with open_warehouse(path, read_only=True, threads=threads) as warehouse:
                    empty = warehouse.count("raw.ingestions") == 0
            except WarehouseError:  # somebody else's by now
                empty = False
            if empty:
                path.unlink()
                if not had_folder and not any(path.parent.iterdir()):
                    path.parent.rmdir()
        raise


def _tell_refused(source: Source, quiet: bool) -> None:
    """What a vendor won't deliver, before it is asked for anything."""
    from rotation_pipeline.sources.base import Downloads

    for table, why in source.refused().items() if isinstance(source, Downloads) and not quiet else ():
        err.print(f"source {source.name} does not serve {table}: {why}", markup=False, highlight=False, soft_wrap=True)


def fetching(quiet: bool) -> Callable[[int, int, str], None]:
    """A line every few seconds while a vendor delivers, and one for everything out of the ordinary."""
    last = time.monotonic()

    def show(done: int, total: int, text: str) -> None:
        nonlocal last
        unusual = len(text.split()) > 2 or text == "done"
        if not quiet and (unusual or done == 0 or time.monotonic() - last >= SECONDS_BETWEEN_LINES):
            last = time.monotonic()
            err.print(f"fetched {done} of {total}: {text}", markup=False, highlight=False, soft_wrap=True)

    return show


@app.command()
def run(
    source: SourceOption = None,
    path: PathOption = None,
    first: FromOption = None,
    last: ToOption = None,
    database: DatabaseOption = None,
    month: Annotated[str | None, typer.Option(help="Compute this month alone.")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only what a restatement that was taken over made stale, every month of it.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Compute everything, also what the same code, packages, settings and data have stored before.",
        ),
    ] = False,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole graph, as far as it is not stored already, and print the verdict. Example: rotation run --source files --path DATA --from 2014-01 --to 2024-01"""
    started = time.monotonic()
    if stale:
        if month or stage or first or last or pairs or again:
            raise typer.BadParameter(
                "--stale computes what is marked, as it was computed: no months, stages or settings"
            )
        restating.run_stale(restating.recorded_settings(source, path, database, pairs), as_json=as_json)
        return
    settings = settings_of(source, path, first, last, database, pairs)
    months = [_month_of_sample(month, settings)] if month else settings.all_months()
    # months and stages that are named are computed whatever is stored
    outcomes = _execute(settings, months, stage, as_json, again=again or bool(month or stage))
    _tell_narratives(settings, outcomes)
    seconds = time.monotonic() - started
    if stage or months[-1] < settings.sample.first:
        _print_stored(settings, months[-1], outcomes, seconds, as_json)
        return
    artifacts = [path for outcome in outcomes for path in outcome.artifacts]
    _print_verdict(settings, months[-1], artifacts, seconds, as_json)


def _tell_narratives(settings: Settings, outcomes: Sequence[Outcome]) -> None:
    """Where a language model is set: who wrote the narratives in the end, and what it took."""
    from rotation_pipeline.narratives.explain import usage
    from rotation_pipeline.orchestration.stages import to_pandas

    frames = [frame for outcome in outcomes for name, frame in outcome.frames.items() if name == "marts.narratives"]
    for frame in frames if settings.llm.base_url is not None else []:
        err.print(usage(to_pandas(frame)), markup=False, highlight=False, soft_wrap=True)


def _month_of_sample(text: str, settings: Settings) -> date:
    chosen = month_of(text, "--month")
    if chosen < settings.history_start:
        raise typer.BadParameter(
            f"--month: {chosen:%Y-%m} lies before the first month of market data, {settings.history_start:%Y-%m} "
            f"(sample.start {settings.sample.start} less sample.history_months {settings.sample.history_months}); "
            "choose that month or a later one, or set sample.start earlier (--from)"
        )
    return chosen


def _print_stored(settings: Settings, month: date, outcomes: Sequence[Outcome], seconds: float, as_json: bool) -> None:
    """What a run of some stages, or of a month without a backtest, left behind; the verdict is that of a whole run."""
    from rotation_pipeline.orchestration.reports import last_month, require_report
    from rotation_pipeline.warehouse.errors import MissingPartition, StaleResults
    from rotation_pipeline.warehouse.store import open_warehouse

    rows = [
        {
            "stage": outcome.stage,
            "table": name,
            "first": f"{outcome.months[0]:%Y-%m}",
            "last": f"{outcome.months[-1]:%Y-%m}",
            "rows": count,
        }
        for outcome in outcomes
        if outcome.months  # others begin later than what was asked for
        for name, count in outcome.rows.items()
    ]
    with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as warehouse:
        try:
            require_report(warehouse, settings, last_month(warehouse))
            state = "The stored results belong together; `rotation report` writes them up"
        except (StaleResults, MissingPartition) as error:
            state = str(error)
    artifacts = [str(path) for outcome in outcomes for path in outcome.artifacts]
    if as_json:
        facts = {
            "verdict": None,
            "month": f"{month:%Y-%m}",
            "stored": rows,
            "state": state,
            "reports": artifacts,
            "database": str(settings.database_path),
            "seconds": round(seconds, 1),
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return
    out.print(rich_table(rows))
    why = "single stages were run" if month >= settings.sample.first else f"{month:%Y-%m} lies before the sample"
    out.print(f"No verdict: {why}. {escaped(state)}", highlight=False, soft_wrap=True)
    for path in artifacts:
        out.print(path, highlight=False, soft_wrap=True)
    out.print(f"database {settings.database_path}   {seconds:.0f} s", highlight=False, soft_wrap=True)


def _print_verdict(settings: Settings, month: date, artifacts: Sequence[Path], seconds: float, as_json: bool) -> None:
    from rotation_pipeline.orchestration.reports import load_report_data
    from rotation_pipeline.reporting.terminal import verdict_table_text
    from rotation_pipeline.warehouse.store import open_warehouse

    with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as warehouse:
        data = load_report_data(warehouse, settings, month)
    rows = verdict_table_text(data)
    sentences = data.verdict.sentences("en")
    if as_json:
        facts = {
            "source": data.source_name,
            "source_kind": data.source_kind,
            "month": f"{data.month:%Y-%m}",
            "verdict": data.verdict.state,
            "sentences": list(sentences),
            "table": rows,
            "reports": [str(path) for path in artifacts],
            "database": str(settings.database_path),
            "seconds": round(seconds, 1),
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")
        return
    out.print()
    colour = "yellow" if data.source_kind == "simulated" else "green"
    out.print(
        f"[bold {colour}]{data.source_kind.upper()} DATA[/]  source {escaped(data.source_name)}, {settings.sample.start} … {data.month:%Y-%m}"
    )
    for sentence in sentences:
        out.print(f"[bold]{escaped(sentence)}[/]", highlight=False)
    out.print(rich_table(rows))
    for path in artifacts:
        out.print(f"{path.suffix[1:]:<6} {path}", highlight=False, soft_wrap=True)
    out.print(f"database {settings.database_path}   {seconds:.0f} s", highlight=False, soft_wrap=True)


@app.command()
def ingest(
    source: SourceOption = None,
    path: PathOption = None,
    first: FromOption = None,
    last: ToOption = None,
    database: DatabaseOption = None,
    restated: Annotated[
        bool,
        typer.Option("--restated", help="Show what the source delivers otherwise than stored; nothing is changed."),
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="With --restated: take it over; what was made of it becomes stale.")
    ] = False,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch, check and store market data only. Example: rotation ingest --source files --path DATA --to 2020-12"""
    if accept and not restated:
        raise typer.BadParameter("--accept takes over what --restated shows; give both")
    if restated:
        stored = restating.recorded_settings(source, path, database, pairs)
        months = restating.chosen_months(stored, first, last)
        restating.restated(stored, months, accept=accept, as_json=as_json)
        return
    settings = settings_of(source, path, first, last, database, pairs)
    outcomes = _execute(settings, settings.all_months(), ["raw_market_data"], as_json)
    rows = [{"table": name, "rows": count} for outcome in outcomes for name, count in outcome.rows.items()]
    covered = _coverage(outcomes, settings)
    if as_json:
        facts = {"database": str(settings.database_path), "tables": rows, "coverage": covered}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        out.print(rich_table(rows))
        out.print("coverage", highlight=False)
        out.print(rich_table(covered))
        if any(row["quarantined"] or row["warnings"] for row in covered):
            where = escaped(str(settings.database_path))
            out.print(
                f"Which rows, and why: `rotation show raw.quarantine --database {where}`",
                highlight=False,
                soft_wrap=True,
            )


def _coverage(outcomes: Sequence[Outcome], settings: Settings) -> list[dict[str, Any]]:
    """Of each canonical table: months with rows of those asked for, rows stored, kept out and warned of."""
    from rotation_pipeline.market.tables import SOURCE_TABLES

    asked = len(settings.all_months())
    found: dict[str, list[dict[str, Any]]] = {table.name: [] for table in SOURCE_TABLES}
    for outcome in outcomes:
        for row in outcome.frames["raw.ingestions"].iter_rows(named=True):
            found[row["table_name"]].append(row)
    return [
        {
            "table": name,
            "served": "yes" if rows else "no",
            "months": f"{sum(row['rows'] > 0 for row in rows)} of {asked}",
            "first": min((f"{row['month']:%Y-%m}" for row in rows if row["rows"]), default=None),
            "last": max((f"{row['month']:%Y-%m}" for row in rows if row["rows"]), default=None),
            "rows": sum(row["rows"] for row in rows),
            "quarantined": sum(row["quarantined"] for row in rows),
            "warnings": sum(row["warnings"] for row in rows),
        }
        for name, rows in found.items()
    ]
