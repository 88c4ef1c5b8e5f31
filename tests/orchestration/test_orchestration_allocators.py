"""Every allocator, nested selection and the index-enhanced portfolio in the graph: what is stored, counted, and replayed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from cli_project import CONFIG, Project

from rotation_pipeline.allocation.tables import ALTERNATIVES, BASELINES
from rotation_pipeline.backtest.counting import counted, latest_until, read_trials
from rotation_pipeline.orchestration.graph import stage_named
from rotation_pipeline.orchestration.replay import verify_replay
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.orchestration.stages import timestamp, to_pandas
from rotation_pipeline.settings import Settings, load_settings
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

CHAIN = [
    "weights", "factor_backtest", "attribution", "backtest_measures", "stock_backtest", "trials", "significance",
    "stock_significance", "stock_measures",
]  # fmt: skip
GRID = {"minimum_months": 3, "tilt_scales": [0.0, 0.06], "temperatures": [1.0], "inertias": [0.0, 0.5]}


@pytest.fixture(scope="module")
def settings(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("allocators")
    (folder / "rotation.toml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return load_settings(
            database=Path(shutil.copy(project.database, folder / "copy.duckdb")),
            allocation={"books": list(ALTERNATIVES), "selection": "nested", "nested": GRID},
            stock_level={
                "portfolios": ["long_only", "long_short", "index_tilt", "index_enhanced"],
                "enhanced": {"active_limit": 0.05, "risk_months": 6},
            },
        )


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Iterator[Warehouse]:
    with open_warehouse(settings.database_path, threads=1) as warehouse:
        run_graph(warehouse, settings, settings.all_months(), only=CHAIN)
        yield warehouse


def test_every_book_computed_is_shown_beside_the_strategy(stored: Warehouse, settings: Settings) -> None:
    rows = stored.read("marts.backtest", first=settings.sample.last)
    roles = dict(zip(rows["strategy"], rows["role"], strict=True))
    assert roles == {
        "rotation": "strategy", **dict.fromkeys(ALTERNATIVES, "alternative"), **dict.fromkeys(BASELINES, "baseline"),
        "oracle": "upper_bound", "index": "index",
    }  # fmt: skip
    judged = stored.read("marts.significance", first=settings.sample.last)["strategy"].unique().to_list()
    assert set(judged) == {"rotation", *ALTERNATIVES}


def test_every_configuration_is_counted_once_with_its_kind(stored: Warehouse, settings: Settings) -> None:
    everything = stored.read("marts.trials", first=settings.sample.last)
    cells = 2 * 2 + 2 * 2 * 2  # κ × forms, and α × forms of two softmax books
    # the database's first run evaluated three books, each with the parameters of one of the cells, fixed: the same trials;
    # and traded three portfolios, of other weights than now
    counts = dict(everything.group_by("kind").len().iter_rows())
    assert counts == {"book": 1 + len(ALTERNATIVES), "cell": cells, "stock_book": 3 + 4}
    made = [json.loads(text)["configuration"] for text in everything.filter(kind="book")["configuration"]]
    groups = {one["strategy"]: set(one["allocation"]) for one in made}
    assert "decision" in groups["decision_focused"]
    assert not {"decision", "nested", "books"} & groups["mean_variance"]
    assert {"nested", "selection"} <= groups["rotation"]
    traded = [json.loads(text)["configuration"] for text in everything.filter(kind="stock_book")["configuration"]]
    assert {one["portfolio"] for one in traded if "enhanced" in one["stock_level"]} == {"index_enhanced"}
    latest = latest_until(
        read_trials(to_pandas(stored.read("marts.trials", last=settings.sample.last))), timestamp(settings.sample.last)
    )
    assert len(latest) == everything.height
    of_weights = counted([one for one in latest if one.kind != "stock_book"])
    assert {one.strategy for one in of_weights} == {"rotation", "softmax_mixture"}, "no other left equal weight"
    trials = stored.read("marts.significance", first=settings.sample.last)["trials"].drop_nulls().unique().to_list()
    assert trials == [len(of_weights)]
    both = stored.read("marts.stock_significance", first=settings.sample.last)["trials"].drop_nulls().unique().to_list()
    assert both == [len(counted(latest))]


def test_the_chosen_cells_set_the_weights_from_the_third_month_on(stored: Warehouse) -> None:
    rows = stored.read("marts.selection")
    chosen = rows.filter("is_chosen").group_by("month").len().sort("month")
    assert chosen["len"].to_list() == [3] * chosen.height
    assert chosen["month"][0] == rows.filter(pl.col("months") == 3)["month"].min()


def test_a_month_is_replayed_bit_for_bit(stored: Warehouse, settings: Settings) -> None:
    graph = [stage_named(name) for name in CHAIN]
    found = verify_replay(stored, settings, [settings.sample.last], graph=graph)
    assert [one.table for one in found if not one.equal] == []
    assert {"marts.selection", "marts.stock_significance", "marts.trials"} <= {one.table for one in found}
    enhanced = stored.read("marts.stock_positions", first=settings.sample.last, portfolio="index_enhanced")
    assert enhanced.filter(pl.col("weight") > 0.0).height > 15
