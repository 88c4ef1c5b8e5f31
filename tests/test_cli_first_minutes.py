"""What somebody new meets: help whose examples work, doctor, nothing left behind by what fails, a CSV of prices made into a report."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from cli_project import CONFIG, Project
from typer.testing import CliRunner

from rotation_pipeline.cli import app
from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.simulation.options import SimulationOptions
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.price_csv import read_index
from rotation_pipeline.sources.price_folder import write_price_folder
from rotation_pipeline.sources.prices import PriceFolder
from rotation_pipeline.sources.simulated import SimulatedSource

KEY = "sk-canary-0c1d"
PARSED_ONLY = {
    "run": "minutes", "ingest": "minutes", "verify-replay": "minutes", "study recovery": "hours", "study regimes": "minutes",
    "reconcile": "reads a source again",
}  # fmt: skip
"""Examples that are not run here but parsed, and why. Everything new is run unless it is named here."""


def examples() -> dict[str, str]:
    """Command → the example its help shows."""

    def walk(command: Any, path: list[str]) -> Generator[tuple[str, str]]:
        inner = getattr(command, "commands", None)
        for name, sub in (inner or {}).items():
            yield from walk(sub, [*path, name])
        if inner is None:
            shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "300"}).stdout
            words = " ".join(shown.replace("│", " ").split())
            found = re.search(rf"Example: (rotation {re.escape(' '.join(path))}.*?)(?: ╭|$)", words)
            assert found is not None, path
            yield " ".join(path), found[1].strip()

    return dict(walk(typer.main.get_command(app), []))


def test_every_example_parses() -> None:
    for line in examples().values():
        command, rest = typer.main.get_command(app), shlex.split(line)[1:]
        while hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        command.make_context(command.name, rest)


CHEAP = ("status", "doctor", "lineage", "show", "report", "explain", "init-files")


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_examples_run(
    name: str, project: Project, rotation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("webbrowser.open", lambda _url: True)
    if name == "init-files":
        prices(tmp_path / "prices.csv", 26, date(2011, 5, 1), date(2014, 6, 30))
    line = examples()[name].replace("2015-06 ", "2014-03 ")  # the project here has half a year
    answer = rotation(*shlex.split(line)[1:])
    assert answer.code == 0, answer.stderr
    assert answer.stdout.strip()


# ---------------------------------------------------------------------- quarters and writers


def test_explain_tells_a_quarter(project: Project, rotation: Any) -> None:
    shown = rotation("explain", "--quarter", "2014Q2", "--lang", "zh", "--facts", "--database", project.database)
    assert shown.code == 0
    assert shown.stdout.startswith("SIMULATED DATA  2014Q2 [zh, template (no_endpoint)]\n上证50本季度")
    assert "net_return_q" in shown.stdout
    as_json = rotation("explain", "--quarter", "2014q2", "--json", "--database", project.database).json
    assert {row["period"] for row in as_json["narrative"] + as_json["facts"]} == {"quarter"}
    month = rotation("explain", "--month", "2014-06", "--json", "--database", project.database).json
    assert {row["period"] for row in month["narrative"] + month["facts"]} == {"month"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--quarter", "2014-06"], 2, "is no quarter; write it as 2015Q2"),
        (["--quarter", "2014Q2", "--month", "2014-06"], 2, "give either --month"),
        ([], 2, "give either --month"),
        (["--quarter", "2014Q3"], 1, "a quarter is told when its last month, 2014-09, is stored"),
    ],
)
def test_wrong_quarters_are_told(
    project: Project, rotation: Any, arguments: list[str], code: int, message: str
) -> None:
    answer = rotation("explain", *arguments, "--database", project.database)
    assert answer.code == code
    assert message in " ".join(answer.stderr.replace("│", " ").split())


def test_writers_of_all_texts_are_listed(project: Project, rotation: Any) -> None:
    shown = rotation("explain", "--writers", "--database", project.database)
    assert shown.stdout.count("no_endpoint") == 16 + 1  # six months and two quarters in two languages, and the sum
    assert "narratives: 16 by template (no_endpoint 16); no request" in shown.stdout
    rows = rotation("explain", "--writers", "--json", "--database", project.database).json
    assert [row["text"] for row in rows if row["language"] == "zh"] == [
        "2014-01", "2014-02", "2014-03", "2014Q1", "2014-04", "2014-05", "2014-06", "2014Q2",
    ]  # fmt: skip


# ---------------------------------------------------------------------- nothing left behind


@pytest.mark.parametrize("arguments", [["--month", "2014-03"], ["--stage", "weights"]])
def test_a_first_command_that_fails_leaves_no_empty_database(rotation: Any, arguments: list[str]) -> None:
    Path("rotation.toml").write_text(CONFIG, encoding="utf-8")
    answer = rotation("run", *arguments)
    assert answer.code == 1
    assert "are not stored" in answer.stderr
    assert not Path("data").exists()


def test_a_database_that_holds_something_stays(project: Project, rotation: Any, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path, dirs_exist_ok=True)
    before = Path("data/simulated.duckdb").stat().st_size
    assert rotation("run", "--month", "2014-09").code == 1
    assert Path("data/simulated.duckdb").stat().st_size == before


# ---------------------------------------------------------------------- doctor


@contextmanager
def listing(status: int, body: bytes, seen: list[str]) -> Generator[str]:
    """A server that answers every GET so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers["authorization"]))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)


MODELS = json.dumps(
    {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]}
).encode()


@pytest.mark.parametrize(
    ("status", "body", "model", "level", "message"),
    [
        (200, MODELS, "m", "ok", "answers and has m"),
        (200, MODELS, "n", "warning", "its list of models lacks n (it has m)"),
        (401, b"{}", "m", "error", "refuses the key it was sent (http 401)"),
        (404, b"{}", "m", "ok", "has no list of models"),
        (500, b"{}", "m", "warning", "http 500"),
        (200, b"<html>", "m", "warning", "no list of models that can be read"),
    ],
)
def test_doctor_asks_the_endpoint_and_never_shows_the_key(
    rotation: Any, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, model: str, level: str, message: str
) -> None:
    seen: list[str] = []
    with listing(status, body, seen) as url:
        monkeypatch.setenv("ROTATION_LLM__BASE_URL", url)
        monkeypatch.setenv("ROTATION_LLM__MODEL", model)
        monkeypatch.setenv("ROTATION_LLM_API_KEY", KEY)
        answer = rotation("doctor", "--json")
    (found,) = [item for item in answer.json if item["subject"] == "language model"]
    assert found["level"] == level
    assert message in found["text"]
    assert seen == [f"Bearer {KEY}"]
    assert KEY not in answer.stdout + answer.stderr


def test_doctor_says_when_nobody_answers(rotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_LLM__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("ROTATION_LLM__MODEL", "m")
    answer = rotation("doctor")
    assert answer.code == 1
    assert "nobody answers at http://127.0.0.1:9/v1" in answer.stdout


def test_doctor_names_settings_without_effect(rotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_SOURCE__PATH", "/tmp")
    monkeypatch.setenv("ROTATION_LLM__TIMEOUT", "5")
    monkeypatch.setenv("ROTATION_LLM_API_KEY", KEY)
    shown = rotation("doctor").stdout
    for name in ("source.path", "llm", "ROTATION_LLM_API_KEY"):
        assert f"! settings: {name} is set and has no effect" in shown
    assert KEY not in shown
    for name in ("files", "tushare"):  # with a vendor the folder holds the tables that vendor can't serve
        monkeypatch.setenv("ROTATION_SOURCE__NAME", name)
        assert "source.path is set and" not in rotation("doctor").stdout


# ---------------------------------------------------------------------- a CSV of prices


def prices(path: Path, stocks: int, first: date, last: date) -> None:
    """A CSV as people have them: bare numbers for symbols, no row on suspended days, the exchange's previous close."""
    market = SimulatedSource(SimulationOptions(n_stocks=30, n_members=30, n_spare=20, start_month="2011-05"))
    bars = market.fetch("daily_bars", max(first, date(2011, 5, 1)), last).filter(~pl.col("is_suspended"))
    key = pl.col("asset_key")
    kept = sorted(bars.filter(pl.col("day") == bars["day"].min())["asset_key"].to_list())[:stocks]
    bars.filter(key.is_in(kept)).select(
        (key // 4).alias("Symbol"), pl.col("day").alias("Date"), "open", "high", "low", "close",
        pl.col("volume").cast(pl.Int64).alias("vol"), pl.col("prev_close").alias("pre_close"),
    ).write_csv(path)  # fmt: skip


def test_a_csv_of_prices_becomes_a_report(rotation: Any, tmp_path: Path) -> None:
    """The walk of the tutorial: prices and nothing else; what they cannot tell is said and stays empty."""
    prices(tmp_path / "prices.csv", 26, date(2011, 5, 1), date(2014, 3, 31))
    made = rotation("init-files", "prices.csv", "--to", "mine")
    assert made.code == 0, made.stderr
    assert "styles with figures: MOM, VOL" in made.stdout
    assert "without: SIZE, which needs total_market_value" in made.stdout
    assert "flattered" in made.stdout
    config = Path("mine/rotation.toml")
    extra = '[forecasts]\nexperts = ["zero", "historical_mean"]\nmin_train_months = 12\n[regimes]\nbootstrap_resamples = 100\npermutations = 99\n[backtest]\nresamples = 100\n'
    Path("rotation.toml").write_text(config.read_text(encoding="utf-8") + extra, encoding="utf-8")
    ran = rotation("run", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json["source_kind"] == "real"
    assert "no figures for value, quality and small size" in ran.json["sentences"][1]
    pages = [Path(item) for item in ran.json["reports"] if item.endswith("_zh.html")]
    assert len(pages) == 1
    assert pages[0].stat().st_size > 100_000
    styles = rotation("show", "marts.style_returns", "--month", "2014-03", "--json").json["rows"][0]
    assert {name for name in ("mom", "val", "qlty", "vol", "size") if styles[name] is not None} == {"mom", "vol"}
    assert "其权重闲置" in rotation("explain", "--month", "2014-03", "--lang", "zh").stdout
    refused = rotation("init-files", "prices.csv", "--to", "mine")
    assert refused.code == 2
    assert "nothing is overwritten" in refused.stderr


def test_a_folder_is_told_in_words_that_fit_the_window(
    rotation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines break between words, and what is to be typed next stands alone, whole and quoted."""
    from rich.console import Console

    from rotation_pipeline.cli import starting

    prices(tmp_path / "prices.csv", 26, date(2011, 5, 1), date(2014, 3, 31))
    rows = pl.read_csv(tmp_path / "prices.csv").with_columns(
        pl.lit(1.5).alias("pb"), pl.lit(1e10).alias("total_market_value")
    )
    rows.write_csv(tmp_path / "prices.csv")
    whole = rotation("init-files", "prices.csv", "--to", "a").stdout
    with (tmp_path / "screen").open("w", encoding="utf-8") as screen:
        monkeypatch.setattr(starting, "out", Console(file=screen, width=100, force_terminal=True, color_system=None))
        assert rotation("init-files", "prices.csv", "--to", "my folder").code == 0
    shown = (tmp_path / "screen").read_text(encoding="utf-8")
    assert max(map(len, shown.splitlines())) <= 100
    assert " ".join(shown.split()).replace("'my folder/rotation.toml'", "a/rotation.toml").replace(
        "my folder", "a"
    ) == " ".join(whole.split())
    assert "The weight of this one lies idle" in whole
    assert shown.splitlines()[-1] == "ROTATION_CONFIG='my folder/rotation.toml' rotation run"
    again = rotation("init-files", "prices.csv", "--to", "my folder", "--json")
    assert again.code == 2


HEAD = "symbol,date,open,high,low,close,volume,pre_close\n"


def bars_csv(path: Path, row: str = "", head: str = HEAD, days: int = 700, securities: int = 2) -> Path:
    """Securities, 600519 the first, over as many sessions: a volume of 1000, 10 in every other column of ``head``; ``row`` is added
    at the end."""
    numbers = ",".join("1000" if name == "volume" else "10" for name in head.strip().split(",")[2:])
    lines = [
        f"{code},{day},{numbers}"
        for code in ("600519", *(f"{n:06}" for n in range(1, securities)))
        for day in sessions(date(2011, 1, 1), date(2014, 6, 30))[:days]
    ]
    path.write_text(head + "\n".join(lines) + "\n" + row, encoding="utf-8")
    return path


def folder_of(path: Path, folder: Path, index: pl.DataFrame | None = None, **said: Any) -> PriceFolder:
    """What the command writes."""
    units = {"adjusted": False, "lots": False, "thousands": False, **said}
    return write_price_folder(path, folder, index, "999999.SH", **units)


@pytest.mark.parametrize(
    ("row", "head", "message"),
    [
        ("", HEAD.replace("volume", "shares"), "lack volume (called volume, vol"),
        ("", HEAD.replace("pre_close", "x"), "neither adj_factor nor prev_close"),
        ("600519,2011-01-08,10,10,10,10,1000,10\n", HEAD, "2011-01-08 is no session of the exchanges"),
        ("600519,2011-01-05,10,10,10,10,1000,10\n", HEAD, "hold 600519.SH of 2011-01-05 more than once"),
        ("600519,2011-01,10,10,10,10,1000,10\n", HEAD, "'2011-01' in column date is no day"),
        ("600519,2013-11-20,10,ten,10,10,1000,10\n", HEAD, "'ten' in column high is no high"),
        ("600519,2013-11-20,10,10,10,nan,1000,10\n", HEAD, "'nan' in column close is no close"),
        ("GOOG,2013-11-20,10,10,10,10,1000,10\n", HEAD, "'GOOG' in column symbol is no asset_id"),
        ("", HEAD.replace("pre_close", "amount"), "neither adj_factor nor prev_close"),
        ("", HEAD.replace("volume", "volume,amount"), "is 0.001 times the close in the median of 14000 rows"),
    ],
)
def test_what_is_wrong_with_prices_is_named(rotation: Any, tmp_path: Path, row: str, head: str, message: str) -> None:
    bars_csv(tmp_path / "prices.csv", row, head, securities=20)
    answer = rotation("init-files", "prices.csv", "--to", "mine")
    assert answer.code == 1
    assert message in answer.stderr
    assert not Path("mine").exists()


def test_too_few_securities_are_told_with_how_many_are_needed(rotation: Any, tmp_path: Path) -> None:
    bars_csv(tmp_path / "prices.csv")
    answer = rotation("init-files", "prices.csv", "--to", "mine")
    assert answer.code == 1
    assert "prices of 2 securities at the end of 2013-" in answer.stderr
    assert "20 are needed to sort them by style" in answer.stderr


def test_too_short_a_history_is_told_with_what_is_needed(rotation: Any, tmp_path: Path) -> None:
    bars_csv(tmp_path / "prices.csv", days=400)
    answer = rotation("init-files", "prices.csv", "--to", "mine")
    assert answer.code == 1
    assert re.search(r"1[89] whole months; 33 are needed at least", answer.stderr)


def test_derived_columns_against_a_hand_calculation(tmp_path: Path) -> None:
    """A dividend of 1 on a close of 10, a day without a row, lots, and an index made of two securities."""
    bars_csv(tmp_path / "p.csv")
    frame = pl.read_csv(tmp_path / "p.csv", schema_overrides={"symbol": pl.String}, try_parse_dates=True)
    days = frame["date"].unique().sort()
    ex, gap = days[10], days[20]
    moutai = pl.col("symbol") == "600519"
    later = moutai & (pl.col("date") >= ex)
    frame = frame.with_columns(
        *(pl.when(later).then(9.0).otherwise(pl.col(name)).alias(name) for name in ("open", "high", "low", "close")),
        pl.when(later).then(9.0).otherwise(10.0).alias("pre_close"),
    ).filter(~(moutai & (pl.col("date") == gap)))
    frame.write_csv(tmp_path / "q.csv")
    made = folder_of(tmp_path / "q.csv", tmp_path / "one", lots=True)
    bars = (
        pl.read_parquet(tmp_path / "one" / "daily_bars.parquet").filter(pl.col("asset_id") == "600519.SH").sort("day")
    )
    assert bars["adj_factor"][9] == 1.0
    assert bars["adj_factor"][10] == pytest.approx(10.0 / 9.0, abs=1e-15)
    assert bars["volume"][0] == 100_000.0
    silent = bars.row(20, named=True)
    assert (silent["is_suspended"], silent["close"], silent["volume"], silent["amount"]) == (True, 9.0, 0.0, 0.0)
    assert made.tables["index_bars"]["close"].to_list() == pytest.approx([1000.0] * len(days), abs=1e-9)
    assert made.tables["index_members"]["valid_to"].null_count() == 2
    assert sorted(bars["board"].unique()) == ["main"]
    index = tmp_path / "i.csv"
    index.write_text("date,close\n" + "\n".join(f"{day},{3000 + n}" for n, day in enumerate(days)), encoding="utf-8")
    told = folder_of(tmp_path / "q.csv", tmp_path / "other", read_index(index))
    assert told.tables["index_bars"]["close"][1] == 3001.0
    assert not any("index is made" in note for note in told.notes)


SOUND = "0 whole months; 33 are needed"
"""How four days whose units are sound are refused after all."""


@pytest.mark.parametrize(
    ("volume", "amount", "flags", "said"),
    [
        (1.0, 1.0, {"lots": True}, "1 times the close in the median of 4 rows, so volume is not in lots.*Without --lots they"),
        (1.0, 1.0, {"thousands": True}, "amount not in thousand CNY. Without --thousands they fit"),
        (0.01, 1.0, {}, "100 times the close.* volume is not in shares.* With --lots they fit"),
        (0.01, 0.001, {"lots": True}, "0.1 times the close.* With --lots --thousands they fit"),
        (1.0, 1.0, {"lots": True, "adjusted": True}, "Without --lots they fit"),
        (1.0, 7.0, {"lots": True}, "7 times the close.* No unit makes them fit"),
        (0.01, 1.0, {"lots": True}, SOUND),
        (1.0, 0.001, {"thousands": True}, SOUND),
        (0.01, 0.001, {"lots": True, "thousands": True}, SOUND),
        (1.0, 1.0, {}, SOUND),
    ],
)  # fmt: skip
def test_units_that_contradict_the_prices_are_refused(
    tmp_path: Path, volume: float, amount: float, flags: dict[str, Any], said: str
) -> None:
    """A file in shares that is said to be in lots had a hundred times its volume, unnoticed."""
    frame = pl.DataFrame({"day": sessions(date(2014, 1, 2), date(2014, 1, 7))}).with_columns(
        pl.lit("600001.SH").alias("asset_id"), *(pl.lit(10.0).alias(name) for name in ("open", "high", "low", "close")),
        pl.lit(1e6 * volume).alias("volume"), pl.lit(1e7 * amount).alias("amount"),
        *([] if "adjusted" in flags else [pl.lit(10.0).alias("prev_close")]),
    )  # fmt: skip
    frame.write_csv(tmp_path / "p.csv")
    with pytest.raises(SourceError, match=said):
        folder_of(tmp_path / "p.csv", tmp_path / "mine", **flags)
