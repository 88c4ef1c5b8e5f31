"""A source that restates history: refused by a run, shown, taken over on command, and just what was made of it made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.definitions import build_definitions
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.orchestration import restatement
from rotation_pipeline.orchestration.asset_checks import CHECK, computed_tables
from rotation_pipeline.orchestration.freshness import stale as not_fresh
from rotation_pipeline.orchestration.graph import stage_named, stages
from rotation_pipeline.orchestration.replay import compare as rows_that_differ
from rotation_pipeline.orchestration.restatement import accept, affected, compare, run_stale, stale_work
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import SourceKind
from rotation_pipeline.sources.simulated import SimulatedSource
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import MixedSettings, RestatedSource, StaleResults
from rotation_pipeline.warehouse.replaced import restated_partitions, stale_marks
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

ONLY = [
    "raw_market_data", "staging", "adjusted_bars", "fundamentals_as_of", "index_daily", "index_monthly", "stock_snapshot",
    "universe", "index_features", "factor_exposures", "factor_returns",
]  # fmt: skip
AWAY = months_between(date(2013, 3, 1), date(2013, 6, 1))
"""Months in which one security has no rows at all: it trades again in July 2013."""
LAST_SEEN, BACK = date(2013, 2, 1), date(2013, 7, 1)


class Told(SimulatedSource):
    """A real source, as far as anyone can tell, in which one security stays away for months without rows."""

    kind: SourceKind = "real"  # type: ignore[assignment]  # simulated markets never change
    asset_key: int = 0
    restated: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        return f"{super().version}-{'-'.join(sorted(self.restated))}"

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        rows = super().fetch(table_name, first, last)
        if table_name in ("daily_bars", "daily_valuation"):
            away = (pl.col("asset_key") == self.asset_key) & pl.col("day").dt.month_start().is_in(AWAY)
            rows = rows.filter(~away)
        if table_name == "dividends" and "dividend" in self.restated:
            at = pl.struct("ex_day", "asset_key") == pl.struct(
                ex_day=pl.lit(self.dividend()[0]), asset_key=pl.lit(self.dividend()[1], dtype=pl.Int32)
            )
            more = pl.when(at).then(pl.col("cash_per_share") + 0.05).otherwise(pl.col("cash_per_share"))
            rows = rows.with_columns(more.alias("cash_per_share"))
        if table_name == "daily_bars" and "close" in self.restated:
            at = (pl.col("asset_key") == self.asset_key) & (pl.col("day") == self.last_day())
            lower = [
                pl.when(at).then(pl.col(name) - 0.05).otherwise(pl.col(name)).alias(name) for name in ("low", "close")
            ]
            rows = rows.with_columns(lower)
        return rows

    def dividend(self) -> tuple[date, int]:
        """The last dividend of July 2012."""
        paid = super().fetch("dividends", date(2012, 7, 1), date(2012, 7, 31)).sort("ex_day", "asset_key")
        return paid["ex_day"][-1], paid["asset_key"][-1]

    def last_day(self) -> date:
        """The security's last day with a trade before it stays away."""
        bars = super().fetch("daily_bars", LAST_SEEN, AWAY[0] - timedelta(days=1))
        mine = bars.filter((pl.col("asset_key") == self.asset_key) & ~pl.col("is_suspended"))
        return mine["day"].max()  # type: ignore[return-value]


def source_of(settings: Settings, *restated: str) -> Told:
    source = Told(settings.simulation)
    bars = SimulatedSource.fetch(source, "daily_bars", LAST_SEEN, date(2013, 7, 31))
    # traded on February's last and July's first session, so that the return on coming back spans the absence
    traded = bars.filter(~pl.col("is_suspended"))
    left, back = (
        set(traded.filter(pl.col("day") == day)["asset_key"])
        for day in (bars.filter(pl.col("day") < AWAY[0])["day"].max(), bars.filter(pl.col("day") >= BACK)["day"].min())
    )
    source.asset_key = min(left & back)
    source.restated = frozenset(restated)
    return source


def made(settings: Settings, path: Path, *restated: str) -> Path:
    """A database of all months, from scratch."""
    with open_warehouse(path, threads=2) as warehouse:
        run_graph(warehouse, settings, settings.all_months(), only=ONLY, source=source_of(settings, *restated))
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return small_settings(
        tmp_path_factory.mktemp("restated"),
        sample={"start": "2014-01", "end": "2014-03", "history_months": 31, "style_history_months": 6},
        simulation={"start_month": "2011-05"},
        factors={"lookback_sessions": 250},
    )


@pytest.fixture(scope="module")
def original(settings: Settings) -> Path:
    return made(settings, settings.database_path)


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A copy one may write to."""
    shutil.copy(original, tmp_path / "copy.duckdb")
    with open_warehouse(tmp_path / "copy.duckdb", threads=2) as warehouse:
        yield warehouse


def contents(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, run ids and logs included."""
    names = [name for name, table in catalog().items() if not table.view]
    names += ["meta.runs", "meta.executions", "meta.stale", "meta.restatements", "meta.replaced"]
    return {name: warehouse.execute(f"SELECT * FROM {name} ORDER BY ALL") for name in names}


def after_dividend(settings: Settings) -> dict[str, list[date]]:
    """What a dividend of July 2012 shapes, by hand: the yield until the month a year later, whose last session may lie a
    year behind it, what is made of it, and the long-short returns of the groups formed on these scores."""
    del settings
    july, august = date(2013, 7, 1), date(2013, 8, 1)  # exposures begin in July 2013
    returns = [august, date(2013, 9, 1)]  # groups of the month before and of the one before that
    return {
        "intermediate.stock_snapshot": [july],
        "marts.factor_exposures": [july],
        "marts.factor_longshort": returns,
        "marts.factor_groups": returns,
        "marts.factor_longshort_daily": returns,
    }


# ---------------------------------------------------------------------- noticed


def test_a_run_refuses_other_rows_for_months_stored_before(settings: Settings, copy: Warehouse) -> None:
    before = contents(copy)
    with pytest.raises(RestatedSource) as caught:
        run_graph(copy, settings, settings.all_months(), only=ONLY, source=source_of(settings, "dividend", "close"))
    for part in (
        "delivers other rows than those stored: raw.daily_bars of 2013-02; raw.dividends of 2012-07. Nothing was changed in these months.",
        f"`rotation ingest --restated --database {copy.path}` shows what differs", "`rotation run --stale`",
    ):  # fmt: skip
        assert part in str(caught.value)
    now = contents(copy)
    assert {name for name in before if before[name] != now[name]} <= {"meta.runs"}


def test_months_it_does_not_restate_go_on(settings: Settings, copy: Warehouse) -> None:
    run_graph(
        copy, settings, [date(2012, 8, 1)], only=["raw_market_data"], source=source_of(settings, "dividend", "close")
    )


def test_rows_judged_by_other_settings_are_no_restatement(settings: Settings, tmp_path: Path) -> None:
    """The source says what it said; a threshold no rounding meets keeps rows out. Told, and the new rows are stored."""
    sanity = type(settings.sanity)(adjustment=1e-17, maximum_quarantined=1.0)
    strict = settings.model_copy(update={"sanity": sanity})
    months, told = settings.all_months()[:2], []
    with open_warehouse(tmp_path / "w.duckdb", threads=2) as warehouse:
        run_graph(warehouse, settings, months, only=["raw_market_data"], source=source_of(settings))
        stored = warehouse.count("raw.daily_bars")
        run_graph(warehouse, strict, months, only=["raw_market_data"], source=source_of(settings), warn=told.append)
        assert 0 < warehouse.count("raw.daily_bars") < stored
        with pytest.raises(
            MixedSettings, match=r"judged with sanity.maximum_quarantined = 1.0 \(now 0.01\), sanity.adj"
        ):
            compare(warehouse, settings, source_of(settings), months)
    assert len(told) == 1
    assert "sanity.adjustment = 0.0001 (now 1e-17). The new rows replace them" in told[0]


# ---------------------------------------------------------------------- shown


def test_what_differs_is_shown_and_nothing_is_changed(settings: Settings, copy: Warehouse) -> None:
    before = contents(copy)
    source = source_of(settings, "dividend", "close")
    found = compare(copy, settings, source, settings.all_months())
    assert found.partitions.select("table_name", "month", "added", "removed", "changed").rows() == [
        ("daily_bars", LAST_SEEN, 0, 0, 1),
        ("dividends", date(2012, 7, 1), 0, 0, 1),
    ]
    cells = {(row["table_name"], row["column"]): row for row in found.cells.to_dicts()}
    assert set(cells) == {("daily_bars", "close"), ("daily_bars", "low"), ("dividends", "cash_per_share")}
    cash = cells["dividends", "cash_per_share"]
    assert cash["size"] == pytest.approx(0.05)
    assert float(cash["now"]) - float(cash["before"]) == pytest.approx(0.05)
    assert json.loads(cash["row_key"])["ex_day"] == source.dividend()[0].isoformat()
    assert contents(copy) == before
    assert compare(copy, settings, source_of(settings), settings.all_months()).none


# ---------------------------------------------------------------------- taken over and made again


def test_the_drill_with_one_dividend(settings: Settings, copy: Warehouse) -> None:
    """Exactly the partitions made of it are computed again, all else is left as it is byte by byte."""
    source = source_of(settings, "dividend")
    expected = after_dividend(settings)
    before = contents(copy)
    found = compare(copy, settings, source, settings.all_months())
    assert affected(copy, settings, found) == expected
    assert accept(copy, settings, source, found) == expected
    assert {name: list(months) for name, months in stale_marks(copy).items()} == expected
    logged = len(contents(copy)["meta.executions"])
    outcomes = run_stale(copy, settings, source)
    again: dict[str, list[date]] = {}
    for outcome in outcomes:
        for name in outcome.rows:
            again.setdefault(name, []).extend(outcome.months)
    assert again == expected
    assert len(contents(copy)["meta.executions"]) - logged == len(expected)
    assert stale_marks(copy) == {}
    assert run_stale(copy, settings, source) == []
    untouched(before, contents(copy), {**expected, "raw.dividends": [date(2012, 7, 1)]})


def untouched(
    before: Mapping[str, list[tuple[object, ...]]],
    now: Mapping[str, list[tuple[object, ...]]],
    changed: Mapping[str, list[date]],
) -> None:
    """All else is byte for byte what it was, run ids included."""
    for name, table in catalog().items():
        if table.view or name in ("raw.quarantine", "raw.ingestions"):
            continue
        assert table.columns[0].name == "month"
        gone = set(changed.get(name, ()))
        assert [row for row in before[name] if row[0] not in gone] == [row for row in now[name] if row[0] not in gone]


def equal_to_scratch(warehouse: Warehouse, scratch: Path) -> None:
    """Bit for bit the tables of a database made of the restated source alone."""
    with open_warehouse(scratch, read_only=True) as other:
        for name, table in catalog().items():
            if not table.view:
                assert rows_that_differ(table, other.read(name), warehouse.read(name)) == (0, ""), name


def test_a_bar_restated_long_before_its_security_comes_back(
    settings: Settings, copy: Warehouse, tmp_path: Path
) -> None:
    """The return of its first day back is measured from its last bar, five months before: that month is stale too.

    What the stale months alone, computed again, leave is bit for bit the database of the restated source from scratch.
    """
    source = source_of(settings, "close", "dividend")
    before = copy.read("intermediate.adjusted_bars", first=BACK, last=BACK, asset_key=source.asset_key)
    found = compare(copy, settings, source, settings.all_months())
    stale = accept(copy, settings, source, found)
    assert stale["intermediate.adjusted_bars"] == [LAST_SEEN, BACK]
    run_stale(copy, settings, source)
    after = copy.read("intermediate.adjusted_bars", first=BACK, last=BACK, asset_key=source.asset_key)
    traded = before.filter(pl.col("ret").is_not_null())["day"].min()
    differs = before.filter(before["ret"].ne_missing(after["ret"]))["day"].to_list()
    assert differs == [traded]
    equal_to_scratch(copy, made(settings, tmp_path / "scratch.duckdb", "close", "dividend"))


def test_what_was_known_before_can_still_be_read(settings: Settings, copy: Warehouse) -> None:
    source = source_of(settings, "dividend")
    day, key = source.dividend()
    month, today = date(2012, 7, 1), datetime.now(UTC).date()
    long_ago, yesterday = date(2014, 1, 15), today - timedelta(days=1)
    before = {
        name: copy.as_of(name, long_ago) for name in ("raw.dividends", "marts.factor_exposures", "staging.dividends")
    }
    cash = copy.read("raw.dividends", ex_day=day, asset_key=key)["cash_per_share"][0]
    accept(copy, settings, source, compare(copy, settings, source, settings.all_months()))
    run_stale(copy, settings, source)
    for name, rows in before.items():
        assert copy.as_of(name, long_ago).equals(rows), name

    def stood(when: date) -> float:
        return copy.as_of("raw.dividends", when, first=month, last=month, ex_day=day, asset_key=key)["cash_per_share"][
            0
        ]

    assert stood(yesterday) == cash
    assert stood(today + timedelta(days=1)) == pytest.approx(cash + 0.05)
    # restated back and forth: each day reads what stood then
    accept(copy, settings, source_of(settings), compare(copy, settings, source_of(settings), settings.all_months()))
    assert stood(yesterday) == cash
    assert stood(today + timedelta(days=1)) == cash
    assert restated_partitions(copy).height == 2


def test_taking_over_is_all_or_nothing(settings: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(settings, "dividend", "close")
    found = compare(copy, settings, source, settings.all_months())
    before = contents(copy)
    write = Warehouse.write
    calls: list[str] = []

    def broken(self: Warehouse, outputs: Mapping[str, pl.DataFrame], *rest: object, **options: object) -> object:
        calls.extend(outputs)
        if len(calls) == 2:
            raise OSError("killed")
        return write(self, outputs, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Warehouse, "write", broken)
    with pytest.raises(OSError, match="killed"):
        accept(copy, settings, source, found)
    monkeypatch.undo()
    assert contents(copy) == before
    assert copy.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'replaced'") == [(0,)]


def test_nothing_is_built_on_stale_rows_and_an_interrupted_run_goes_on(
    settings: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(settings, "dividend")
    accept(copy, settings, source, compare(copy, settings, source, settings.all_months()))
    with pytest.raises(StaleResults, match=r"factor_returns reads .* of 2013-07.*rotation run --stale"):
        run_graph(copy, settings, [date(2013, 9, 1)], only=["factor_returns"], source=source)
    found = not_fresh(copy, settings, date(2013, 8, 1), [])
    assert {one.stage for one in found} == {"stock_snapshot", "factor_exposures", "factor_returns"}
    assert all(one.restated for one in found)
    run = restatement.run_stage
    monkeypatch.setattr(restatement, "run_stage", lambda stage, work: _until(run, "factor_returns", stage, work))
    with pytest.raises(KeyboardInterrupt):
        run_stale(copy, settings, source)
    monkeypatch.undo()
    assert [stage.name for stage, _ in stale_work(copy)] == ["factor_returns"]
    run_stale(copy, settings, source)
    assert stale_work(copy) == []
    assert not_fresh(copy, settings, date(2013, 8, 1), []) == []


def _until(run, name, stage, work):  # type: ignore[no-untyped-def]
    if stage.name == name:
        raise KeyboardInterrupt
    return run(stage, work)


def test_computing_months_by_name_takes_their_marks_off(settings: Settings, copy: Warehouse) -> None:
    source = source_of(settings, "dividend")
    accept(copy, settings, source, compare(copy, settings, source, settings.all_months()))
    again = ["stock_snapshot", "factor_exposures", "factor_returns"]
    run_graph(copy, settings, months_between(date(2013, 7, 1), date(2013, 8, 1)), only=again, source=source)
    left = {name: list(months) for name, months in stale_marks(copy).items()}
    assert left == {name: [date(2013, 9, 1)] for name in stage_named("factor_returns").tables}


# ---------------------------------------------------------------------- which months, by hand


def test_look_back_and_chains_decide_which_months(settings: Settings, copy: Warehouse) -> None:
    """Declared reach by hand: cumulative tables to the end, chained ones from the first month on, others no further."""
    months = settings.all_months()
    sample = months_between(settings.sample.first, settings.sample.last)
    assert copy.count("marts.weights") == 0
    with copy.transaction():
        for stage in stages():
            for name in stage.tables if stage.name not in ONLY else ():
                if not table_named(name).view:
                    for month in stage.months(settings, months):
                        copy.execute(
                            "INSERT INTO meta.executions VALUES ('r', ?, ?, ?, ?, 0, 0, NULL)",
                            [stage.name, name, month, month],
                        )
    found = compare(copy, settings, source_of(settings, "dividend"), months)
    stale = affected(copy, settings, found)
    first = after_dividend(settings)["marts.factor_longshort"][0]
    assert stale["marts.factor_summary"] == months_between(first, settings.sample.last), "cumulative"
    assert stale["marts.weights"] == months_between(add_months(settings.sample.first, -1), settings.sample.last)
    assert stale["marts.stock_backtest"] == sample, "its account goes on"
    assert "marts.regimes" not in stale
    assert "intermediate.universe" not in stale
    stage = stage_named("adjusted_bars")
    assert (stage.reach(settings), stage.looks_back("raw.daily_bars", settings)) == (None, 0)
    assert stage.looks_back("raw.listings", settings) == 0
    assert stage_named("stock_snapshot").looks_back("raw.dividends", settings) == 12
    assert stage_named("stock_snapshot").looks_back("raw.listings", settings) == 12
    assert stage_named("fundamentals_as_of").looks_back("raw.listings", settings) == 30
    assert stage_named("stock_snapshot").looks_back("raw.daily_bars", settings) == 0


# ---------------------------------------------------------------------- Dagster


def test_stale_partitions_show_in_dagster(settings: Settings, copy: Warehouse, tmp_path: Path) -> None:
    source = source_of(settings, "dividend")
    accept(copy, settings, source, compare(copy, settings, source, settings.all_months()))
    path = tmp_path / "dagster.duckdb"
    copy.execute("CHECKPOINT")
    shutil.copy(copy.path, path)
    chosen = settings.model_copy(update={"database": path})
    defs: dg.Definitions = build_definitions(chosen)
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("staleness").execute_in_process(instance=instance)
    checks = {item.asset_key.to_user_string().replace("/", "."): item for item in result.get_asset_check_evaluations()}
    assert set(checks) == set(computed_tables())
    failed = {name for name, item in checks.items() if not item.passed}
    assert failed == set(after_dividend(settings))
    one = checks["marts.factor_longshort"]
    assert one.check_name == CHECK
    assert one.severity == dg.AssetCheckSeverity.WARN
    assert one.metadata["which"].value == "2013-08 … 2013-09 (2 months)"
