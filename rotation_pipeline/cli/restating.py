"""What `rotation ingest --restated` and `rotation run --stale` do: history a source restates, shown and taken over."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rotation_pipeline.cli.terminal import (
    err,
    escaped,
    month_of,
    out,
    overrides,
    plain_key,
    recorded,
    rich_table,
    settings_of,
    short_value,
)

if TYPE_CHECKING:
    from rotation_pipeline.orchestration.restatement import Restatement
    from rotation_pipeline.settings import Settings

CELLS_SHOWN = 20
"""Largest changes a screen shows; ``--json`` gives all that are kept."""


def recorded_settings(
    source: str | None, path: Path | None, database: Path | None, pairs: Sequence[str] | None
) -> Settings:
    """The settings of the run that wrote the database last; where its source is found may be told anew.

    Raises typer.BadParameter for any other setting: rows judged otherwise would differ for no fault of the source.
    """
    from rotation_pipeline.settings import stored_settings

    given = overrides(None, None, None, None, None, pairs)
    places = given.pop("source", {})
    other = [*given, *(f"source.{name}" for name in places if name not in ("path", "mapping", "cache", "vendor"))]
    if other:
        raise typer.BadParameter(
            f"--set {other[0]}: rows are compared under the settings they were stored with; only source.path, "
            "source.mapping, source.cache and source.vendor may be set"
        )
    with recorded(settings_of(source, path, database=database)) as (warehouse, settings):
        stored = json.loads(warehouse.latest_run()["settings"])
    if source is not None and source != settings.source.name:
        raise typer.BadParameter(f"--source {source}: {settings.database_path} holds data of {settings.source.name}")
    stored["source"]["vendor"] |= places.pop("vendor", {})  # the recorded selection of securities and tables stays
    stored["source"] |= {**places, **({"path": str(path)} if path is not None else {})}
    return stored_settings(json.dumps(stored), database=settings.database_path, output=settings.output)


def chosen_months(settings: Settings, first: str | None, last: str | None) -> list[date] | None:
    """Months from ``--from`` to ``--to``; None without either: all that are stored."""
    from rotation_pipeline.market.calendar import months_between

    if first is None and last is None:
        return None
    low = month_of(first, "--from") if first else settings.history_start
    high = month_of(last, "--to") if last else settings.sample.last
    if low > high:
        raise typer.BadParameter(f"--from {low:%Y-%m} lies after --to {high:%Y-%m}")
    return months_between(low, high)


def restated(settings: Settings, months: Sequence[date] | None, *, accept: bool, as_json: bool) -> None:
    """Print what the source delivers otherwise than stored; take it over with ``accept``. Exit 1 if something is left."""
    from rotation_pipeline.cli.computing import fetching
    from rotation_pipeline.cli.interrupt import heed_interrupts
    from rotation_pipeline.orchestration.restatement import accept as take_over
    from rotation_pipeline.orchestration.restatement import affected, age, asked_again, compare
    from rotation_pipeline.orchestration.runner import make_source
    from rotation_pipeline.sources.base import AsksAgain
    from rotation_pipeline.warehouse.store import open_warehouse

    def listen(done: int, total: int) -> None:
        if not as_json and out.is_terminal:
            err.print(f"compared {done} of {total} months", highlight=False)

    def warn(text: str) -> None:
        err.print(f"[yellow]warning[/] {escaped(text)}", highlight=False, soft_wrap=True)

    source = make_source(settings)
    with heed_interrupts() as refuse_after_interrupt:
        with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as warehouse:
            stored = warehouse.months("raw.ingestions")
        chosen = [month for month in stored if months is None or month in months]
        if not chosen:
            raise typer.BadParameter(
                f"--from, --to: no month in between is stored in {settings.database_path}"
                + (
                    f", which holds {stored[0]:%Y-%m} to {stored[-1]:%Y-%m}"
                    if stored
                    else "; `rotation ingest` stores months"
                )
            )
        now = datetime.now(UTC).replace(tzinfo=None)
        answer = asked_again(settings, source, chosen, fetching(as_json), now=now, accept=accept, warn=warn)
        asked, left = answer.source, list[str]()
        with open_warehouse(settings.database_path, read_only=not accept, threads=settings.threads) as warehouse:
            found = compare(warehouse, settings, asked, chosen, listen)
            refuse_after_interrupt()
            if accept:
                if isinstance(source, AsksAgain) and asked is not source:
                    left = source.adopt(asked, chosen)
                stale = take_over(warehouse, settings, source, found)
            else:
                stale = affected(warehouse, settings, found)
                if found.none and asked is not source and isinstance(asked, AsksAgain):
                    asked.discard()  # else the next look would take this answer for that day's
    if left:
        warn(
            f"of months not asked for, {len(left)} units are different today ({', '.join(left[:3])}"
            f"{', …' if len(left) > 3 else ''}); they are left as they were. Other --from and --to compare them"
        )
    asked_on = (
        None if answer.asked_at is None else f"{answer.asked_at:%Y-%m-%d %H:%M} UTC, {age(answer.asked_at, now)} ago"
    )
    if asked_on and not as_json:
        out.print(f"{source.name} was asked on {asked_on}", highlight=False)
    _print(settings, found, stale, accept=accept, as_json=as_json, asked_on=asked_on)
    if not found.none and not accept:
        raise typer.Exit(1)


def _print(
    settings: Settings,
    found: Restatement,
    stale: Mapping[str, Sequence[date]],
    *,
    accept: bool,
    as_json: bool,
    asked_on: str | None,
) -> None:
    where = settings.database_path
    if as_json:
        facts: dict[str, Any] = {
            "database": str(where),
            "months": [f"{month:%Y-%m}" for month in found.months],
            "asked_on": asked_on,
            "taken_over": accept and not found.none,
            "partitions": found.partitions.to_dicts(),
            "largest_changes": found.cells.to_dicts(),
            "other_findings": [{"table_name": name, "month": f"{month:%Y-%m}"} for name, month in found.findings],
            "stale": {name: [f"{month:%Y-%m}" for month in months] for name, months in stale.items()},
        }
        sys.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")
        return
    if found.none:
        out.print(f"The source delivers what is stored: {len(found.months)} months compared.", highlight=False)
        return
    rows = found.partitions.select("table_name", "month", "added", "removed", "changed").to_dicts()
    out.print("rows that differ", highlight=False)
    out.print(rich_table([{"table": row.pop("table_name"), **row, "month": f"{row['month']:%Y-%m}"} for row in rows]))
    for name, month in found.findings:
        out.print(f"{name} {month:%Y-%m}: the same rows, other findings of the sanity rules", highlight=False)
    if found.cells.height:
        cells = found.cells.head(CELLS_SHOWN).to_dicts()
        out.print(f"largest changes ({len(cells)} of {found.cells.height})", highlight=False)
        shown = [
            {
                "table": row["table_name"], "month": f"{row['month']:%Y-%m}", "column": row["column"],
                "rows": row["rows"], "row": plain_key(row["row_key"]), "before": short_value(row["before"]),
                "now": short_value(row["now"]),
            }
            for row in cells
        ]  # fmt: skip
        out.print(rich_table(shown))
    _print_stale(stale)
    line = f"Nothing was changed. `rotation ingest --restated --accept --database {where}` takes it over."
    if accept:
        line = "Taken over; the old rows are kept."
        line += f" `rotation run --stale --database {where}` computes these months again." if stale else ""
    out.print(escaped(line), highlight=False, soft_wrap=True)


def _print_stale(stale: Mapping[str, Sequence[date]]) -> None:
    from rotation_pipeline.orchestration.consistency import span

    out.print("stale after it" if stale else "nothing was computed from these rows", highlight=False)
    if stale:
        out.print(rich_table([{"table": name, "months": span(months)} for name, months in stale.items()]))


def run_stale(settings: Settings, *, as_json: bool) -> None:
    """Compute what is stale again and print it."""
    from rotation_pipeline.cli.computing import show_progress
    from rotation_pipeline.cli.interrupt import heed_interrupts
    from rotation_pipeline.orchestration.restatement import run_stale as compute
    from rotation_pipeline.orchestration.runner import make_source
    from rotation_pipeline.warehouse.store import open_warehouse

    def warn(text: str) -> None:
        err.print(f"[yellow]warning[/] {escaped(text)}", highlight=False, soft_wrap=True)

    started = time.monotonic()
    source = make_source(settings)
    with (
        heed_interrupts() as refuse_after_interrupt,
        open_warehouse(settings.database_path, threads=settings.threads) as warehouse,
        show_progress(as_json) as show,
    ):

        def listen(event: Any) -> None:
            refuse_after_interrupt()
            show(event)

        outcomes = compute(warehouse, settings, source, listen=listen, warn=warn)
    rows = [
        {"stage": one.stage, "table": name, "first": f"{one.months[0]:%Y-%m}", "last": f"{one.months[-1]:%Y-%m}", "rows": count}
        for one in outcomes
        for name, count in one.rows.items()
    ]  # fmt: skip
    reports = [str(path) for one in outcomes for path in one.artifacts]
    if as_json:
        facts = {"database": str(settings.database_path), "stored": rows, "reports": reports}
        sys.stdout.write(json.dumps({**facts, "seconds": round(time.monotonic() - started, 1)}) + "\n")
        return
    if not outcomes:
        out.print("Nothing is stale.", highlight=False)
        return
    out.print(rich_table(rows))
    for path in reports:
        out.print(path, highlight=False, soft_wrap=True)
