"""A run computes what is not stored as it would store it, and leaves the rest: the database is the same bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest
from tiny_graph import changed, stored, tiny

from rotation_pipeline.orchestration import runner
from rotation_pipeline.orchestration.due import due
from rotation_pipeline.orchestration.graph import inputs_of, stages
from rotation_pipeline.orchestration.runner import identify, make_source, run_graph
from rotation_pipeline.orchestration.stages import Outcome
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.catalog import catalog, table_named
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

COUNTED = {name: [date(2014, 6, 1)] for name in ("significance", "stock_significance")}
"""Trials may come from studies, which are in no log: always due for the last month."""
STORING = [stage for stage in stages() if any(not table_named(name).view for name in stage.tables)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return stored(tmp_path_factory.mktemp("due"))


@pytest.fixture
def copy(made: Settings, tmp_path: Path) -> Iterator[Warehouse]:
    path = tmp_path / "copy.duckdb"
    shutil.copy(made.database_path, path)
    with open_warehouse(path, threads=2) as warehouse:
        yield warehouse


def months_due(warehouse: Warehouse, settings: Settings) -> dict[str, list[date]]:
    """By stage that stores rows the months it would compute; stages without any are left out."""
    _, facts = identify(settings, make_source(settings))
    found = due(warehouse, settings, facts, stages(), settings.all_months())
    return {stage.name: months for stage, months in found if months and stage in STORING}


def after(*names: str) -> set[str]:
    """The stages and all that are made of their rows."""
    found: set[str] = set(names)
    for stage in STORING:
        made_of = {producer.name for producer in STORING for name in inputs_of(stage) if name in producer.tables}
        if made_of & found:
            found.add(stage.name)
    return found


def rows(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """Every computed row; raw rows but for when they were fetched."""
    return {
        name: warehouse.read(name).drop("fetched_at", strict=False).rows()
        for name, table in catalog().items()
        if not table.view
    }


def computed(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {outcome.stage: len(outcome.months) for outcome in outcomes if outcome.months}


def test_a_second_run_computes_nothing_but_the_report(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy)
    assert months_due(copy, settings) == COUNTED
    before = rows(copy)
    log = copy.execute("SELECT stage FROM meta.executions ORDER BY rowid")
    outcomes = run_graph(copy, settings, settings.all_months(), again=False)
    assert set(computed(outcomes)) == {"staging", "overview", "html_report", *COUNTED}
    assert {outcome.stage: outcome.kept for outcome in outcomes}["weights"] == 7
    assert outcomes[-1].artifacts
    assert all(path.exists() for path in outcomes[-1].artifacts)
    assert rows(copy) == before
    assert {stage for (stage,) in copy.execute("SELECT stage FROM meta.executions ORDER BY rowid")[len(log) :]} == set(
        COUNTED
    )


def test_a_further_month_costs_a_month_and_gives_the_same_database(made: Settings, tmp_path: Path) -> None:
    whole = tiny(tmp_path)
    with open_warehouse(whole.database_path, threads=2) as warehouse:
        run_graph(warehouse, whole, whole.all_months()[:-1], again=False)
        outcomes = run_graph(warehouse, whole, whole.all_months(), again=False)
        found = computed(outcomes)
        assert {found[stage.name] for stage in STORING} == {1}
        step_by_step = rows(warehouse)
    with open_warehouse(made.database_path, threads=2) as warehouse:
        assert step_by_step == rows(warehouse)


def test_other_settings_compute_what_they_shape_and_what_is_made_of_it(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy, allocation={"tilt_cap": 0.11})
    found = months_due(copy, settings)
    # the trials are those of these settings
    assert set(found) == after("weights", "trials")
    assert "expert_forecasts" not in found
    assert "stock_backtest" in found
    assert found["weights"][0] == date(2013, 12, 1)
    assert found["factor_backtest"][0] == date(2014, 1, 1)
    run_graph(copy, settings, settings.all_months(), again=False)
    kept = rows(copy)
    assert months_due(copy, settings) == COUNTED
    run_graph(copy, settings, settings.all_months())
    other = rows(copy)
    # by content: rows left as they were name the run that computed them
    assert {name: strip(copy, name, of) for name, of in kept.items()} == {
        name: strip(copy, name, of) for name, of in other.items()
    }
    assert set(months_due(copy, changed(made, copy))) == after("weights", "trials")


def strip(warehouse: Warehouse, name: str, of: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows without the run that computed them."""
    columns = warehouse.read(name, limit=0).drop("fetched_at", strict=False).columns
    at = [place for place, column in enumerate(columns) if column != "run_id"]
    return [tuple(row[place] for place in at) for row in of]


def test_other_code_and_packages_compute_everything(
    made: Settings, copy: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(made, copy)
    everything = {stage.name for stage in STORING}
    with monkeypatch.context() as other:
        other.setattr(runner, "code_version", lambda: "9.9.9+0")
        assert set(months_due(copy, settings)) == everything
    with monkeypatch.context() as other:
        other.setattr(runner, "package_versions", lambda: {"numpy": "0.1"})
        assert set(months_due(copy, settings)) == everything


def test_a_month_written_again_makes_due_what_reads_it_from_there_on(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy)
    run_graph(copy, settings, [date(2014, 3, 1)], only=["forecasts"])
    found = months_due(copy, settings)
    assert set(found) == (after("forecasts") | set(COUNTED)) - {"forecasts"}
    assert found["weights"] == [date(2014, month, 1) for month in (3, 4, 5, 6)]


def test_a_month_of_a_stage_that_builds_on_itself_makes_its_later_ones_due(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy)
    run_graph(copy, settings, [date(2014, 2, 1)], only=["market_regimes"])
    found = months_due(copy, settings)
    assert found["market_regimes"][0] == date(2014, 3, 1)
    assert found["regime_evidence"][0] == date(2014, 2, 1), "made of February's regimes, which were written after it"


def test_a_run_that_was_cut_off_goes_on(made: Settings, copy: Warehouse) -> None:
    """Each stage is stored before the next begins; here the last stages and two months of weights are missing."""
    settings, whole = changed(made, copy), rows(copy)
    names = [stage.name for stage in STORING]
    later = names[names.index("weights") :]
    for stage in STORING:
        for name in stage.tables if stage.name in later else ():
            first = date(2014, 5, 1) if stage.name == "weights" else date.min
            copy.execute(f"DELETE FROM {name} WHERE month >= ?", [first])
    copy.execute("DELETE FROM meta.executions WHERE list_contains(?, stage)", [later[1:]])
    copy.execute("UPDATE meta.executions SET last_month = DATE '2014-04-01' WHERE stage = 'weights'")
    outcomes = run_graph(copy, settings, settings.all_months(), again=False)
    found = computed(outcomes)
    assert found["weights"] == 2
    assert found["factor_backtest"] == 6
    assert "expert_forecasts" not in found
    assert rows(copy) == whole


def test_stale_marks_and_other_raw_rows_make_due(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy)
    month = date(2014, 4, 1)
    copy.execute("INSERT INTO meta.stale VALUES ('marts.factor_longshort', ?, 'x')", [month])
    found = months_due(copy, settings)
    assert set(found) == after("factor_returns")
    assert found["factor_returns"][0] == month
    copy.execute("DELETE FROM meta.stale")
    copy.execute("UPDATE meta.run_inputs SET sha256 = 'other' WHERE table_name = 'daily_bars' AND month = ?", [month])
    found = months_due(copy, settings)
    assert found["adjusted_bars"] == [date(2014, number, 1) for number in (4, 5, 6)]
    assert "raw_market_data" not in found, "the rows are there; what was made of them was made of others"


def test_another_version_of_the_source_is_fetched_and_its_equal_rows_change_nothing(
    made: Settings, copy: Warehouse
) -> None:
    """As a folder that grew by a month: what is stored of it is held against it again."""
    settings = changed(made, copy)
    copy.execute("UPDATE meta.runs SET source_version = 'earlier'")
    assert set(months_due(copy, settings)) == {"raw_market_data", *COUNTED}


def test_where_a_language_model_is_asked_texts_are_asked_for_again(made: Settings, copy: Warehouse) -> None:
    """What it answered is kept and not asked twice; what it failed to answer is."""
    settings = changed(made, copy, llm={"base_url": "http://127.0.0.1:9/v1", "model": "any"})
    assert set(months_due(copy, settings)) == {"narratives", *COUNTED}
    assert len(months_due(copy, settings)["narratives"]) == 6
    before = dict(copy.runs()[0])
    copy.execute("UPDATE meta.runs SET settings = ?", [identify(settings, make_source(settings))[1]["settings"]])
    assert set(months_due(copy, changed(made, copy))) == {"narratives", *COUNTED}, "a template replaces what it wrote"
    copy.execute("UPDATE meta.runs SET settings = ?", [before["settings"]])
    assert months_due(copy, changed(made, copy)) == COUNTED


def test_a_setting_that_may_refuse_a_month_lets_none_pass_unseen(made: Settings, copy: Warehouse) -> None:
    month = date(2014, 3, 1)
    copy.execute(
        "UPDATE intermediate.universe SET in_estimation = FALSE WHERE month = ? AND asset_key = "
        "(SELECT min(asset_key) FROM intermediate.universe WHERE month = ?)",
        [month, month],
    )
    assert months_due(copy, changed(made, copy, universe={"maximum_absent": 0.5})) == COUNTED
    for _ in range(2):  # refused once, it is not forgotten
        strict = changed(made, copy, universe={"maximum_absent": 0.01})
        assert months_due(copy, strict)["universe"][0] == month
        copy.record_run(*identify(strict, make_source(strict)))


def test_a_key_taken_out_of_a_setting_is_another_setting(made: Settings, copy: Warehouse) -> None:
    settings = changed(made, copy, sanity={"members": {}})
    assert set(months_due(copy, settings)) == {stage.name for stage in STORING}


@pytest.mark.parametrize("gained", [True, False])
def test_a_table_served_now_and_not_then_or_the_reverse(made: Settings, copy: Warehouse, *, gained: bool) -> None:
    """What was made without it is due, though no table it was made of has other rows."""
    settings, month = changed(made, copy), date(2014, 2, 1)
    place = "meta.run_inputs" if gained else "raw.ingestions"
    copy.execute(f"DELETE FROM {place} WHERE table_name = 'dividends' AND month >= ?", [month])
    found = months_due(copy, settings)
    assert found["stock_backtest"][0] == found["adjusted_bars"][0] == month
    assert "raw_market_data" not in found


def test_rows_fetched_in_the_same_run_make_due_what_was_made_of_others(made: Settings, copy: Warehouse) -> None:
    """The source is of another version, so it is asked; that its rows are others is known only then."""
    settings, month = changed(made, copy), date(2014, 5, 1)
    copy.execute("UPDATE meta.runs SET source_version = 'earlier', run_id = 'before'")
    for log in ("meta.executions", "meta.run_inputs"):
        copy.execute(f"UPDATE {log} SET run_id = 'before'")
    # as if the rows of the month had been others when all was computed, and were judged by other settings
    copy.execute("UPDATE raw.ingestions SET sha256 = 'old' WHERE table_name = 'dividends' AND month = ?", [month])
    copy.execute("UPDATE meta.run_inputs SET sha256 = 'old' WHERE table_name = 'dividends' AND month = ?", [month])
    writer = copy.written()["raw.ingestions"][month]
    values = json.loads(copy.execute("SELECT settings FROM meta.runs WHERE run_id = ?", [writer])[0][0])
    values["sanity"]["share_count_jump"] = 0.21
    copy.execute(
        "INSERT INTO meta.runs SELECT * REPLACE ('judged' AS run_id, ? AS settings) FROM meta.runs",
        [json.dumps(values)],
    )
    copy.execute("UPDATE meta.executions SET run_id = 'judged' WHERE stage = 'raw_market_data'")
    assert set(months_due(copy, settings)) == {"raw_market_data", *COUNTED}
    told: list[str] = []
    outcomes = run_graph(copy, settings, settings.all_months(), again=False, warn=told.append)
    assert any("other rows than those stored before: raw.dividends of 2014-05" in text for text in told)
    found = computed(outcomes)
    assert found["stock_backtest"] == found["adjusted_bars"] == 2
    assert months_due(copy, settings) == COUNTED
