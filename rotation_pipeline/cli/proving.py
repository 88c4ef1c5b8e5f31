"""Commands that check: verify-replay, doctor and the studies."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

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
    given = overrides(None, None, None, None, None, pairs)
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
        out.print(rich_table([{name: f"{value:.3g}" for name, value in row.items()} for row in rows]))
        out.print(str(page))


@study.command("regimes")
def study_regimes(
    paths: Annotated[int, typer.Option("--paths", min=2, help="Simulated paths of each length.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every path and start.")] = 7,
    page: Annotated[Path, typer.Option("--page", help="Markdown page to write.")] = Path("docs/regime-detection.md"),
    as_json: JsonOption = False,
) -> None:
    """How well are known two-state regimes found? Minutes. Example: rotation study regimes --paths 200"""
    from rotation_pipeline.orchestration.study_regimes import markdown, run_study

    def listen(length: int) -> None:
        if not as_json:
            err.print(f"{paths} paths of {length} days", markup=False, highlight=False)

    scores = run_study(paths, seed, listen=listen)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(scores, f"rotation study regimes --paths {paths} --seed {seed}"), encoding="utf-8")
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

    findings = examine(overrides(source, path, None, None, database, None))
    if as_json:
        sys.stdout.write(json.dumps([finding.__dict__ for finding in findings], default=str) + "\n")
    else:
        for finding in findings:
            mark = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "error": "[red]✗[/]"}[finding.level]
            out.print(f"{mark} {finding.subject}: {escaped(finding.text)}", highlight=False, soft_wrap=True)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)
