"""`rotation ingest --restated` and `rotation run --stale` over a folder of files whose owner corrects a month."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
from cli_project import CONFIG

from rotation_pipeline.cli.terminal import plain_key, short_value
from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.simulation import simulate
from rotation_pipeline.orchestration import runner
from rotation_pipeline.settings import load_settings
from rotation_pipeline.sources.base import AsksAgain
from rotation_pipeline.sources.files import FilesSource

SOURCE = ["--source", "files", "--path"]
DAY = date(2012, 7, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A canonical folder with the simulated market's tables up to June 2014."""
    path = tmp_path_factory.mktemp("told")
    (path / "rotation.toml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        options = load_settings().simulation
    (path / "data").mkdir()
    for name, frame in simulate(options, date(2014, 6, 1)).tables.items():
        (with_asset_id(frame) if "asset_key" in frame.columns else frame).write_parquet(
            path / "data" / f"{name}.parquet"
        )
    return path


def test_values_on_a_screen_keep_cents_and_no_dust() -> None:
    shown = {
        "0.590000000000001": "0.59", "-0.002026753141467": "-0.00202675314", "123456789.255": "123456789.25",
        "7241100.0": "7241100.0", "2012-01-02": "2012-01-02", "true": "true", "nan": "nan", "main": "main",
    }  # fmt: skip
    assert {text: short_value(text) for text in shown} == shown
    assert short_value(None) is None
    assert plain_key('{"asset_id":"600519.SH","day":"2014-01-02"}') == "600519.SH 2014-01-02"


def test_noticed_shown_taken_over_and_computed_again(
    rotation: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    files, database = tmp_path / "data", ["--database", tmp_path / "told.duckdb"]
    assert rotation("ingest", *SOURCE, files, *database).code == 0
    stages = ["--stage", "adjusted_bars", "--stage", "index_monthly"]
    assert rotation("run", *SOURCE, files, *database, *stages).code == 0
    same = rotation("ingest", "--restated", *database)
    assert (same.code, same.stdout.strip()) == (0, "The source delivers what is stored: 37 months compared.")
    assert rotation("run", "--stale", *database).stdout.strip() == "Nothing is stale."

    corrected(files / "daily_bars.parquet")
    refused = rotation("ingest", *SOURCE, files, *database)
    assert refused.code == 1
    assert "delivers other rows than those stored: raw.daily_bars of 2012-07. Nothing was changed" in refused.stderr
    shown = rotation("ingest", "--restated", *database, "--json")
    assert shown.code == 1
    assert shown.json["taken_over"] is False
    assert [(row["table_name"], row["month"], row["changed"]) for row in shown.json["partitions"]] == [
        ("daily_bars", "2012-07-01", 1)
    ]
    months = ["2012-07", "2012-08"]  # the first return of August is measured from July's last close
    assert shown.json["stale"] == {"intermediate.adjusted_bars": months}
    text = rotation("ingest", "--restated", *database).stdout
    for part in ("rows that differ", "largest changes (1 of 1)", "high", "intermediate.adjusted_bars", "--accept"):
        assert part in text
    # the row's key and both values as people read them
    assert re.search(
        r"^daily_bars +2012-07 +high +1 +\d{6}\.S[HZ] 2012-07-\d\d +\d+\.\d{1,4} +\d+\.\d{1,4}$", text, re.MULTILINE
    )
    assert rotation("status", *database, "--json").json["stale"] == {}

    taken = rotation("ingest", "--restated", "--accept", *database, "--json")
    assert (taken.code, taken.json["taken_over"], taken.json["stale"]) == (
        0,
        True,
        {"intermediate.adjusted_bars": months},
    )
    assert rotation("status", *database, "--json").json["stale"] == {"intermediate.adjusted_bars": months}
    assert "stale" in rotation("status", *database).stdout
    again = rotation("run", "--stale", *database, "--json")
    assert [(row["table"], row["first"], row["last"]) for row in again.json["stored"]] == [
        ("intermediate.adjusted_bars", "2012-07", "2012-08")
    ]
    assert rotation("ingest", "--restated", *database).code == 0
    before = rotation(
        "show", "raw.daily_bars", *database, "--month", "2012-07", "--as-of", "2013-01-31", "--json"
    ).json["rows"]
    now = rotation("show", "raw.daily_bars", *database, "--month", "2012-07", "--json").json["rows"]
    changed = [(old["high"], new["high"]) for old, new in zip(before, now, strict=True) if old != new]
    assert [round(new - old, 6) for old, new in changed] == [0.01]


class Asking(FilesSource):
    """A source that would download, with the folder as its vendor."""

    forgotten = 0
    asked: ClassVar[dict[str, datetime]] = {}

    def again(self) -> Asking:
        return Asking(self.path)

    def asked_at(self, now: datetime) -> datetime:
        Asking.asked.setdefault("at", now)
        return Asking.asked["at"]

    def adopt(self, other: Asking, months: Collection[date]) -> list[str]:
        assert months
        other.discard()
        return []

    def discard(self) -> None:
        Asking.forgotten += 1
        Asking.asked.clear()


def test_what_was_asked_again_is_forgotten_when_nothing_differs(
    rotation: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept, it would be taken for what the source says when it is asked next time; what differs waits for --accept."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    database = ["--database", tmp_path / "told.duckdb"]
    assert rotation("ingest", *SOURCE, tmp_path / "data", *database, "--to", "2014-03").code == 0
    source = Asking(tmp_path / "data")
    assert isinstance(source, AsksAgain)
    monkeypatch.setattr(runner, "make_source", lambda _settings: source)
    assert (rotation("ingest", "--restated", *database).code, Asking.forgotten) == (0, 1)
    corrected(tmp_path / "data" / "daily_bars.parquet")
    source = Asking(tmp_path / "data")
    assert (rotation("ingest", "--restated", *database).code, Asking.forgotten) == (1, 1)
    taken = rotation("ingest", "--restated", "--accept", *database)
    assert (taken.code, Asking.forgotten) == (0, 2)
    assert taken.stdout.endswith("nothing was computed from these rows\nTaken over; the old rows are kept.\n")


def test_an_old_answer_is_asked_for_anew_and_never_taken_over(
    rotation: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    database, months = ["--database", tmp_path / "told.duckdb"], ["--from", "2012-07", "--to", "2012-08"]
    assert rotation("ingest", *SOURCE, tmp_path / "data", *database, "--to", "2014-03").code == 0
    corrected(tmp_path / "data" / "daily_bars.parquet")
    source = Asking(tmp_path / "data")
    monkeypatch.setattr(runner, "make_source", lambda _settings: source)
    monkeypatch.setattr(Asking, "asked", {})
    monkeypatch.setattr(Asking, "forgotten", 0)

    def days_ago(days: float) -> None:
        Asking.asked["at"] = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)

    fresh = rotation("ingest", "--restated", *database, *months)
    assert "files was asked on" in fresh.stdout
    assert "0.0 hours ago" in fresh.stdout
    days_ago(6.9)
    assert "6.9 days ago" in rotation("ingest", "--restated", *database, *months, "--json").json["asked_on"]
    assert Asking.forgotten == 0

    days_ago(7.5)
    refused = rotation("ingest", "--restated", "--accept", *database, *months)
    assert refused.code == 1
    assert "7.5 days old" in refused.stderr
    assert "Nothing was taken over" in refused.stderr
    assert rotation("status", *database, "--json").json["stale"] == {}
    assert Asking.forgotten == 0

    longer = ["--set", "source.vendor.answer_days=8"]
    assert "7.5 days ago" in rotation("ingest", "--restated", *database, *months, *longer).stdout
    again = rotation("ingest", "--restated", *database, *months)
    assert "7.5 days old" in again.stderr
    assert "it is asked again" in again.stderr
    assert "0.0 hours ago" in again.stdout
    assert Asking.forgotten == 1
    assert rotation("ingest", "--restated", "--accept", *database, *months).code == 0


def corrected(path: Path) -> None:
    """The day's high of one security a cent higher: no rule minds."""
    bars = pl.read_parquet(path)
    who = bars.filter((pl.col("day") == DAY) & ~pl.col("is_suspended"))["asset_id"].min()
    at = (pl.col("day") == DAY) & (pl.col("asset_id") == who)
    bars.with_columns(pl.when(at).then(pl.col("high") + 0.01).otherwise(pl.col("high")).alias("high")).write_parquet(
        path
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest", "--accept"], "give both"),
        (["run", "--stale", "--month", "2014-01"], "no months, stages or settings"),
        (["ingest", "--restated", "--set", "sanity.adjustment=0.01"], "only source.path, source.mapping"),
        (["ingest", "--restated", "--from", "2014-05", "--to", "2014-02"], "lies after --to"),
    ],
)
def test_wrong_usage(rotation: Any, project: Any, arguments: list[str], said: str) -> None:
    answer = rotation(*arguments, "--database", project.database)
    assert answer.code == 2
    assert said in " ".join(answer.stderr.replace("│", " ").split())


def test_there_must_be_a_database(rotation: Any, tmp_path: Path) -> None:
    answer = rotation("ingest", "--restated", "--database", tmp_path / "none.duckdb")
    assert answer.code == 1
    assert "there is no database at" in answer.stderr
    assert not json.dumps(answer.stdout).strip('"')
