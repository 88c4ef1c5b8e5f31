"""The sensitivity study leaves what is stored alone, computes cells as the graph would, and counts every one of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration import study_sensitivity
from rotation_pipeline.orchestration.replay import verify_replay
from rotation_pipeline.orchestration.reports import load_report_data
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.orchestration.study_pages import with_section, write_sensitivity
from rotation_pipeline.orchestration.study_sensitivity import TABLE, grid, later, run_study, stored_cells
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.errors import StaleResults
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

FIRST, LAST = date(2014, 1, 1), date(2015, 2, 1)
STUDIED = ("tilt", "cost", "lag", "groups")
COUNTING = {TABLE, "marts.trials", "marts.significance", "marts.stock_significance"}
"""Tables a study may change, and of the last month only."""


def made_settings(folder: Path) -> Settings:
    return small_settings(
        folder,
        sample={"start": "2014-01", "end": "2015-02", "history_months": 31, "style_history_months": 6},
        simulation={"start_month": "2011-05"},
        forecasts={"experts": ["zero", "historical_mean", "factor_momentum"], "min_train_months": 12},
        factors={"n_groups": 3},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Fourteen months without networks."""
    settings = made_settings(tmp_path_factory.mktemp("sensitivity"))
    with open_warehouse(settings.database_path, threads=1) as warehouse:
        run_graph(warehouse, settings, settings.all_months(), checked=False)
    return settings


@pytest.fixture(scope="module")
def studied(made: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, pd.DataFrame]:
    """A copy, and the cells a study of it stored."""
    settings = copied(made, tmp_path_factory.mktemp("studied"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_sensitivity, "GROUPS", (5,))
        return settings, run_study(settings, axes=STUDIED)


def copied(made: Settings, folder: Path) -> Settings:
    shutil.copy(made.database_path, folder / "copy.duckdb")
    return made.model_copy(update={"database": folder / "copy.duckdb", "output": folder / "output"})


@pytest.fixture
def stored(made: Settings) -> Iterator[Warehouse]:
    with open_warehouse(made.database_path, read_only=True, threads=1) as warehouse:
        yield warehouse


@pytest.fixture
def after(studied: tuple[Settings, pd.DataFrame]) -> Iterator[Warehouse]:
    with open_warehouse(studied[0].database_path, read_only=True, threads=1) as warehouse:
        yield warehouse


def one(cells: pd.DataFrame, axis: str, value: str) -> pd.Series:
    return cells[(cells["axis"] == axis) & (cells["value"] == value)].iloc[0]


def test_nothing_stored_is_altered_but_what_counts_trials(stored: Warehouse, after: Warehouse) -> None:
    for name, table in catalog().items():
        if table.view:
            continue
        before, now = stored.read(name), after.read(name)
        if name in COUNTING:
            before, now = (rows.filter(pl.col("month") < LAST) for rows in (before, now))
        assert before.equals(now, null_equal=True), name
    assert not stored.count(TABLE)


def test_the_settings_in_use_have_the_verdicts_own_numbers(
    studied: tuple[Settings, pd.DataFrame], stored: Warehouse
) -> None:
    cells = studied[1]
    own = cells[cells["is_default"]]
    assert own["axis"].tolist() == [axis for axis in AXES if axis in STUDIED]
    assert len(set(own["trial_id"])) == 1
    tests = stored.read("marts.significance", first=LAST, strategy="rotation", baseline="equal_weight")
    row = tests.filter(statistic="sharpe_difference_bootstrap").row(0, named=True)
    for name in ("low", "high", "p_value"):
        assert set(own[name]) == {row[name]}
    assert set(own["difference"]) == {row["value"]}
    trials = stored.read("marts.trials", first=LAST, strategy="rotation", kind="book")
    assert set(own["trial_id"]) == set(trials["trial_id"])


def test_cost_cells_are_the_measures_the_graph_stores_at_that_cost(
    studied: tuple[Settings, pd.DataFrame], stored: Warehouse
) -> None:
    for cost in (0.0, 10.0, 50.0):
        measures = stored.read("marts.backtest_measures", first=LAST, sample="all", cost_bp=cost, measure="sharpe")
        by_book = dict(measures.select("strategy", "value").iter_rows())
        cell = one(studied[1], "cost", f"{cost:g}")
        assert cell["sharpe"] == pytest.approx(by_book["rotation"], abs=1e-12)
        assert cell["baseline_sharpe"] == pytest.approx(by_book["equal_weight"], abs=1e-12)


def test_a_cell_is_what_a_run_with_that_setting_gives(
    made: Settings, studied: tuple[Settings, pd.DataFrame], tmp_path: Path
) -> None:
    settings = copied(made, tmp_path)
    chosen = study_sensitivity.changed(settings, {"allocation.tilt_scale": 0.12})
    with open_warehouse(settings.database_path, threads=1) as warehouse:
        run_graph(warehouse, chosen, chosen.all_months(), only=["weights", "factor_backtest"])
        earned = warehouse.read("marts.backtest", strategy="rotation")
        shares = warehouse.read("marts.books", strategy="rotation")["active_share"]
    cell = one(studied[1], "tilt", "0.12")
    net = earned["net_return"].to_numpy()
    assert cell["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * 12**0.5, rel=1e-12)
    assert cell["active_share"] == pytest.approx(shares.mean(), rel=1e-12)
    assert cell["turnover"] == pytest.approx(earned["factor_turnover"].mean() * 12, rel=1e-12)
    assert json.loads(cell["changes"]) == {"allocation.tilt_scale": 0.12}
    assert not cell["is_default"]
    rebuilt = one(studied[1], "groups", "5")
    assert json.loads(rebuilt["changes"]) == {"factors.n_groups": 5}
    assert rebuilt["baseline_sharpe"] != cell["baseline_sharpe"]


def test_every_distinct_cell_is_a_trial_and_deflates_the_last_month(
    studied: tuple[Settings, pd.DataFrame], stored: Warehouse, after: Warehouse
) -> None:
    cells = studied[1]
    before, now = (set(warehouse.read("marts.trials", last=LAST)["trial_id"]) for warehouse in (stored, after))
    assert now - before == set(cells["trial_id"]) - before
    assert len(now) - len(before) == cells["trial_id"].nunique() - 1
    rows = after.read("marts.significance", first=LAST, strategy="rotation", statistic="deflated_sharpe")
    assert rows["trials"].min() > len(before)
    lagged = after.read("marts.trials", first=LAST, trial_id=one(cells, "lag", "1 d")["trial_id"])
    assert json.loads(lagged["configuration"][0])["configuration"]["study"] == {"lag_months": 0, "lag_sessions": 1}
    assert one(cells, "lag", "1 d")["sharpe"] != one(cells, "lag", "0")["sharpe"]
    assert lagged["sharpe"][0] * 12**0.5 == pytest.approx(one(cells, "lag", "1 d")["sharpe"], rel=1e-12)


def test_replay_holds_after_a_study(studied: tuple[Settings, pd.DataFrame], after: Warehouse) -> None:
    found = verify_replay(after, studied[0], [LAST])
    assert [item for item in found if not item.equal] == []


def test_a_second_study_gives_the_same_rows_and_runs_no_chain_again(
    studied: tuple[Settings, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_sensitivity, "GROUPS", (5,))
    settings, cells = studied
    again = settings.model_copy(update={"output": tmp_path})
    told: list[str] = []
    found = run_study(again, axes=("lag", "groups"), listen=lambda result, _done, _all: told.append(result.row.axis))
    assert found.equals(cells)
    assert set(told) == {"lag"}


def test_the_report_shows_the_study_of_these_results_and_of_no_others(
    studied: tuple[Settings, pd.DataFrame], made: Settings, after: Warehouse, stored: Warehouse, tmp_path: Path
) -> None:
    from rotation_pipeline.reporting.report import render_report

    settings, cells = studied
    for language, told in (("en", "distinct cells the settings in use rank"), ("zh", "个不同的格中")):
        page = render_report(load_report_data(after, settings, LAST), language)
        assert told in page
        assert "rotation study sensitivity" not in page
        assert "rotation study sensitivity" in render_report(load_report_data(stored, made, LAST), language)
    assert len(stored_cells(after, settings, LAST)) == len(cells)
    other = copied(settings, tmp_path)
    with open_warehouse(other.database_path, threads=1) as warehouse:
        warehouse.execute(
            "UPDATE raw.ingestions SET sha256 = 'other' WHERE month = ? AND table_name = 'listings'", [FIRST]
        )
        assert stored_cells(warehouse, other, LAST).empty


def test_results_of_other_code_are_refused_before_anything_is_written(made: Settings, tmp_path: Path) -> None:
    settings = copied(made, tmp_path)
    with open_warehouse(settings.database_path, threads=1) as warehouse:
        warehouse.execute(
            "UPDATE marts.weights SET weight = weight + 1e-9 WHERE month = ? AND strategy = 'rotation'", [LAST]
        )
    with pytest.raises(StaleResults, match=r"marts\.weights is not what this version computes"):
        run_study(settings, axes=("cost",))
    with open_warehouse(settings.database_path, read_only=True, threads=1) as warehouse:
        assert not warehouse.count(TABLE)


def test_forecasts_come_late_by_whole_months() -> None:
    months = [add_months(FIRST, n) for n in range(4)]
    rows = pl.DataFrame({"month": months, "mean": [1.0, 2.0, 3.0, 4.0]})
    assert later(rows, 1, months[-1]).rows() == list(zip(months, [1.0, 1.0, 2.0, 3.0], strict=True))
    assert later(rows, 2, months[-1])["mean"].to_list() == [1.0, 2.0, 1.0, 2.0]


def test_the_grid_holds_the_settings_in_use_once_an_axis(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, allocation={"tilt_scale": 0.05, "book": "softmax"}, sample={"end": "2024-01"})
    cells = grid(settings, {"000016.SH": 30, "000300.SH": 300}, AXES)
    by_axis = {axis: [cell for cell in cells if cell.axis == axis] for axis in AXES}
    for axis, found in by_axis.items():
        assert [cell.position for cell in found] == list(range(len(found))), axis
        assert sum(cell.is_default for cell in found) == (0 if axis == "tilt" else 1), axis
    assert [cell.value for cell in by_axis["start"]] == ["2014-01", "2016-01", "2018-01"]
    assert by_axis["universe"][1].changes == {"universe.index_id": "000300.SH", "universe.members": 300}
    assert all(cell.changes.get("allocation.book") == "anchored" for cell in by_axis["tilt"])


@pytest.mark.parametrize("book", ["anchored", "softmax"])
def test_what_nested_selection_chooses_is_varied_by_holding_it(tmp_path: Path, book: str) -> None:
    """Under selection every value would be overruled, and the cells would agree for no good reason."""
    settings = small_settings(tmp_path, allocation={"book": book, "selection": "nested"})
    for axis in ("score", "tilt", "temperature", "inertia"):
        default, others = [], []
        for cell in grid(settings, {}, [axis]):
            (default if cell.is_default else others).append(cell)
        shown = axis == "score" or (axis == "tilt") == (book == "anchored")
        assert [cell.value for cell in default] == (["nested"] if shown else []), axis
        assert others, axis
        assert all(cell.changes["allocation.selection"] == "fixed" for cell in others), axis


def test_a_section_of_the_page_is_replaced_and_others_stay(
    studied: tuple[Settings, pd.DataFrame], tmp_path: Path
) -> None:
    settings, cells = studied
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    for kind in ("simulated", "real", "simulated"):
        written = write_sensitivity(page, cells, settings, kind, f"rotation study sensitivity --page {page}")
    text = page.read_text(encoding="utf-8")
    assert text.count("\n## ") == 2
    assert text.index("## Simulated market") < text.index("## Real data")
    assert all(path.exists() for path in written)
    assert text.count("\n| **") == 2 * int(cells["is_default"].sum())
    assert with_section(text, "Other, X, 2014-01", "Other, X, 2014-01\n\nbody").endswith(
        "## Other, X, 2014-01\n\nbody\n"
    )
