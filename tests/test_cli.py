"""The command line: what each command prints, in words and as JSON, and the exit code it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_project import CONFIG, Project
from typer.testing import CliRunner

from rotation_pipeline.cli import app
from rotation_pipeline.cli.interrupt import heed_interrupts
from rotation_pipeline.settings import load_settings
from rotation_pipeline.warehouse.store import open_warehouse

ENTRY = [sys.executable, "-m", "rotation_pipeline"]


@pytest.fixture(autouse=True)
def _config() -> None:
    """Every test stands in a folder of its own with the same settings."""
    Path("rotation.toml").write_text(CONFIG, encoding="utf-8")


def commands() -> Iterator[list[str]]:
    """Every command, those inside groups with the group's name."""

    def walk(command: Any, path: list[str]) -> Iterator[list[str]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path
            return
        for name, sub in inner.items():
            yield from walk(sub, [*path, name])

    return walk(typer.main.get_command(app), [])


# ---------------------------------------------------------------------- help and usage


def test_help_shows_every_command_with_an_example() -> None:
    runner = CliRunner()
    overview = runner.invoke(app, ["--help"])
    assert overview.exit_code == 0
    found = list(commands())
    for name in ("run", "ingest", "report", "explain", "status", "lineage", "verify-replay", "doctor"):
        assert [name] in found
        assert name in overview.stdout
    assert "Example: rotation" in " ".join(overview.stdout.replace("│", " ").split())
    for path in found:
        shown = runner.invoke(app, [*path, "--help"], env={"COLUMNS": "300"})
        assert shown.exit_code == 0
        words = " ".join(shown.stdout.replace("│", " ").split())
        assert f"Example: rotation {' '.join(path)}" in words, path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run", "--form", "2014-01"], "No such option"),
        (["run", "--set", "allocation.temperature"], "expected NAME=VALUE"),
        (["run", "--set", "source=files", "--set", "source.name=files"], "source is given twice"),
        (["run", "--source", "files", "--set", "source=files"], "source is given twice"),
        (["run", "--month", "2014-13"], "'2014-13' is no month; write it as 2014-01"),
        (["explain", "--month", "June"], "'June' is no month"),
        (["explain", "--month", "2014-06", "--lang", "fr"], "'fr' is not one of"),
        (["report", "--lang", "fr"], "'fr' is not one of"),
    ],
)
def test_wrong_usage_ends_with_2(rotation: Any, arguments: list[str], message: str) -> None:
    answer = rotation(*arguments)
    assert answer.code == 2
    assert message in " ".join(answer.stderr.replace("│", " ").split())
    assert answer.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--set", "allocation.temprature=1"], "allocation.temprature: is no setting"),
        (["run", "--set", "network.seeds=0"], "network.seeds: Input should be greater than or equal to 1 (given 0)"),
        (["run", "--set", "smaple.start=2014-01"], "smaple: is no setting"),
        (["ingest", "--source", "files"], "source.path is missing: the files source needs the folder it reads"),
        (
            ["ingest", "--source", "yahoo"],
            "source.name: Input should be 'simulated', 'files', 'tushare', 'baostock', 'akshare' or 'tinysoft' (given 'yahoo')",
        ),
        (["run", "--from", "2015-01", "--to", "2014-01"], "sample.end 2014-01 is before sample.start 2015-01"),
        (["run", "--from", "2014"], "sample.start, sample.end: '2014' is no month"),
    ],
)
def test_wrong_settings_end_with_2_and_the_name(rotation: Any, arguments: list[str], message: str) -> None:
    answer = rotation(*arguments)
    assert answer.code == 2
    assert answer.stderr.startswith(f"error settings: {message}")
    assert answer.stdout == ""
    assert not Path("data").exists(), "a wrong setting must be found before a database is made"


def test_a_wrong_file_and_environment_end_with_2(rotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rotation.toml").write_text("[network]\nsedes = 3\n", encoding="utf-8")
    answer = rotation("status")
    assert (answer.code, "network.sedes: is no setting" in answer.stderr) == (2, True)
    Path("rotation.toml").write_text("[network\n", encoding="utf-8")
    answer = rotation("status")
    assert (answer.code, "rotation.toml is no valid TOML" in answer.stderr) == (2, True)
    Path("rotation.toml").unlink()
    monkeypatch.setenv("ROTATION_NETWROK__SEEDS", "3")
    answer = rotation("status")
    assert (answer.code, "ROTATION_NETWROK__SEEDS is no setting" in answer.stderr) == (2, True)


# ---------------------------------------------------------------------- run


def test_run_in_a_pipe_prints_the_verdict_and_no_progress_bar(project: Project) -> None:
    done = project.first
    assert done.code == 0, done.stderr
    assert "SIMULATED DATA" in done.stdout
    for word in ("Rotation", "Equal weight", "report_2014-06_en.html", "report_2014-06_zh.html", "simulated.duckdb"):
        assert word in done.stdout, word
    for report in (project.folder / "output" / "simulated").glob("*.html"):
        assert str(report.name) in done.stdout
    lines = done.stderr.splitlines()
    assert "raw_market_data" in lines[0]
    assert all(line.startswith("[") and line.endswith(" s") for line in lines), "one line a stage"
    for text in (done.stdout, done.stderr):
        assert not any(mark in text for mark in ("\x1b", "\r", "━", "⠋")), "control characters or bars in a pipe"


def test_a_second_run_says_what_was_stored_before_and_prints_the_same_verdict(
    project: Project, rotation: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(project.database, copy)
    answer = rotation("run", "--database", copy)
    assert answer.code == 0, answer.stderr
    lines = answer.stderr.splitlines()
    assert "[1/31] raw_market_data: 37 months stored before" in lines
    assert "[19/31] weights: 7 months stored before" in lines
    assert any(
        line.startswith("[25/31] significance: ") and line.endswith(", 5 months stored before") for line in lines
    )

    def verdict(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith(("html", "csv", "database"))]

    assert verdict(answer.stdout) == verdict(project.first.stdout)
    for named in (("--month", "2014-06"), ("--again", "--stage", "weights")):
        answer = rotation("run", "--database", copy, *named)
        assert answer.code == 0, answer.stderr
        assert "stored before" not in answer.stderr, "what is named is computed"


def test_an_unknown_stage_is_refused_with_the_list(rotation: Any) -> None:
    answer = rotation("run", "--stage", "market_regime")
    assert answer.code == 1
    assert "there is no stage ['market_regime']" in answer.stderr
    assert "market_regimes" in answer.stderr
    assert not Path("data").exists(), "no empty database is left behind"


def test_a_month_of_other_settings_or_without_the_months_before_it_ends_with_1(
    project: Project, rotation: Any, tmp_path: Path
) -> None:
    answer = rotation("run", "--database", project.database, "--month", "2014-06", "--set", "allocation.tilt_cap=0.11")
    assert answer.code == 1
    for part in (
        "weights: marts.weights of 2013-12 … 2014-05",
        "allocation.tilt_cap = ",
        "(now 0.11)",
        "--database FILE",
    ):
        assert part in answer.stderr
    database = tmp_path / "gap.duckdb"
    answer = rotation("run", "--database", database, "--month", "2014-06")
    assert answer.code == 1
    for part in ("needs raw.daily_bars of 2011-06 … 2014-05 (36 months)", f"--database {database} --to 2014-05"):
        assert part in answer.stderr


def test_rows_of_another_version_are_told(
    project: Project, rotation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rotation_pipeline.orchestration import runner

    copy = tmp_path / "copy.duckdb"
    shutil.copy(project.database, copy)
    monkeypatch.setattr(runner, "code_version", lambda: "9+new")
    answer = rotation("run", "--database", copy, "--month", "2014-06", "--stage", "index_daily", "--json")
    assert answer.code == 0
    assert answer.stderr.startswith("warning 2011-06 … 2014-06 (37 months)")
    assert "(now 9+new)" in answer.stderr


def test_months_the_source_lacks_end_with_1(rotation: Any) -> None:
    answer = rotation("ingest", "--from", "2010-01", "--to", "2010-03")
    assert answer.code == 1
    assert "source simulated serves 2011-05 to " in answer.stderr
    assert "asked for 2007-06" in answer.stderr


def test_ingest_stores_market_data_alone(rotation: Any, tmp_path: Path) -> None:
    """Settings by ``--set`` reach the source."""
    database = tmp_path / "market.duckdb"
    arguments = ["--database", database, "--set", "simulation.seed=3", "--to", "2014-01"]
    answer = rotation("ingest", *arguments, "--json")
    assert (answer.code, answer.stderr) == (0, "")
    rows = {item["table"]: item["rows"] for item in answer.json["tables"]}
    assert answer.json["database"] == str(database)
    assert min(rows[f"raw.{name}"] for name in ("daily_bars", "index_bars", "fundamentals", "index_members")) > 0
    covered = {item["table"]: item for item in answer.json["coverage"]}
    bars = covered["daily_bars"]
    months = len({bars["months"].partition(" of ")[0], bars["months"].partition(" of ")[2]})
    assert (bars["served"], months, bars["last"], bars["rows"]) == ("yes", 1, "2014-01", rows["raw.daily_bars"])
    assert all(f"raw.{name}" in rows for name in covered)
    with open_warehouse(database, read_only=True) as warehouse:
        assert warehouse.count("raw.daily_bars") == rows["raw.daily_bars"]
        assert warehouse.count("marts.factor_exposures") == 0
        assert json.loads(warehouse.latest_run()["settings"])["simulation"]["seed"] == 3
    # another market never enters the same file
    answer = rotation("ingest", "--database", database, "--set", "simulation.seed=4")
    assert answer.code == 1
    assert "Nothing was changed" in answer.stderr
    assert "--database FILE" in answer.stderr
    # and there is no verdict without a backtest
    answer = rotation("report", "--database", database)
    assert (answer.code, "marts.backtest_measures is empty; `rotation run` fills it" in answer.stderr) == (1, True)


# ---------------------------------------------------------------------- what is stored


def test_status_says_what_is_stored(project: Project, rotation: Any) -> None:
    facts = rotation("status", "--database", project.database, "--json").json
    tables = {item["table"]: item for item in facts["tables"]}
    assert tables["raw.daily_bars"]["first"] == "2011-06"
    assert tables["raw.daily_bars"]["months"] == 37
    assert (tables["marts.backtest"]["first"], tables["marts.backtest"]["last"]) == ("2014-01", "2014-06")
    assert tables["marts.weights"]["rows"] > 0
    assert facts["runs"][0]["source_kind"] == "simulated"
    assert facts["runs"][0]["code_version"]
    assert (facts["runs"][0]["first_month"], facts["runs"][0]["last_month"]) == ("2011-06-01", "2014-06-01")
    assert "end" not in json.loads(facts["runs"][0]["settings"])["sample"]
    text = rotation("status", "--database", project.database)
    assert text.code == 0
    assert "simulated data of simulated" in text.stdout
    assert "wrote 2011-06 … 2014-06" in text.stdout
    assert "marts.backtest" in text.stdout


def test_a_database_that_is_not_there_is_named_with_those_that_are(project: Project, rotation: Any) -> None:
    answer = rotation("status", "--database", project.database.parent / "none.duckdb")
    assert answer.code == 1
    for part in ("there is no database at", "none.duckdb", "rotation run", str(project.database)):
        assert part in answer.stderr


def test_a_fact_in_a_narrative_is_followed_to_the_raw_column(rotation: Any) -> None:
    answer = rotation("lineage", "marts.narrative_facts.value", "--json")
    steps = answer.json["marts.narrative_facts.value"]
    reached = {step["source"] for step in steps}
    assert "raw.daily_bars.close" in reached
    assert "raw.daily_bars.adj_factor" in reached
    assert not any(name.startswith("truth.") for name in reached)
    known = {"marts.narrative_facts.value"} | reached
    assert all(step["column"] in known for step in steps), "a chain without a gap"
    text = rotation("lineage", "marts.narrative_facts.value")
    assert text.code == 0
    assert "raw.daily_bars.close" in text.stdout


def test_lineage_of_a_table_is_that_of_its_columns(rotation: Any) -> None:
    facts = rotation("lineage", "marts.weights", "--json").json
    assert "marts.weights.weight" in facts
    assert all(name.startswith("marts.weights.") for name in facts)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("marts.weight.weight", "did you mean marts.weights"),
        ("marts.weight", "did you mean marts.weights"),
        ("weights", "did you mean marts.weights"),
        ("marts.weights.wieght", "marts.weights has no column 'wieght'; it has month"),
    ],
)
def test_lineage_of_an_unknown_name_offers_near_ones(rotation: Any, name: str, near: str) -> None:
    answer = rotation("lineage", name)
    assert (answer.code, answer.stdout) == (1, "")
    assert near in answer.stderr


def test_explain_prints_the_narrative_and_its_facts(project: Project, rotation: Any) -> None:
    plain = rotation("explain", "--database", project.database, "--month", "2014-06")
    assert plain.code == 0
    assert plain.stdout.startswith("SIMULATED DATA  2014-06 [en, template")
    chinese = rotation("explain", "--database", project.database, "--month", "2014-06", "--lang", "zh", "--facts")
    assert chinese.code == 0
    head, text, *_ = chinese.stdout.splitlines()
    assert head.startswith("SIMULATED DATA  2014-06 [zh, template")
    assert "。" in text
    assert "marts." in chinese.stdout
    facts = rotation("explain", "--database", project.database, "--month", "2014-06", "--lang", "zh", "--json").json
    assert [row["language"] for row in facts["narrative"]] == ["zh"]
    assert facts["narrative"][0]["text"] == text
    assert facts["facts"]


def test_explain_of_a_month_outside_the_sample_says_where_to_look(project: Project, rotation: Any) -> None:
    answer = rotation("explain", "--database", project.database, "--month", "2013-01")
    assert answer.code == 1
    assert "marts.narratives has no rows of 2013-01" in answer.stderr
    assert "rotation status" in answer.stderr


def test_report_writes_the_pages_asked_for(project: Project, rotation: Any, tmp_path: Path) -> None:
    written = rotation("report", "--database", project.database, "--lang", "zh", "--json").json
    assert [Path(path).name for path in written] == ["report_2014-06_zh.html", "factor_longshort.csv"]
    assert all((tmp_path / path).is_file() for path in written)
    text = rotation("report", "--database", project.database)
    assert text.code == 0
    assert [Path(line).name for line in text.stdout.splitlines()] == [
        "report_2014-06_en.html", "report_2014-06_zh.html", "factor_longshort.csv"
    ]  # fmt: skip


# ---------------------------------------------------------------------- replay


def test_verify_replay_of_one_month(project: Project, rotation: Any) -> None:
    answer = rotation("verify-replay", "--database", project.database, "--months", "1", "--no-leak", "--json")
    assert (answer.code, answer.stderr) == (0, "")
    facts = answer.json
    assert facts["months"] == ["2014-06"]
    assert facts["different"] == 0
    assert facts["compared"] == len(facts["tables"]) > 25
    assert sum(item["rows"] for item in facts["tables"]) > 1000


def test_replay_of_what_is_not_stored_is_refused(project: Project, rotation: Any) -> None:
    answer = rotation("verify-replay", "--database", project.database, "--month", "2016-01", "--no-leak")
    assert answer.code == 1
    assert "has no rows of 2016-01; only what is stored can be replayed" in answer.stderr
    answer = rotation("verify-replay", "--database", project.database, "--months", "0")
    assert (answer.code, "at least one month" in answer.stderr) == (1, True)


def test_replay_of_rows_that_were_tampered_with_ends_with_1(project: Project, rotation: Any, tmp_path: Path) -> None:
    copy = tmp_path / "tampered.duckdb"
    copy.write_bytes(project.database.read_bytes())
    with open_warehouse(copy) as warehouse:
        warehouse.execute("UPDATE intermediate.index_monthly SET ret = ret + 1e-9 WHERE month = DATE '2012-06-01'")
    answer = rotation("verify-replay", "--database", copy, "--month", "2012-06", "--no-leak")
    assert answer.code == 1
    assert "intermediate.index_monthly: 1 rows differ" in answer.stdout


# ---------------------------------------------------------------------- doctor


def test_doctor_finds_nothing_wrong_where_nothing_is(project: Project, rotation: Any) -> None:
    answer = rotation("doctor", "--database", project.database, "--json")
    findings = {item["subject"]: item for item in answer.json}
    assert [item for item in answer.json if item["level"] == "error"] == []
    assert (answer.code, answer.stderr) == (0, "")
    assert {"python", "duckdb", "torch", "settings", "source", "disk", "database"} <= set(findings)
    assert "backtest 2014-01 … 2014-06" in findings["database"]["text"]
    assert "nobody holds it" in findings["database"]["text"]


def test_doctor_names_a_wrong_setting(rotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_NETWORK__SEEDS", "0")
    answer = rotation("doctor", "--json")
    assert answer.code == 1
    wrong = [item for item in answer.json if item["level"] == "error"]
    assert [item["subject"] for item in wrong] == ["settings"]
    assert wrong[0]["text"].startswith("network.seeds: ")


def test_doctor_names_a_sample_the_source_cannot_cover(rotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_SAMPLE__START", "2013-01")
    answer = rotation("doctor")
    assert answer.code == 1
    assert "coverage: the sample needs market data from 2010-06; the source begins 2011-05" in answer.stdout
    answer = rotation("doctor", "--source", "files", "--path", "nowhere")
    assert answer.code == 1
    assert "source: source files: nowhere is no folder" in answer.stdout
    assert "does not exist yet; `rotation run` makes it" in answer.stdout


# ---------------------------------------------------------------------- other processes


@pytest.fixture
def holder(project: Project) -> Iterator[subprocess.Popen[str]]:
    """Another process with the database open for writing."""
    script = textwrap.dedent(
        f"""
        import sys
        import duckdb
        connection = duckdb.connect({str(project.database)!r})
        print("open", flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "open"
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def test_a_database_another_process_holds_ends_with_3(
    project: Project, rotation: Any, holder: subprocess.Popen[str]
) -> None:
    for arguments in (
        ["run"],
        ["ingest"],
        ["status"],
        ["report"],
        ["explain", "--month", "2014-06"],
        ["verify-replay"],
    ):
        answer = rotation(*arguments, "--database", project.database)
        assert (answer.code, answer.stdout) == (3, ""), arguments
        assert f"is held by PID {holder.pid} (" in answer.stderr
        assert "wait for it or end it, then try again" in answer.stderr
    answer = rotation("doctor", "--database", project.database, "--json")
    assert answer.code == 1
    found = next(item for item in answer.json if item["subject"] == "database")
    assert (found["level"], f"PID {holder.pid} (" in found["text"]) == ("error", True)


def test_an_interrupted_run_says_that_nothing_is_half_written(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROTATION_")}
    # a parent that ignores Ctrl-C (a shell's background job) hands that on to its children, which would then run to the end
    listening = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", listening, *ENTRY, "run", "--database", "interrupted.duckdb"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "interrupted.duckdb").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("error interrupted; every month is either as it was or complete")
    assert "Traceback" not in stderr
    if (tmp_path / "interrupted.duckdb").exists():  # one that holds nothing yet is removed
        with open_warehouse(tmp_path / "interrupted.duckdb", read_only=True) as warehouse:
            assert len(warehouse.months("raw.daily_bars")) == len(load_settings().all_months())


def test_an_interrupt_python_dropped_still_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Deaf:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    class Faulty:
        def __del__(self) -> None:
            raise ValueError("another error")

    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(str(dropped.exc_value)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with heed_interrupts() as check:
            check()
            Deaf()
            Faulty()
            with pytest.raises(KeyboardInterrupt):
                check()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == ["another error"]
