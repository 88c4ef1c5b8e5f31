"""The graph with a language model: all of it told, the second time from the cache, half of it when the server dies; the key nowhere."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from conftest import small_settings
from narratives_cases import market
from narratives_server import Act, Script, good, serving

from rotation_pipeline import cli
from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.narratives.facts import fact_table
from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.narratives.tables import FACTS
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import verify_replay
from rotation_pipeline.orchestration.runner import make_source, record, run_graph
from rotation_pipeline.orchestration.writers import api_key, narrative_writer
from rotation_pipeline.settings import KEY_VARIABLES, Settings, SettingsError, load_settings
from rotation_pipeline.warehouse.drafts import StoredDrafts, copy_drafts
from rotation_pipeline.warehouse.store import Execution, as_stored, open_warehouse

KEY = "sk-canary-55e1a9c3"
ROWS = 48


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A file that holds the facts of a random market, told by the template."""
    chosen = small_settings(tmp_path_factory.mktemp("told"))
    months = sample(chosen)
    inputs = market(3, 36, "2012-07-01")
    facts = fact_table(inputs, [pd.Timestamp(month) for month in months], chosen.narratives)
    with open_warehouse(chosen.database_path, threads=2) as warehouse:
        run_id = record(warehouse, chosen, make_source(chosen))
        table = as_stored(FACTS, facts, months)
        written = Execution("narrative_facts", months[0], time.monotonic())
        warehouse.write({FACTS.full_name: table}, months, run_id, written)
        run_graph(warehouse, chosen, months, only=["narratives"])
    return chosen


@pytest.fixture
def copied(settings: Settings, tmp_path: Path) -> Settings:
    """The same in a file of its own."""
    shutil.copy(settings.database_path, tmp_path / "copy.duckdb")
    return settings.model_copy(update={"database": tmp_path / "copy.duckdb", "output": tmp_path / "output"})


def with_model(settings: Settings, url: str, **changes: Any) -> Settings:
    options = LlmOptions(
        base_url=url, model="m", backoff=0.01, timeout=5.0, deadline=20.0, input_price=1.0, output_price=4.0
    )
    return settings.model_copy(update={"llm": replace(options, **changes)})


def sample(settings: Settings) -> list[date]:
    return months_between(settings.sample.first, settings.sample.last)


def tell(settings: Settings, months: Sequence[date] | None = None) -> pl.DataFrame:
    """The narratives as a run of their stage stores them."""
    with open_warehouse(settings.database_path, threads=2) as warehouse:
        run_graph(warehouse, settings, sample(settings) if months is None else months, only=["narratives"])
        return warehouse.read("marts.narratives")


def sources(rows: pl.DataFrame) -> dict[str, int]:
    return dict(Counter(rows["source"].to_list()))


def test_all_is_told_then_all_is_cached_and_replay_asks_nobody(copied: Settings) -> None:
    script = Script()
    with serving(script) as url:
        asking = with_model(copied, url)
        first = tell(asking)
        assert (sources(first), len(script.requests)) == ({"llm": ROWS}, ROWS)
        assert first["reason"].null_count() == ROWS
        assert first["cost"].to_list() == pytest.approx([0.0018] * ROWS)
        second = tell(asking)
        assert (sources(second), len(script.requests)) == ({"cache": ROWS}, ROWS)
        told = ["month", "language", "text", "sentences", "prompt_version", "prompt_hash", "facts_hash"]
        assert first.select(told).equals(second.select(told))
        months = sample(copied)
        graph = [stage for stage in stages() if stage.name == "narratives"]
        with open_warehouse(copied.database_path, read_only=True, threads=2) as warehouse:
            found = verify_replay(warehouse, asking, [months[2], months[-1]], graph=graph)
        assert [item.equal for item in found] == [True] * len(found)
        assert len(found) == 2
        assert len(script.requests) == ROWS
    with open_warehouse(copied.database_path, threads=2) as warehouse:
        warehouse.execute("DELETE FROM meta.drafts")
        lost = verify_replay(warehouse, asking, months[-1:], graph=graph)
    # what a model wrote is repeated from the cache alone: without it the proof fails, as it must
    assert [item.table for item in lost if not item.equal] == ["marts.narratives"]


def test_a_month_told_by_a_model_among_others_is_replayed_as_it_was_written(copied: Settings) -> None:
    months = sample(copied)
    with serving(Script()) as url:
        rows = tell(with_model(copied, url), months[-1:])
    assert sources(rows) == {"llm": 4, "template": ROWS - 4}
    graph = [stage for stage in stages() if stage.name == "narratives"]
    with open_warehouse(copied.database_path, read_only=True, threads=2) as warehouse:
        for used in (copied, with_model(copied, url)):
            assert all(item.equal for item in verify_replay(warehouse, used, [months[4], months[-1]], graph=graph))


def test_a_server_killed_half_way_leaves_the_rest_to_the_template(copied: Settings) -> None:
    script = Script()

    def act(request: dict[str, Any]) -> Act:
        return Act(good) if len(script.requests) <= 10 else Act(hang_up=True)

    script.after = act
    with serving(script) as url:
        rows = tell(with_model(copied, url))
    by_template = rows.filter(pl.col("source") == "template")
    assert sources(rows) == {"llm": 10, "template": ROWS - 10}
    assert by_template["reason"].unique().to_list() == ["connection"]
    with serving(Script()) as url:
        assert sources(tell(with_model(copied, url))) == {"cache": 10, "llm": ROWS - 10}


def test_a_poisoned_database_is_noticed(copied: Settings) -> None:
    script = Script()
    with serving(script) as url:
        tell(with_model(copied, url))
        with open_warehouse(copied.database_path, threads=2) as warehouse:
            warehouse.execute("UPDATE meta.drafts SET draft = replace(draft, '|value}', '|value} (buy now)')")
        rows = tell(with_model(copied, url))
    assert sources(rows) == {"llm": ROWS}
    assert len(script.requests) == 2 * ROWS
    assert rows["rejected"].str.contains("cache: ").all()
    assert not rows["text"].str.contains("buy").any()


def test_the_key_is_in_no_artefact(
    copied: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(KEY_VARIABLES[0], KEY)
    monkeypatch.setenv(KEY_VARIABLES[1], "sk-another")
    echo = Act(raw=f'{{"error": {{"message": "no such key: {KEY}"}}}}'.encode(), status=500)
    script = Script(Act(f"my key is {KEY}"), echo, Act(refusal=KEY), Act(raw=KEY.encode()))
    with serving(script) as url:
        chosen = with_model(copied, url, parallel_requests=1)
        with open_warehouse(chosen.database_path, threads=2) as warehouse:
            run_graph(warehouse, chosen, sample(chosen), only=["narratives"])
            assert warehouse.execute("SELECT count(*) FROM meta.drafts")[0][0] > 0
            warehouse.execute(f"EXPORT DATABASE '{tmp_path / 'export'}' (FORMAT csv)")
    assert set(script.keys) == {f"Bearer {KEY}"}
    monkeypatch.setattr(
        "sys.argv", ["rotation", "explain", "--month", "2014-01", "--facts", "--database", str(chosen.database_path)]
    )
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code in (0, None)
    printed = capfd.readouterr()
    assert "model m, " in printed.out
    for place in (caplog.text, printed.out, printed.err, repr(chosen), chosen.model_dump_json()):
        assert KEY not in place
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".duckdb", ".csv"}
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path


def test_the_key_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert api_key() is None
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    assert api_key() == "sk-1"
    monkeypatch.setenv("ROTATION_LLM_API_KEY", "sk-2")
    assert api_key() == "sk-2"
    assert "sk-2" not in load_settings().model_dump_json()  # and it is no stray variable
    monkeypatch.setenv("ROTATION_LLM_API_KEY", "sk-ключ")
    with pytest.raises(SettingsError, match="ROTATION_LLM_API_KEY holds characters") as caught:
        api_key()
    assert "ключ" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base_url": "http://127.0.0.1/v1"}, r"llm\.model is missing"),
        ({"model": "m"}, r"llm\.base_url is missing"),
        ({"base_url": "127.0.0.1:80", "model": "m"}, "no web address"),
        ({"base_url": "ftp://host/v1", "model": "m"}, "no web address"),
        ({"base_url": "http://host:port/v1", "model": "m"}, "no web address"),
        ({"base_url": f"http://user:{KEY}@host/v1", "model": "m"}, "no user, password"),
        ({"base_url": f"https://host/v1?key={KEY}", "model": "m"}, "no user, password"),
        ({"api_key": KEY}, r"llm\.api_key: is no setting"),
        ({"attempts": 9}, r"llm\.attempts"),
    ],
)
def test_a_wrong_endpoint_is_refused_without_repeating_it(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(llm=given)
    assert KEY not in str(caught.value)


def test_without_an_endpoint_nobody_is_asked(copied: Settings) -> None:
    with open_warehouse(copied.database_path, threads=2) as warehouse:
        with narrative_writer(LlmOptions(), warehouse, offline=False) as writer:
            assert writer is None
        with narrative_writer(LlmOptions(), warehouse, offline=True) as writer:
            assert writer is None
    rows = tell(copied)
    assert sources(rows) == {"template": ROWS}
    assert rows["reason"].unique().to_list() == ["no_endpoint"]
    assert rows["model"].null_count() == ROWS


def test_drafts_outlive_a_month_and_follow_a_copy(copied: Settings, tmp_path: Path) -> None:
    with open_warehouse(copied.database_path, threads=2) as warehouse:
        drafts = StoredDrafts(warehouse)
        assert drafts.get("k") is None
        drafts.put("k", "one")
        drafts.put("k", "two")
        warehouse.execute("DELETE FROM marts.narratives")
        assert drafts.get("k") == "two"
        with open_warehouse(tmp_path / "other.duckdb", threads=2) as other:
            copy_drafts(warehouse, other)
            assert StoredDrafts(other).get("k") == "two"


def test_a_file_made_before_there_were_drafts_gets_room_for_them(copied: Settings) -> None:
    with open_warehouse(copied.database_path, threads=2) as warehouse:
        warehouse.execute("DROP TABLE meta.drafts")
        warehouse.execute("DELETE FROM meta.layout WHERE table_name = 'meta'")
    with open_warehouse(copied.database_path, threads=2) as warehouse:
        assert StoredDrafts(warehouse).get("k") is None
