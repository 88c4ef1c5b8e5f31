"""Commands that check: verify-replay, doctor and the studies."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from rotation_pipeline.cli.terminal import (
    DatabaseOption,
    JsonOption,
    PathOption,
    SetOption,
    SourceOption,
    app,
    err,
    escaped,
    month_of,
    out,
    overrides,
    recorded,
    rich_table,
    settings_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from rotation_pipeline.backtest.sensitivity import Unvaried
    from rotation_pipeline.settings import Settings
    from rotation_pipeline.sources.real_data import Check


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
    from rotation_pipeline.orchestration.replay import EXEMPT, Comparison, spread, verify_leak_is_caught, verify_replay

    with recorded(settings_of(source, path, database=database)) as (warehouse, settings):
        sample = [item for item in warehouse.months("marts.backtest") if item >= settings.sample.first]
        chosen = [month_of(item, "--month") for item in month] if month else spread(sample, months)
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
                        f"    {item.table}: {item.different} rows differ ({item.rows} against {item.replayed_rows}); {escaped(item.example)}",
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
            "not_replayed": EXEMPT,
            "tables": [
                {"month": f"{item.month:%Y-%m}", "table": item.table, "rows": item.rows, "different": item.different}
                for item in comparisons
            ],
        }
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        reasons: dict[str, list[str]] = {}
        for name, why in EXEMPT.items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            out.print(f"  not replayed: {', '.join(names)} ({why})", highlight=False, soft_wrap=True)
    if leak and not as_json:
        found = ", ".join(sorted({f"{item.month:%Y-%m}" for item in caught})) or "none"
        out.print(
            f"{'[green]✓[/]' if caught else '[red]✗[/]'} a stage with smoothed regimes looks ahead and is caught in: {found}",
            highlight=False,
        )
    if broken or (leak and not caught):
        raise typer.Exit(1)


study = typer.Typer(no_args_is_help=True, help="Studies that run the whole chain many times.")
app.add_typer(study, name="study")


CHEAP = ("zero", "historical_mean", "factor_momentum", "regime_mean", "pooled_ridge")
"""Experts of the recovery study's default size."""
RECOVERY_SHOWN = (
    "years", "strength", "markets", "claimed", "significant", "mean_difference", "standard_error",
    "mean_balanced_accuracy",
)  # fmt: skip
"""Columns of the recovery study's table on a terminal."""


@study.command("recovery")
def study_recovery(
    strength: Annotated[
        list[float] | None,
        typer.Option("--strength", help="Planted premium strength; may be repeated. By default 0, 0.25, 0.5, 1."),
    ] = None,
    years: Annotated[
        list[int] | None,
        typer.Option("--years", min=1, max=40, help="Sample length; may be repeated. By default 5, 10, 20."),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=2, help="Markets per strength; 40 by default.")] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="Also 40 years, with networks of 2 seeds refitted once a year: hours."),
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Markets run at the same time; by default one a core.")
    ] = None,
    page: Annotated[Path, typer.Option("--page", help="Markdown page to write.")] = Path("docs/recovery.md"),
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is planted rotation found, and nothing where nothing is? Resumes. Example: rotation study recovery --seeds 20"""
    from rotation_pipeline.orchestration.study import Trial, cpu_minutes, run_study, summarise
    from rotation_pipeline.orchestration.study_recovery_page import write_recovery

    settings = _recovery_settings(full, pairs)
    strengths, count = strength or [0.0, 0.25, 0.5, 1.0], seeds or 40
    lengths = years or ([5, 10, 20, 40] if full else [5, 10, 20])

    def listen(trials: Sequence[Trial], done: int, total: int) -> None:
        if not as_json:
            told = ", ".join(f"{one.years} y {one.sharpe_difference:+.3f} {one.state}" for one in trials)
            err.print(
                f"[{done}/{total}] strength {trials[0].strength:g} seed {trials[0].seed}: {told}; {trials[0].cpu_seconds:.0f} s",
                markup=False,
                highlight=False,
            )

    def notice(text: str) -> None:
        err.print(f"[yellow]warning[/] {escaped(text)}", highlight=False, soft_wrap=True)

    trials = run_study(
        settings,
        strengths,
        list(range(1, count + 1)),
        lengths,
        settings.output / "study" / "recovery-markets.csv",
        workers=workers,
        listen=listen,
        notice=notice,
    )
    words = ["rotation study recovery", *(f"--strength {item:g}" for item in strength or ())]
    words += [f"--years {item}" for item in years or ()] + ([f"--seeds {seeds}"] if seeds else [])
    words += (["--full"] if full else []) + [f"--set {pair}" for pair in pairs or ()]
    page.parent.mkdir(parents=True, exist_ok=True)
    written = write_recovery(page, trials, settings, " ".join(words))
    rows = [item.__dict__ for item in summarise(trials)]
    if as_json:
        sys.stdout.write(json.dumps({"cells": rows, "cpu_minutes": cpu_minutes(trials)}) + "\n")
    else:
        out.print(rich_table([{name: f"{row[name]:.3g}" for name in RECOVERY_SHOWN} for row in rows]))
        for item in written:
            out.print(str(item), highlight=False, soft_wrap=True)


def _recovery_settings(full: bool, pairs: Sequence[str] | None) -> Settings:
    """Settings of a recovery study: cheap experts, or networks of few seeds refitted once a year, unless ``pairs`` say else."""
    from rotation_pipeline.settings import load_settings

    given = overrides(None, None, None, None, None, pairs)
    size: dict[str, Any] = {"refit_every": 12} if full else {"experts": CHEAP}
    given["forecasts"] = {**size, **given.get("forecasts", {})}
    given["network"] = {"seeds": 2, "workers": 1, **given.get("network", {})}
    given["regimes"] = {"detectors": ("hmm",), **given.get("regimes", {})}
    return load_settings(**given)


@study.command("sensitivity")
def study_sensitivity(
    axis: Annotated[
        list[str] | None, typer.Option("--axis", help="Only this axis; may be repeated. By default all.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Compute cells anew even if they are stored.")] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Markdown page whose section of this market is written.")
    ] = None,
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What if one choice had been another? Over a finished database; counts as trials. Each cell is stored when it is done, and an
    interrupted study goes on where it was. Example: rotation study sensitivity --axis cost"""
    from rotation_pipeline.backtest.sensitivity import standing
    from rotation_pipeline.backtest.tables import AXES
    from rotation_pipeline.orchestration.reports import last_month
    from rotation_pipeline.orchestration.sensitivity_grid import stored_unvaried
    from rotation_pipeline.orchestration.study_pages import write_sensitivity
    from rotation_pipeline.orchestration.study_sensitivity import Result, run_study

    unknown = sorted(set(axis or ()) - set(AXES))
    if unknown:
        raise typer.BadParameter(f"--axis {unknown[0]}: axes are {', '.join(AXES)}")
    with recorded(settings_of(source, path, database=database)) as (warehouse, settings):
        kind = warehouse.latest_run()["source_kind"]
        left = stored_unvaried(warehouse, settings, last_month(warehouse))

    def listen(result: Result, done: int, total: int) -> None:
        if not as_json:
            row = result.row
            err.print(
                f"[{done}/{total}] {row.axis} {row.value}: difference {row.judged.difference:+.3f} [{row.judged.low:+.3f}, {row.judged.high:+.3f}]",
                markup=False,
                highlight=False,
            )

    cells = run_study(settings, axes=axis or AXES, again=again, listen=listen)
    written: list[Path] = []
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        command = _sensitivity_command(cells, left, settings, page, database)
        written = write_sensitivity(page, cells, settings, kind, command, left)
    if as_json:
        facts = {
            "standing": asdict(standing(cells)),
            "cells": _cell_rows(cells),
            "left_out": [asdict(one) for one in left],
            "pages": [str(item) for item in written],
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return
    _print_sensitivity(cells, left)
    for item in written:
        out.print(str(item), highlight=False, soft_wrap=True)


def _cell_rows(cells: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(str(cells.drop(columns="month").to_json(orient="records")))


def _sensitivity_command(
    cells: pd.DataFrame, left: Sequence[Unvaried], settings: Settings, page: Path, database: Path | None
) -> str:
    """The command a page names as its own; axes only where some that could be varied were not."""
    from rotation_pipeline.backtest.tables import AXES

    run = [item for item in AXES if item in set(cells["axis"])]
    whole = set(run) == set(AXES) - {one.axis for one in left if not one.partly}
    words = ["rotation study sensitivity", *(() if whole else (f"--axis {item}" for item in run))]
    words += [] if settings.source.name == "simulated" else [f"--source {settings.source.name}", "--path FOLDER"]
    words += [] if database is None else ["--database FILE"]
    return " ".join([*words, f"--page {page}"])


def _print_sensitivity(cells: pd.DataFrame, left: Sequence[Unvaried]) -> None:
    from rotation_pipeline.backtest.sensitivity import standing
    from rotation_pipeline.reporting.sensitivity import unvaried_axes
    from rotation_pipeline.reporting.words import Words

    found = standing(cells)
    shown = ("axis", "value", "sharpe", "baseline_sharpe", "difference", "low", "high", "active_share", "turnover")
    out.print(
        rich_table(
            [
                {name: f"{row[name]:.3g}" if isinstance(row[name], float) else row[name] for name in shown}
                | {"in use": "yes" if row["is_default"] else ""}
                for row in _cell_rows(cells)
            ]
        )
    )
    out.print(
        f"The settings in use rank {found.rank} of {found.cells} distinct cells by the difference from equal weight; "
        f"{found.positive} differences are above 0, {found.significant} intervals lie above 0 and {found.worse} below. All are "
        "counted as trials; the report is written anew.",
        highlight=False,
        soft_wrap=True,
    )
    if left:
        out.print(unvaried_axes(left, Words("en")), highlight=False, soft_wrap=True)


@study.command("regimes")
def study_regimes(
    paths: Annotated[int, typer.Option("--paths", min=2, help="Simulated paths of each length.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every path and start.")] = 7,
    page: Annotated[Path, typer.Option("--page", help="Markdown page to write.")] = Path("docs/regime-detection.md"),
    as_json: JsonOption = False,
) -> None:
    """How well are known two-state regimes found? Minutes. Example: rotation study regimes --paths 200"""
    from rotation_pipeline.orchestration.study_regimes import markdown, run_published, run_study
    from rotation_pipeline.regimes.published import published

    def listen(length: int) -> None:
        if not as_json:
            err.print(f"{paths} paths of {length} days", markup=False, highlight=False)

    scores = run_study(paths, seed, listen=listen)
    reruns = run_published(
        paths, seed, listen=lambda days: None if as_json else err.print(f"published protocol, {days} days")
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(scores, reruns, f"rotation study regimes --paths {paths} --seed {seed}"), encoding="utf-8")
    rows = [item.__dict__ for item in scores]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        shown = ("days", "method", "balanced_accuracy", "standard_error", "mean_delay")
        out.print(
            rich_table(
                [{name: row[name] if name == "method" else f"{row[name]:.3g}" for name in shown} for row in rows]
            )
        )
        figures = [(item, published(item.row, item.days)) for item in reruns]
        out.print(
            rich_table(
                [
                    {
                        "days": item.days,
                        "published protocol": item.row,
                        "published": "" if figure is None else f"{figure.balanced_accuracy:.3f}",
                        "here": f"{item.balanced_accuracy:.3f} ± {item.standard_error:.3f}",
                    }
                    for item, figure in figures
                ]
            )
        )
        out.print(str(page))


@study.command("us-styles")
def study_us_styles(
    path: Annotated[
        Path, typer.Option("--path", help="Folder with us_ff5_monthly.csv and us_ff_momentum_monthly.csv, in percent.")
    ],
    network_seeds: Annotated[int, typer.Option("--network-seeds", min=1, help="Seeds averaged in each network.")] = 5,
    refit_every: Annotated[
        int, typer.Option("--refit-every", min=1, max=12, help="Months between refits of networks and ridge.")
    ] = 12,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Most passes of a network's training.")] = 60,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that train networks.")] = 2,
    page: Annotated[Path, typer.Option("--page", help="Markdown page to write.")] = Path("docs/us-styles.md"),
    as_json: JsonOption = False,
) -> None:
    """Can published US factors be timed? Minutes; reads a folder. Example: rotation study us-styles --path ../shared/data/factors"""
    from rotation_pipeline.orchestration.study_us_styles import StudyOptions, run_study, summary_rows
    from rotation_pipeline.orchestration.study_us_styles_page import markdown, picture

    def listen(what: str) -> None:
        if not as_json:
            err.print(what, markup=False, highlight=False)

    options = StudyOptions(refit_every=refit_every, network_seeds=network_seeds, epochs=epochs, workers=workers)
    found = run_study(path, options, listen)
    drawing = page.parent / "images" / f"{page.stem}.svg"
    drawing.parent.mkdir(parents=True, exist_ok=True)
    drawing.write_text(picture(found), encoding="utf-8")
    chosen = f"--network-seeds {network_seeds} --refit-every {refit_every}"
    chosen += f" --epochs {epochs}" if epochs != StudyOptions().epochs else ""
    command = f"rotation study us-styles --path {path} {chosen}"
    page.write_text(markdown(found, command, f"images/{drawing.name}"), encoding="utf-8")
    rows = summary_rows(found)
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        shown = ("sample", "book", "sharpe_gross", "sharpe", "difference", "difference_t")
        out.print(
            rich_table(
                [
                    {name: f"{value:.2f}" if isinstance(value := row[name], float) else value or "–" for name in shown}
                    for row in rows
                ]
            )
        )
        out.print(str(page))


@study.command("real-data")
def study_real_data(
    path: Annotated[Path, typer.Option("--path", help="Folder that holds sse50, csi300, factors and references.")],
    as_json: JsonOption = False,
) -> None:
    """Known facts of real data: closes, members, index moves, factors, defects; exit 1 if one fails. Example: rotation study real-data --path ../shared/data"""
    from rotation_pipeline.orchestration.study_real_data import markdown, run_study

    checks = run_study(path, lambda name: None if as_json else err.print(name, markup=False, highlight=False))
    if as_json:
        sys.stdout.write(json.dumps([asdict(check) for check in checks], ensure_ascii=False) + "\n")
    elif out.is_terminal:
        out.print(checks_table(checks))
        failed = sum(not check.holds for check in checks)
        out.print(f"{len(checks)} checks, {f'{failed} FAIL' if failed else 'all hold'}", highlight=False)
    else:
        out.print(markdown(checks), markup=False, highlight=False, soft_wrap=True)
    if not all(check.holds for check in checks):
        raise typer.Exit(1)


def checks_table(checks: Sequence[Check]) -> RichTable:
    """The checks as a window of any width shows them: long ones and their notes go on in the next line."""
    table = RichTable(box=None, pad_edge=False)
    for name in ("data", "check", "expected", "found"):
        table.add_column(name)
    table.add_column("holds", no_wrap=True)
    before = ""
    for one in checks:
        check = escaped(one.check) + (f"\n[dim]{escaped(one.note)}[/]" if one.note else "")
        data = "" if one.data == before else one.data
        table.add_row(data, check, escaped(one.expected), escaped(one.found), "yes" if one.holds else "[bold red]NO[/]")
        before = one.data
    return table


@study.command("moments")
def study_moments(
    path: Annotated[Path | None, typer.Option("--path", help="Folder that holds csi300 and references.")] = None,
    stocks: Annotated[int, typer.Option("--stocks", min=300, max=6000, help="Names simulated.")] = 5000,
    years: Annotated[int, typer.Option("--years", min=6, max=20, help="Years simulated.")] = 15,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the market.")] = 25,
    page: Annotated[Path | None, typer.Option("--page", help="Page whose marked section is replaced.")] = None,
    as_json: JsonOption = False,
) -> None:
    """A simulated market of full size beside the real one; minutes, 5 GB. Example: rotation study moments --path ../shared/data --page docs/simulated-market.md"""
    from rotation_pipeline.orchestration.study_moments import into_page, markdown, run_study

    lines = run_study(path, stocks, years, seed, lambda text: None if as_json else err.print(text, highlight=False))
    text = markdown(lines, f"rotation study moments --stocks {stocks} --years {years} --seed {seed}")
    if page is not None:
        into_page(page, text)
    if as_json:
        sys.stdout.write(json.dumps([{**asdict(line), "far": line.far} for line in lines]) + "\n")
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True)


@app.command()
def doctor(
    source: SourceOption = None,
    path: PathOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the usual causes of trouble: environment, settings, data coverage, lock holder. Example: rotation doctor"""
    from rotation_pipeline.orchestration.doctor import examine

    findings = examine(overrides(source, path, None, None, database, None))
    if as_json:
        sys.stdout.write(json.dumps([finding.__dict__ for finding in findings], default=str) + "\n")
    else:
        for finding in findings:
            mark = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}[finding.level]
            out.print(f"{mark} {finding.subject}: {escaped(finding.text)}", highlight=False, soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)
