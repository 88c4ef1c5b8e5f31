"""Runs of a month or of some stages: which verdict is printed, when none is, and what makes stored results no verdict."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_project import CONFIG, Project

from rotation_pipeline.orchestration import runner
from rotation_pipeline.orchestration import stages as at_work
from rotation_pipeline.orchestration.consistency import span
from rotation_pipeline.orchestration.freshness import stale
from rotation_pipeline.orchestration.graph import stage_named, stages
from rotation_pipeline.orchestration.reports import require_report
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import stored_settings
from rotation_pipeline.warehouse.errors import StaleResults
from rotation_pipeline.warehouse.replaced import restated_months
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

DOWNSTREAM = ("factor_backtest", "backtest_measures", "trials", "significance", "narrative_facts", "narratives")


@pytest.fixture(autouse=True)
def _config() -> None:
    Path("rotation.toml").write_text(CONFIG, encoding="utf-8")


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Path:
    """A database of one's own with all results."""
    return Path(shutil.copy(project.database, tmp_path / "copy.duckdb"))


def pretend(database: Path, tables: str, *, code: str = "", **settings: Any) -> None:
    """Another run, of other settings or code, wrote the tables last: what an earlier version could leave behind."""
    with open_warehouse(database) as warehouse:
        run = warehouse.runs()[0]
        recorded = json.loads(run["settings"])
        for name, value in settings.items():
            group, _, leaf = name.partition("__")
            recorded[group][leaf] = value
        warehouse.execute(
            "INSERT INTO meta.runs SELECT 'pretended', coalesce(nullif(?, ''), code_version), ?, seeds, packages, source, "
            "source_kind, source_version, first_seen_at FROM meta.runs WHERE run_id = ?",
            [code, json.dumps(recorded), run["run_id"]],
        )
        warehouse.execute(
            "INSERT INTO meta.executions SELECT 'pretended', stage, table_name, first_month, last_month, row_count, "
            "seconds, finished_at + INTERVAL 1 HOUR FROM meta.executions WHERE regexp_matches(table_name, ?)",
            [tables],
        )


# ---------------------------------------------------------------------- the month of the verdict


def test_a_month_in_the_middle_has_the_verdict_of_that_month_and_the_export_keeps_the_rest(
    rotation: Any, copy: Path
) -> None:
    answer = rotation("run", "--database", copy, "--month", "2014-05", "--json")
    assert (answer.code, answer.stderr) == (0, "")
    facts = answer.json
    assert (facts["month"], facts["source_kind"]) == ("2014-05", "simulated")
    assert any("Over 5 months to 2014-05" in sentence for sentence in facts["sentences"])
    assert {"Rotation", "Equal weight"} <= {row["strategy"] for row in facts["table"]}
    assert {row["months"] for row in facts["table"]} == {"5"}
    assert [Path(path).name for path in facts["reports"]] == [
        "report_2014-05_en.html", "report_2014-05_zh.html", "factor_longshort.csv"
    ]  # fmt: skip
    months = pl.read_csv(facts["reports"][2])["month"].to_list()
    assert (months[0], months[-1]) == ("2013-08-01", "2014-06-01"), "months after the report's are kept"
    folder = Path(facts["reports"][0]).parent
    assert sorted(path.name for path in folder.iterdir()) == sorted(Path(path).name for path in facts["reports"])


def test_a_month_before_the_market_data_is_refused_with_the_first_one(rotation: Any, copy: Path) -> None:
    before = copy.read_bytes()
    answer = rotation("run", "--database", copy, "--month", "2009-01")
    assert (answer.code, answer.stdout) == (2, "")
    told = " ".join(answer.stderr.replace("│", " ").split())
    assert "2009-01 lies before the first month of market data, 2011-06" in told
    assert copy.read_bytes() == before


# ---------------------------------------------------------------------- partial runs


def test_a_run_of_stages_says_what_it_stored_and_prints_no_verdict(rotation: Any, copy: Path) -> None:
    arguments = ["run", "--database", copy, "--stage", "weights", "--stage", "factor_backtest"]
    answer = rotation(*arguments)
    assert answer.code == 0
    assert "equal weight after costs" not in answer.stdout
    assert "Sharpe" not in answer.stdout
    for part in ("marts.books", "2013-12", "No verdict: single stages were run. The stored results belong together"):
        assert part in answer.stdout
    facts = rotation(*arguments, "--month", "2014-06", "--json").json
    assert facts["verdict"] is None
    assert "table" not in facts
    assert "sentences" not in facts
    assert [(row["stage"], row["table"], row["first"], row["last"]) for row in facts["stored"]] == [
        ("weights", "marts.weights", "2014-06", "2014-06"), ("weights", "marts.books", "2014-06", "2014-06"),
        ("weights", "marts.selection", "2014-06", "2014-06"),
        ("factor_backtest", "marts.backtest", "2014-06", "2014-06"),
    ]  # fmt: skip


def test_new_weights_beside_an_old_backtest_give_no_verdict_until_it_is_recomputed(rotation: Any, copy: Path) -> None:
    change = ["--set", "allocation.tilt_cap=0.1"]
    answer = rotation("run", "--database", copy, "--stage", "weights", *change, "--json")
    assert answer.code == 0
    state = answer.json["state"]
    for stage in DOWNSTREAM:
        assert f"{stage}, " in state
        assert f" --stage {stage}" in state
    assert "computed with allocation.tilt_cap = 0.12 (now 0.1)" in state
    assert " --set allocation.tilt_cap=0.1`" in state
    assert "Stale: factor_backtest" in state, "what lies before the weights is not stale"
    report = rotation("report", "--database", copy)
    assert (report.code, report.stdout) == (1, "")
    assert report.stderr.startswith("error The stored results up to 2014-06 do not belong together")
    command = state.partition("`rotation ")[2].partition("`")[0].split()
    again = rotation(*command)
    assert again.code == 0, again.stderr
    assert "The stored results belong together" in again.stdout
    assert rotation("report", "--database", copy, "--lang", "en").code == 0
    with open_warehouse(copy, read_only=True) as warehouse:
        assert warehouse.query("SELECT count(DISTINCT trial_id) AS n FROM marts.trials")["n"].item() == 12


def test_another_seed_of_the_tests_or_number_of_threads_is_no_other_trial_and_no_other_run(
    rotation: Any, copy: Path
) -> None:
    def run(*pairs: str) -> None:
        stages = [part for name in DOWNSTREAM[:4] for part in ("--stage", name)]
        sets = [part for pair in pairs for part in ("--set", pair)]
        answer = rotation("run", "--database", copy, *stages, *sets)
        assert answer.code == 0, answer.stderr

    def counts() -> tuple[int, int]:
        with open_warehouse(copy, read_only=True) as warehouse:
            trials = warehouse.query("SELECT count(DISTINCT trial_id) AS n FROM marts.trials")["n"].item()
            return trials, len(warehouse.runs())

    assert counts() == (6, 1)
    run("threads=1", "network.workers=1", "source.path=elsewhere", "source.mapping=elsewhere/mapping.toml")
    assert counts() == (6, 1)
    run("backtest.resamples=120", "backtest.seed=3", "backtest.confidence=0.9")
    assert counts() == (6, 2), "other intervals are another run of the same trials"


# ---------------------------------------------------------------------- what is no verdict


def test_a_stage_that_was_not_run_for_the_month_is_named_with_its_command(rotation: Any, copy: Path) -> None:
    with open_warehouse(copy) as warehouse:
        warehouse.execute("DELETE FROM meta.executions WHERE table_name IN ('marts.narratives', 'marts.significance')")
    answer = rotation("report", "--database", copy)
    assert answer.code == 1
    assert "There is no report of 2014-06: significance, narratives were not run for it" in answer.stderr
    assert "--to 2014-06 --stage significance --stage narratives` runs them" in answer.stderr


def test_settings_of_the_command_that_are_not_those_of_the_results_are_named(rotation: Any, copy: Path) -> None:
    pretend(copy, "marts.(weights|books|selection)", allocation__tilt_cap=0.2, backtest__cost_bp=77.0)
    answer = rotation("report", "--database", copy)
    assert answer.code == 1
    assert "Stale: factor_backtest" in answer.stderr
    assert "allocation.tilt_cap = 0.12 (now 0.2), backtest.cost_bp = 20.0 (now 77.0)" in answer.stderr
    assert "--set allocation.tilt_cap=0.2 --set backtest.cost_bp=77.0" in answer.stderr
    assert not Path("output").exists()


def test_results_older_than_what_other_code_made_of_their_inputs_are_stale(rotation: Any, copy: Path) -> None:
    pretend(copy, "marts.(weights|books|selection)", code="9+other")
    answer = rotation("report", "--database", copy)
    assert answer.code == 1
    assert "Stale: factor_backtest" in answer.stderr
    assert "computed before weights by other code" in answer.stderr
    assert "expert_forecasts" not in answer.stderr


def test_results_of_other_code_throughout_belong_together(rotation: Any, copy: Path) -> None:
    pretend(copy, ".*", code="9+other")
    assert rotation("report", "--database", copy, "--lang", "zh").code == 0


def test_results_of_data_that_were_replaced_since_are_stale(rotation: Any, copy: Path) -> None:
    with open_warehouse(copy) as warehouse:
        warehouse.execute(
            "UPDATE raw.ingestions SET sha256 = 'x' WHERE table_name = 'daily_bars' AND month = DATE '2013-10-01'"
        )
    answer = rotation("report", "--database", copy)
    assert answer.code == 1
    assert "computed before raw.daily_bars of 2013-10 changed" in answer.stderr
    assert "recomputes everything" in answer.stderr


def test_an_ingestion_with_other_settings_does_not_take_the_report_away(rotation: Any, copy: Path) -> None:
    pretend(copy, "raw.*", allocation__tilt_cap=0.2)
    assert rotation("report", "--database", copy, "--lang", "en").code == 0


# ---------------------------------------------------------------------- a stage of a large market, cut off between parts


def cut_off(database: Path, stage: str, monkeypatch: pytest.MonkeyPatch, *, code: str, **changes: Any) -> None:
    """The stage computed again for all months by other code, or settings, in parts, and killed after the first one."""
    parts: list[int] = []
    write = Warehouse.write

    def killed(*given: Any) -> Any:
        if parts:
            raise KeyboardInterrupt
        parts.append(1)
        return write(*given)

    with monkeypatch.context() as patch, open_warehouse(database) as warehouse:
        stored = json.loads(warehouse.latest_run()["settings"])
        for group, values in changes.items():
            stored[group] |= values
        settings = stored_settings(json.dumps(stored), database=str(database))
        patch.setattr(at_work, "ROWS_AT_ONCE", 2_000)
        patch.setattr(Warehouse, "write", killed)
        patch.setattr(runner, "code_version", lambda: code)
        with pytest.raises(KeyboardInterrupt):
            run_graph(warehouse, settings, settings.all_months(), only=[stage])
    assert parts == [1]


@pytest.mark.parametrize(
    "stage", [stage.name for stage in stages() if stage.wide and not stage.fetches and stage.name != "stock_backtest"]
)
def test_a_stage_cut_off_between_parts_by_other_code_gives_no_verdict_until_it_is_completed(
    rotation: Any, copy: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    cut_off(copy, stage, monkeypatch, code="9+other")
    answer = rotation("report", "--database", copy, "--lang", "zh")
    assert answer.code == 1
    assert stage in answer.stderr.partition("Stale: ")[2].partition("Nothing was changed")[0]
    assert "recomputes everything" in answer.stderr or f"--stage {stage} " in answer.stderr
    assert not Path("output").exists()


def test_a_month_once_restated_does_not_hide_a_later_cut_off(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed again for a restatement its rows stand beside later ones of other code, and rightly; written later, not."""
    stage = stage_named("factor_returns")

    def why() -> list[str]:
        with open_warehouse(copy, read_only=True) as warehouse:
            settings = stored_settings(warehouse.latest_run()["settings"], database=str(copy))
            found = stale(warehouse, settings, warehouse.months("marts.backtest")[-1], list(stage.tables))
        return [one.why for one in found if one.stage == stage.name]

    with open_warehouse(copy) as warehouse, monkeypatch.context() as patch:
        settings = stored_settings(warehouse.latest_run()["settings"], database=str(copy))
        months = warehouse.months(stage.tables[0])[:2]
        for name in stage.tables:
            for month in months:
                warehouse.execute("INSERT INTO meta.stale VALUES (?, ?, 'restated')", [name, month])
        patch.setattr(runner, "code_version", lambda: "8+other")
        run_graph(warehouse, settings, months, only=[stage.name])
        assert {name: len(restated) for name, restated in restated_months(warehouse).items()} == dict.fromkeys(
            stage.tables, 2
        )
    assert why() == []
    cut_off(copy, stage.name, monkeypatch, code="9+other")
    (said,) = why()
    assert said.startswith(f"in part by other code: {span(months)} again, later months not")


def test_a_stage_cut_off_between_parts_with_other_settings_gives_no_verdict(
    rotation: Any, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(copy, "factor_exposures", monkeypatch, code=runner.code_version(), factors={"mad_limit": 4.0})
    with open_warehouse(copy, read_only=True) as warehouse:
        months = warehouse.writes()["marts.factor_exposures"]
        assert months[max(months)][1] != months[min(months)][1]
        settings = stored_settings(warehouse.runs()[-1]["settings"], database=str(copy))
        with pytest.raises(
            StaleResults, match=r"Stale: factor_exposures, computed with factors.mad_limit = 4.0 \(now 5"
        ):
            require_report(warehouse, settings, max(months))


def test_months_that_grew_under_several_versions_of_the_code_belong_together(rotation: Any, copy: Path) -> None:
    """Each month by the code of its day, none computed again: that is how a database grows."""
    with open_warehouse(copy) as warehouse:
        warehouse.execute("UPDATE meta.executions SET last_month = DATE '2014-05-01'")
    pretend(copy, f"^({'|'.join(name for stage in stages() for name in stage.tables)})$", code="9+other")
    with open_warehouse(copy) as warehouse:
        warehouse.execute(
            "UPDATE meta.executions SET first_month = DATE '2014-06-01', last_month = DATE '2014-06-01' WHERE run_id = 'pretended'"
        )
    assert rotation("report", "--database", copy, "--lang", "zh").code == 0
