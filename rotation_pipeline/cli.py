"""`rotation …`: the graph without a server.

Exit codes: 0 done; 1 a check failed or the data were refused; 2 wrong usage or settings; 3 the database is held by
another process; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from rotation_pipeline.orchestration.runner import Event
    from rotation_pipeline.settings import Settings
    from rotation_pipeline.warehouse.store import Warehouse

app = typer.Typer(
    name="rotation",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Style rotation for Chinese equities: raw prices to verified narratives, stored by month in DuckDB.",
)
INTERRUPTED = 130
PIPE_WIDTH = 200
"""Columns of a line where nobody's window bounds it."""
out = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
err = Console(stderr=True)

SourceOption = Annotated[str | None, typer.Option("--source", help="Data source: simulated or files.")]
PathOption = Annotated[Path | None, typer.Option("--path", help="Folder of the files source.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First month of the sample, as 2014-01.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Last month of the sample, as 2024-01.")]
DatabaseOption = Annotated[
    Path | None, typer.Option("--database", help="DuckDB file; by default one per source under data/.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, as allocation.temperature=0.5; may be repeated.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class Language(StrEnum):
    """Languages of narratives and reports."""

    EN = "en"
    ZH = "zh"


def main() -> None:
    """Entry point: errors become one readable line and an exit code."""
    from rotation_pipeline.narratives.explain import NoNarrative
    from rotation_pipeline.settings import SettingsError
    from rotation_pipeline.warehouse.errors import DatabaseLocked, WarehouseError

    try:
        app()
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
            _fail(
                "interrupted; every month is either as it was or complete. Run the same command to go on", INTERRUPTED
            )
        raise
    except SettingsError as error:
        _fail(f"settings: {error}", 2)
    except DatabaseLocked as error:
        _fail(str(error), 3)
    except (WarehouseError, NoNarrative, ValueError, OSError) as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    err.print(f"[bold red]error[/] {_escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _overrides(
    source: str | None,
    path: Path | None,
    first: str | None,
    last: str | None,
    database: Path | None,
    pairs: Sequence[str] | None,
) -> dict[str, Any]:
    given: dict[str, Any] = {}

    def put(name: str, value: object) -> None:
        if value is None:
            return
        *groups, leaf = name.split(".")
        here: dict[str, Any] = given
        for depth, group in enumerate(groups):
            inner: object = here.setdefault(group, {})
            if not isinstance(inner, dict):
                raise typer.BadParameter(f"{'.'.join(groups[: depth + 1])} is given twice: as a value and as a group")
            here = cast(dict[str, Any], inner)
        if isinstance(here.get(leaf), dict) and not isinstance(value, dict):
            raise typer.BadParameter(f"{name} is given twice: as a value and as a group")
        here[leaf] = value

    put("source.name", source)
    put("source.path", path)
    put("sample.start", first)
    put("sample.end", last)
    put("database", database)
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign:
            raise typer.BadParameter(f"--set {pair}: expected NAME=VALUE, as allocation.temperature=0.5")
        try:
            put(name, json.loads(value))
        except json.JSONDecodeError:
            put(name, value)
    return given


def _month(text: str, option: str) -> date:
    from rotation_pipeline.market.calendar import CalendarError, parse_month

    try:
        return parse_month(text)
    except CalendarError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def _settings(
    source: str | None = None,
    path: Path | None = None,
    first: str | None = None,
    last: str | None = None,
    database: Path | None = None,
    pairs: Sequence[str] | None = None,
) -> Settings:
    from rotation_pipeline.settings import load_settings

    return load_settings(**_overrides(source, path, first, last, database, pairs))


@contextmanager
def _recorded(settings: Settings) -> Generator[tuple[Warehouse, Settings]]:
    """The stored database, read-only, with the settings of the run that last wrote it."""
    from rotation_pipeline.settings import stored_settings
    from rotation_pipeline.warehouse.errors import WarehouseError
    from rotation_pipeline.warehouse.store import open_warehouse

    path = settings.database_path
    if not path.exists():
        others = sorted(str(found) for found in path.parent.glob("*.duckdb"))
        hint = f"; there are {', '.join(others)} (--database FILE)" if others else ""
        raise WarehouseError(f"there is no database at {path}; make one with `rotation run`{hint}")
    with open_warehouse(path, read_only=True, threads=settings.threads) as warehouse:
        yield warehouse, stored_settings(warehouse.latest_run()["settings"], database=path, output=settings.output)


@contextmanager
def _progress(quiet: bool) -> Generator[Callable[[Event], None]]:
    """Bars on a terminal, one line a stage in a pipe, nothing with --json."""
    if quiet:
        yield lambda _event: None
        return
    if not out.is_terminal:

        def line(event: Event) -> None:
            if event.outcome is not None:
                rows = sum(event.outcome.rows.values())
                err.print(
                    f"[{event.position + 1}/{event.stages}] {event.stage.name}: {rows} rows, {event.outcome.seconds:.1f} s",
                    markup=False,
                    highlight=False,
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
                bars.console.print(
                    f"[green]✓[/] {event.stage.name:<24} {rows:>9,} rows  {event.outcome.seconds:6.1f} s",
                    highlight=False,
                )
                bars.update(stage_bar, visible=False)
            elif event.total:
                bars.update(
                    stage_bar, description=event.stage.name, total=event.total, completed=event.done, visible=True
                )
            else:
                bars.update(overall, description=event.stage.name)

        yield show


def _execute(settings: Settings, months: Sequence[date], only: Sequence[str] | None, as_json: bool) -> list[Any]:
    from rotation_pipeline.orchestration.runner import run_graph
    from rotation_pipeline.warehouse.store import open_warehouse

    with open_warehouse(settings.database_path, threads=settings.threads) as warehouse, _progress(as_json) as listen:
        return run_graph(warehouse, settings, months, only=only, listen=listen)


@app.command()
def run(
    source: SourceOption = None,
    path: PathOption = None,
    first: FromOption = None,
    last: ToOption = None,
    database: DatabaseOption = None,
    month: Annotated[str | None, typer.Option(help="Compute this month alone.")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole graph and print the verdict. Example: rotation run --source files --path DATA --from 2014-01 --to 2024-01"""
    started = time.monotonic()
    settings = _settings(source, path, first, last, database, pairs)
    months = [_month(month, "--month")] if month else settings.all_months()
    outcomes = _execute(settings, months, stage, as_json)
    artifacts = [path for outcome in outcomes for path in outcome.artifacts]
    _print_verdict(settings, artifacts, time.monotonic() - started, as_json)


def _print_verdict(settings: Settings, artifacts: Sequence[Path], seconds: float, as_json: bool) -> None:
    from rotation_pipeline.orchestration.reports import load_report_data
    from rotation_pipeline.reporting.terminal import verdict_table_text
    from rotation_pipeline.warehouse.store import open_warehouse

    with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as warehouse:
        stored = warehouse.months("marts.backtest_measures")
        if not stored:
            out.print("stored; there is no backtest yet, so no verdict" if not as_json else "{}")
            return
        data = load_report_data(warehouse, settings, min(stored[-1], settings.sample.last))
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
        f"[bold {colour}]{data.source_kind.upper()} DATA[/]  source {_escape(data.source_name)}, {settings.sample.start} … {data.month:%Y-%m}"
    )
    for sentence in sentences:
        out.print(f"[bold]{_escape(sentence)}[/]", highlight=False)
    out.print(_rich_table(rows))
    for path in artifacts:
        out.print(f"{path.suffix[1:]:<6} {path}", highlight=False, soft_wrap=True)
    out.print(f"database {settings.database_path}   {seconds:.0f} s", highlight=False, soft_wrap=True)


TEXT_COLUMNS = frozenset({"strategy", "role", "table", "source", "note"})
SPARED_FIRST = ("months", "role", "cost", "volatility", "turnover", "max_drawdown")
"""Columns a narrow window does without, in this order; the report has them all."""


def _rich_table(rows: Sequence[dict[str, Any]]) -> RichTable:
    """Rows as a table that fits the window: columns are left out rather than folded into ribbons."""
    names = list(rows[0]) if rows else []

    def width() -> int:
        return sum(max(len(name), *(len(str(row[name])) for row in rows)) + 2 for name in names)

    for name in SPARED_FIRST:
        if rows and name in names and width() > out.width:
            names.remove(name)
    table = RichTable(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name in TEXT_COLUMNS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[name] is None else _escape(str(row[name])) for name in names))
    return table


@app.command()
def ingest(
    source: SourceOption = None,
    path: PathOption = None,
    first: FromOption = None,
    last: ToOption = None,
    database: DatabaseOption = None,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch, check and store market data only. Example: rotation ingest --source files --path DATA --to 2020-12"""
    settings = _settings(source, path, first, last, database, pairs)
    outcomes = _execute(settings, settings.all_months(), ["raw_market_data"], as_json)
    rows = [{"table": name, "rows": count} for outcome in outcomes for name, count in outcome.rows.items()]
    if as_json:
        sys.stdout.write(json.dumps({"database": str(settings.database_path), "tables": rows}) + "\n")
    else:
        out.print(_rich_table(rows))


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
    from rotation_pipeline.orchestration.reports import write_reports

    with _recorded(_settings(source, path, database=database)) as (warehouse, settings):
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
    month: Annotated[str, typer.Option("--month", help="Month, as 2015-06.")],
    language: Annotated[Language, typer.Option("--lang", help="Language of the text.")] = Language.EN,
    facts: Annotated[bool, typer.Option("--facts", help="With the table of facts and their sources.")] = False,
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the verified narrative of a month. Example: rotation explain --month 2015-06 --lang zh --facts"""
    from rotation_pipeline.narratives.explain import explain as explained
    from rotation_pipeline.orchestration.stages import to_pandas

    wanted = _month(month, "--month")
    with _recorded(_settings(source, path, database=database)) as (warehouse, _):
        warehouse.require(
            "marts.narratives", [wanted], "narratives exist for the months of the sample only: see `rotation status`"
        )
        narratives = warehouse.read("marts.narratives", first=wanted, last=wanted)
        table = warehouse.read("marts.narrative_facts", first=wanted, last=wanted)
    if as_json:
        rows = narratives.filter(narratives["language"] == language.value).to_dicts()
        sys.stdout.write(
            json.dumps({"narrative": rows, "facts": table.to_dicts()}, ensure_ascii=False, default=str) + "\n"
        )
        return
    text = explained(to_pandas(narratives), to_pandas(table), wanted, language.value, with_facts=facts)
    out.print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def status(
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is stored, for which months, from which source. Example: rotation status --json"""
    from rotation_pipeline.warehouse.catalog import catalog

    with _recorded(_settings(source, path, database=database)) as (warehouse, _):
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
    if as_json:
        sys.stdout.write(json.dumps({"database": where, "runs": runs, "tables": rows}, default=str) + "\n")
        return
    out.print(f"database {where}", highlight=False, soft_wrap=True)
    for item in runs:
        out.print(
            f"run {item['run_id']}  {item['source_kind']} data of {item['source']}  code {item['code_version']}  {item['finished_at']:%Y-%m-%d %H:%M} UTC",
            highlight=False,
        )
    out.print(_rich_table(rows))


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


@app.command("verify-replay")
def verify_replay_command(
    months: Annotated[int, typer.Option("--months", help="How many months, spread over the sample.")] = 6,
    month: Annotated[list[str] | None, typer.Option("--month", help="This month; may be repeated.")] = None,
    leak: Annotated[
        bool, typer.Option("--leak/--no-leak", help="Also prove that a stage that looks ahead is caught.")
    ] = True,
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that nothing looks ahead: every table at t equals the one of a database cut at t. Example: rotation verify-replay --months 6"""
    from rotation_pipeline.orchestration.replay import Comparison, spread, verify_leak_is_caught, verify_replay

    with _recorded(_settings(source, path, database=database)) as (warehouse, settings):
        sample = [item for item in warehouse.months("marts.backtest") if item >= settings.sample.first]
        chosen = [_month(item, "--month") for item in month] if month else spread(sample, months)
        warehouse.require("raw.trading_days", chosen, "only what is stored can be replayed: see `rotation status`")

        def listen(when: date, found: list[Comparison]) -> None:
            if not as_json:
                wrong = [item for item in found if not item.equal]
                mark = "[red]✗[/]" if wrong else "[green]✓[/]"
                out.print(
                    f"{mark} {when:%Y-%m}  {len(found) - len(wrong)} of {len(found)} tables equal, {sum(item.rows for item in found):,} rows",
                    highlight=False,
                )
                for item in wrong:
                    out.print(
                        f"    {item.table}: {item.different} rows differ ({item.rows} against {item.replayed_rows}); {_escape(item.example)}",
                        highlight=False,
                        soft_wrap=True,
                    )

        comparisons = verify_replay(warehouse, settings, chosen, listen=listen)
        leaks = verify_leak_is_caught(warehouse, settings, chosen) if leak else []
    broken = [item for item in comparisons if not item.equal]
    caught = [item for item in leaks if not item.equal]
    if as_json:
        facts = {
            "months": [f"{item:%Y-%m}" for item in chosen],
            "compared": len(comparisons),
            "different": len(broken),
            "leak_months_caught": sorted({f"{item.month:%Y-%m}" for item in caught}),
            "tables": [
                {"month": f"{item.month:%Y-%m}", "table": item.table, "rows": item.rows, "different": item.different}
                for item in comparisons
            ],
        }
        sys.stdout.write(json.dumps(facts) + "\n")
    elif leak:
        found = ", ".join(sorted({f"{item.month:%Y-%m}" for item in caught})) or "none"
        out.print(
            f"{'[green]✓[/]' if caught else '[red]✗[/]'} a stage with smoothed regimes looks ahead and is caught in: {found}",
            highlight=False,
        )
    if broken or (leak and not caught):
        raise typer.Exit(1)


study = typer.Typer(no_args_is_help=True, help="Studies that run the whole chain many times.")
app.add_typer(study, name="study")


@study.command("recovery")
def study_recovery(
    strength: Annotated[
        list[float] | None, typer.Option("--strength", help="Planted premium strength; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Markets per strength.")] = 20,
    network_seeds: Annotated[int, typer.Option("--network-seeds", min=1, help="Seeds averaged in each network.")] = 2,
    refit_every: Annotated[
        int, typer.Option("--refit-every", min=1, help="Months between refits of the networks.")
    ] = 6,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Markets run at the same time.")] = 2,
    page: Annotated[Path, typer.Option("--page", help="Markdown page to write.")] = Path("docs/recovery.md"),
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is planted rotation found, and nothing where nothing is? Resumes. Example: rotation study recovery --seeds 20"""
    from rotation_pipeline.orchestration.study import Trial, markdown, run_study, summarise

    chosen = strength or [0.0, 1.0]
    given = _overrides(None, None, None, None, None, pairs)
    given["network"] = {"seeds": network_seeds, "workers": 1, **given.get("network", {})}
    given["forecasts"] = {"refit_every": refit_every, **given.get("forecasts", {})}
    from rotation_pipeline.settings import load_settings

    settings = load_settings(**given)

    def listen(trial: Trial, done: int, total: int) -> None:
        if not as_json:
            err.print(
                f"[{done}/{total}] strength {trial.strength:g} seed {trial.seed}: Sharpe difference {trial.sharpe_difference:+.3f}, excess {trial.excess_per_year:+.2%} a year",
                markup=False,
                highlight=False,
            )

    trials = run_study(
        settings,
        chosen,
        list(range(1, seeds + 1)),
        settings.output / "study" / "recovery.csv",
        workers=workers,
        listen=listen,
    )
    command = f"rotation study recovery {' '.join(f'--strength {item:g}' for item in chosen)} --seeds {seeds}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(trials, settings, command), encoding="utf-8")
    rows = [item.__dict__ for item in summarise(trials)]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        out.print(_rich_table([{name: f"{value:.3g}" for name, value in row.items()} for row in rows]))
        out.print(str(page))


@app.command()
def doctor(
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the usual causes of trouble: environment, settings, data coverage, lock holder. Example: rotation doctor"""
    from rotation_pipeline.orchestration.doctor import examine

    findings = examine(_overrides(source, path, None, None, database, None))
    if as_json:
        sys.stdout.write(json.dumps([finding.__dict__ for finding in findings], default=str) + "\n")
    else:
        for finding in findings:
            mark = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}[finding.level]
            out.print(f"{mark} {finding.subject}: {_escape(finding.text)}", highlight=False, soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
