"""What a run may build on: months that are stored, computed with its own settings; and what is logged of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tiny_graph import changed, stored

from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.orchestration import runner
from rotation_pipeline.orchestration.consistency import inspect, needs, span
from rotation_pipeline.orchestration.graph import base_tables, inputs_of, shaped_by, stage_named, stages
from rotation_pipeline.orchestration.replay import compare, verify_replay
from rotation_pipeline.orchestration.runner import identify, make_source, run_graph
from rotation_pipeline.orchestration.stages import Stage, Work, first_month, run_stage
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.errors import MissingPartition, MixedSettings
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

LAST = date(2014, 6, 1)
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All months of the small sample, stored once."""
    return stored(tmp_path_factory.mktemp("consistency"))


@pytest.fixture
def copy(made: Settings, tmp_path: Path) -> Iterator[Warehouse]:
    """A copy one may write to."""
    path = tmp_path / "copy.duckdb"
    shutil.copy(made.database_path, path)
    with open_warehouse(path, threads=2) as warehouse:
        yield warehouse


def contents(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, the logs included."""
    names = [name for name, table in catalog().items() if not table.view]
    names += ["meta.runs", "meta.executions", "meta.run_inputs"]
    return {name: warehouse.execute(f"SELECT * FROM {name} ORDER BY ALL") for name in names}


def told(warehouse: Warehouse, settings: Settings, names: list[str], months: list[date]) -> list[str]:
    """What :func:`inspect` says of these stages."""
    run_id, facts = identify(settings, make_source(settings))
    return inspect(warehouse, settings, run_id, facts, [stage_named(name) for name in names], months)


# ---------------------------------------------------------------------- months that are not there


def test_a_month_whose_earlier_months_were_never_computed_is_refused_before_anything_is_stored(
    made: Settings, copy: Warehouse
) -> None:
    """As after `rotation run --to 2014-03`."""
    end = date(2014, 3, 1)
    with copy.transaction():
        for name, table in catalog().items():
            if not table.view:
                copy.execute(f"DELETE FROM {name} WHERE month > ?", [end])
        copy.execute("UPDATE meta.executions SET last_month = ?", [end])
    before = contents(copy)
    settings = changed(made, copy)
    with pytest.raises(MissingPartition) as caught:
        run_graph(copy, settings, [LAST])
    assert contents(copy) == before
    for part in ("adjusted_bars needs raw.daily_bars of 2014-04 … 2014-05 (2 months)", "stage raw_market_data writes them",
                 "Nothing was stored", f"`rotation run --database {copy.path} --to 2014-05`"):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(MissingPartition, match=r"weights needs .* of 2014-04 … 2014-06 \(3 months\)"):
        run_graph(copy, settings, [LAST], only=["weights"])
    assert told(copy, settings, [stage.name for stage in stages()], [date(2014, 4, 1)]) == []


def pairs() -> list[tuple[str, str]]:
    return [(stage.name, name) for stage in stages() for name in inputs_of(stage)]


def test_every_input_of_every_stage_must_be_written_also_views_and_tables_that_may_be_empty(
    made: Settings, copy: Warehouse
) -> None:
    settings = changed(made, copy)
    assert ("universe", "raw.index_members") in pairs(), "views are resolved"
    assert ("stock_snapshot", "raw.dividends") in pairs()
    assert ("weights", "marts.expert_forecasts") in pairs()
    may_be_empty = [pair for pair in pairs() if table_named(pair[1]).minimum_rows == 0]
    assert len(may_be_empty) > 10
    for stage, name in pairs():
        assert told(copy, settings, [stage], [LAST]) == []
        copy.execute("BEGIN")
        copy.execute("DELETE FROM meta.executions WHERE table_name = ?", [name])
        with pytest.raises(MissingPartition, match=rf"{stage} needs {name} of .*2014-06"):
            told(copy, settings, [stage], [LAST])
        copy.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("stage", "table", "back"),
    [
        ("adjusted_bars", "raw.daily_bars", 36),
        ("index_daily", "raw.index_bars", 1),
        ("stock_snapshot", "raw.dividends", 12),
        ("stock_snapshot", "raw.listings", 12),
        ("index_features", "intermediate.index_daily", 14),
        ("factor_exposures", "intermediate.adjusted_bars", 28),
        ("factor_returns", "marts.factor_exposures", 2),
        ("market_regimes", "marts.regimes", 1),
        ("market_regimes", "intermediate.index_features", 36),
        ("factor_backtest", "marts.backtest", 1),
        ("forecasts", "marts.expert_forecasts", 10),
        ("narratives", "marts.narrative_facts", 0),
    ],
)
def test_the_months_a_stage_looks_back_on_must_be_written(
    made: Settings, copy: Warehouse, stage: str, table: str, back: int
) -> None:
    """The month ``back`` months before is needed, the one before it is not."""
    settings = changed(made, copy)
    if stage == "factor_exposures":
        assert stage_named(stage).reach(settings) == back
    begin = first_month(settings, next(other for other in stages() if table in other.tables).begins)
    for month, needed in ((add_months(LAST, -back), True), (add_months(LAST, -back - 1), False)):
        if month < begin:
            assert not needed
            continue
        copy.execute("BEGIN")
        entries = copy.execute("SELECT * FROM meta.executions WHERE table_name = ?", [table])
        copy.execute("DELETE FROM meta.executions WHERE table_name = ?", [table])
        for entry in entries:
            for first, last in ((entry[3], add_months(month, -1)), (add_months(month, 1), entry[4])):
                if first <= last:
                    row = [*entry[:3], first, last, *entry[5:]]
                    copy.execute("INSERT INTO meta.executions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        if needed:
            with pytest.raises(MissingPartition, match=f"{stage} needs {table} of {month:%Y-%m}, which is not stored"):
                told(copy, settings, [stage], [LAST])
        else:
            assert told(copy, settings, [stage], [LAST]) == []
        copy.execute("ROLLBACK")


def test_what_a_stage_declares_to_read_is_enough_for_the_same_rows(made: Settings, tmp_path: Path) -> None:
    """Each stage computes the last month anew from nothing but the tables and months it declares."""
    source = make_source(made)
    with (
        open_warehouse(made.database_path, read_only=True, threads=2) as full,
        open_warehouse(tmp_path / "little.duckdb", threads=2) as little,
    ):
        for stage in stages():
            written = [name for name in stage.tables if not table_named(name).view]
            if not written:
                continue
            for name, table in catalog().items():
                if not table.view:
                    little.execute(f"DELETE FROM {name}")
            for name, months in needs(stage, made, [LAST]):
                if months:
                    little.write({name: full.read(name, first=months[0], last=months[-1])}, months, "declared")
            run_stage(stage, Work(little, made, source, "again", [LAST]))
            for name in written:
                expected, got = (item.read(name, first=LAST, last=LAST) for item in (full, little))
                assert compare(table_named(name), expected, got) == (0, ""), (stage.name, name)


def test_a_view_holds_for_a_month_only_what_its_tables_hold_for_that_month() -> None:
    """Else the months of its tables would say nothing about its own."""
    from sqlglot import exp, parse_one

    from rotation_pipeline.warehouse.models import sql_models

    views = [model for model in sql_models() if model.is_view]
    assert views
    for model in views:
        assert not list(parse_one(model.query, dialect="duckdb").find_all(exp.Window)), model.path.name
        assert all(not table_named(name).view for name in base_tables(model.table.full_name))
    reused = "staging.reused_codes"  # holds rows of a month against all earlier ones: who reads it must bound them
    readers = [model for model in sql_models() if reused in model.reads]
    assert {model.table.name for model in readers} == {"fundamentals_as_of", "stock_snapshot"}
    for model in readers:
        assert f"r.earlier_month >= e.month - INTERVAL {model.backs[reused]} MONTH" in model.query, model.path.name


def test_months_of_a_run_are_consecutive(made: Settings, copy: Warehouse) -> None:
    with pytest.raises(runner.WarehouseError, match="consecutive"):
        run_graph(copy, changed(made, copy), [date(2014, 4, 1), LAST])


def test_months_are_written_as_people_read_them() -> None:
    months = [date(2014, month, 1) for month in (1, 2, 3, 6)]
    assert span(months) == "2014-01 … 2014-03, 2014-06 (4 months)"
    assert span(months[:1]) == "2014-01"


# ---------------------------------------------------------------------- settings that differ


class Watched:
    """Settings that remember which groups were looked at."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.seen = settings, set[str]()

    def __getattr__(self, name: str) -> Any:
        if name in {"shaping", "shaping_books", "model_dump"}:
            self.seen |= set(Settings.model_fields)
        if name in Settings.model_fields:
            self.seen.add(name)
        return getattr(self.settings, name)


def test_a_stage_looks_at_no_settings_but_those_it_declares(made: Settings, copy: Warehouse) -> None:
    elsewhere = {
        "trials": set(Settings.model_fields) - shaped_by("marts.trials"),  # they pick what shapes books from everything
        "narratives": {"llm"},  # months told by different models may stand side by side
    }
    for stage in stages():
        if not stage.tables:
            continue
        watched = Watched(changed(made, copy))
        source = make_source(watched.settings)
        stage.compute(Work(copy, watched, source, "watched", [LAST]))  # type: ignore[arg-type]
        assert watched.seen - elsewhere.get(stage.name, set()) <= shaped_by(stage.tables[0]), stage.name
        assert set(stage.options) <= set(Settings.model_fields), stage.name


def read_by(stage: Stage, work: Work, patch: pytest.MonkeyPatch) -> set[str]:
    """Stored tables a stage asks the warehouse for, views resolved, its own left out."""
    seen = set[str]()

    def noting(method: str) -> Callable[..., Any]:
        original = getattr(Warehouse, method)

        def read(self: Warehouse, name: str, *arguments: Any, **selection: Any) -> Any:
            seen.update(base_tables(name))
            return original(self, name, *arguments, **selection)

        return read

    with patch.context() as inner:
        for method in ("read", "batches"):
            inner.setattr(Warehouse, method, noting(method))
        stage.compute(work)
    return seen - set(stage.tables)


READ_MORE: dict[str, dict[str, dict[str, object]]] = {
    "expert_forecasts": {"forecasts": {"experts": ["zero", "jump_model"], "min_train_months": 12}},
    "weights": {"allocation": {"selection": "nested", "books": ["softmax_mixture", "decision_focused"]}},
    "stock_backtest": {"stock_level": {"portfolios": ["index_enhanced"], "enhanced": {"risk_months": 6, "active_limit": 0.05}}},
}  # fmt: skip
"""Settings under which a stage reads more than by default."""


def test_a_stage_reads_the_tables_it_declares_and_no_others(
    made: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every stage written in Python; those in SQL are parsed. What is declared and read under no settings would make
    results stale that are not; what is read and not declared would leave stale ones standing."""
    source = make_source(made)
    for stage in stages():
        if "sql" in stage.kinds or stage.name == "raw_market_data":
            continue
        seen = set[str]()
        for settings in (changed(made, copy), changed(made, copy, **READ_MORE.get(stage.name, {}))):
            months = stage.months(settings, settings.all_months())
            seen |= read_by(stage, Work(copy, settings, source, "watched", months), monkeypatch)
        # the report shows a study of these results where there is one; no stage writes it
        assert seen - {"marts.sensitivity"} == set(inputs_of(stage)), stage.name


def test_a_month_of_other_settings_is_refused_with_both_values_and_the_remedies(
    made: Settings, copy: Warehouse
) -> None:
    before = contents(copy)
    with pytest.raises(MixedSettings) as caught:
        run_graph(copy, changed(made, copy, factors={"min_names": 21}, regimes={"seed": 77}), [LAST])
    assert contents(copy) == before
    for part in ("factor_exposures", "marts.factor_exposures of 2013-07 … 2014-05 (11 months)",
                 "factors.min_names = 20 (now 21)", "--database FILE", "Nothing was stored", "--to 2014-06"):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(MixedSettings, match=r"market_regimes: .*regimes.seed = \d+ \(now 77\)"):
        run_graph(copy, changed(made, copy, regimes={"seed": 77}), [LAST], only=["market_regimes"])
    assert contents(copy) == before


def test_a_range_that_leaves_months_of_other_settings_standing_is_refused(made: Settings, copy: Warehouse) -> None:
    """Later months would be results of a history that is no longer stored."""
    months = months_between(made.history_start, date(2014, 4, 1))
    with pytest.raises(MixedSettings, match=r"weights: marts.weights of 2014-05 … 2014-06 .*allocation.tilt_cap"):
        run_graph(copy, changed(made, copy, allocation={"tilt_cap": 0.11}), months)


def test_all_months_may_be_computed_with_other_settings_also_by_the_stages_they_shape_alone(
    made: Settings, copy: Warehouse
) -> None:
    other = changed(made, copy, allocation={"tilt_cap": 0.11})
    assert "allocation" not in shaped_by("marts.forecasts")
    run_graph(copy, other, other.all_months(), only=["weights", "factor_backtest"])
    # what comes after still is of the first settings, and so is the rest of the graph asked for alone
    with pytest.raises(MixedSettings, match=r"narrative_facts: marts\.\w+ of .*allocation.tilt_cap"):
        run_graph(copy, changed(made, copy), [LAST], only=["narrative_facts"])
    names = [stage.name for stage in stages()]
    rest = names[names.index("factor_backtest") + 1 :]
    with pytest.raises(MixedSettings, match=r"html_report: marts\.\w+ of .*allocation.tilt_cap"):
        run_graph(copy, other, other.all_months(), only=["html_report"])
    run_graph(copy, other, other.all_months(), only=rest)
    assert json.loads(copy.latest_run()["settings"])["allocation"]["tilt_cap"] == 0.11


def test_settings_without_effect_on_rows_are_no_reason_to_refuse(made: Settings, copy: Warehouse) -> None:
    other = changed(made, copy, network={"workers": 2}).model_copy(update={"threads": 1})
    assert told(copy, other, [stage.name for stage in stages()], [LAST]) == []


def test_other_code_packages_or_folders_are_told_and_a_grown_source_is_not_even_that(
    made: Settings, copy: Warehouse
) -> None:
    settings = changed(made, copy)
    run_id, facts = identify(settings, make_source(settings))
    chosen = [stage_named("forecasts")]
    assert inspect(copy, settings, "grown", {**facts, "source_version": "another"}, chosen, [LAST]) == []
    packages = {**json.loads(facts["packages"]), "numpy": "9.9"}
    newer = {**facts, "code_version": "9+new", "packages": json.dumps(packages)}
    notices = inspect(copy, settings, "newer", newer, chosen, [LAST])
    assert len(notices) == 1
    for part in ("2013-08 … 2014-06", f"code {facts['code_version']} (now 9+new)", "numpy", "(now 9.9)", "are kept"):
        assert part in notices[0]
    values = json.loads(facts["settings"])
    values["source"]["path"] = "/elsewhere"
    moved = {**facts, "settings": json.dumps(values)}
    assert 'source.path = null (now "/elsewhere")' in inspect(copy, settings, "moved", moved, chosen, [LAST])[0]
    assert inspect(copy, settings, run_id, facts, chosen, [LAST]) == []


def test_other_code_is_told_by_the_run_itself(made: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "code_version", lambda: "9+new")
    heard: list[str] = []
    run_graph(copy, changed(made, copy), [LAST], only=["factor_evidence"], warn=heard.append)
    assert ["(now 9+new)" in text for text in heard] == [True]


# ---------------------------------------------------------------------- replay after a second configuration


def test_replay_holds_after_a_second_configuration_was_run_on_the_same_file(made: Settings, copy: Warehouse) -> None:
    other = changed(made, copy, allocation={"tilt_cap": 0.11})
    months = other.all_months()
    names = [stage.name for stage in stages()]
    run_graph(copy, other, months, only=names[names.index("weights") : names.index("narrative_facts")])
    registry = copy.read("marts.trials", first=LAST, last=LAST)
    assert registry["trial_id"].n_unique() > registry["strategy"].n_unique(), "two configurations of a strategy"
    graph = [stage_named(name) for name in ("trials", "significance")]
    found = verify_replay(copy, other, [LAST], graph=graph)
    assert {item.table for item in found} == {"marts.trials", "marts.significance"}
    assert [str(item) for item in found if not item.equal] == []


# ---------------------------------------------------------------------- what is logged


def test_the_log_is_written_with_the_rows_or_not_at_all(
    made: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copy)

    def fails(*_: object) -> None:
        raise duckdb.IOException("the log cannot be written")

    monkeypatch.setattr(Warehouse, "_log", fails)
    with pytest.raises(duckdb.IOException, match="the log"):
        run_graph(copy, changed(made, copy), [LAST], only=["factor_evidence"])
    assert contents(copy) == before


def test_each_stage_logs_the_raw_partitions_it_looked_back_on(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy)
    everything = {(name, month): value for _, name, month, value in inputs(copy)}
    stored = {(row["table_name"], row["month"]): row["sha256"] for row in copy.read("raw.ingestions").to_dicts()}
    assert everything == stored, "some stages read all months"
    copy.execute("DELETE FROM meta.run_inputs")
    run_graph(copy, settings, [LAST], only=["index_daily"])
    hashes = {(name, month): value for _, name, month, value in inputs(copy)}
    assert hashes == {key: value for key, value in stored.items() if key[1] >= date(2014, 5, 1)}
    # another content of a partition takes the place of the first
    copy.execute("UPDATE raw.ingestions SET sha256 = 'new' WHERE month = ?", [LAST])
    run_graph(copy, settings, [LAST], only=["index_daily"])
    again = {(name, month): value for _, name, month, value in inputs(copy)}
    assert again.keys() == hashes.keys()
    assert {value for (_, month), value in again.items() if month == LAST} == {"new"}


def inputs(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.execute("SELECT run_id, table_name, month, sha256 FROM meta.run_inputs")


def test_months_without_rows_are_written(made: Settings, copy: Warehouse) -> None:
    empty = [
        name for name, table in catalog().items() if not table.view and table.schema == "raw" and not copy.count(name)
    ]
    stage: Stage = stage_named("raw_market_data")
    assert "raw.quarantine" in empty
    assert set(copy.written()["raw.quarantine"]) == set(stage.months(made, made.all_months()))
