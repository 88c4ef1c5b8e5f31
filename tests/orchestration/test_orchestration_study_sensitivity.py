"""The sensitivity study leaves what is stored alone, computes cells as the graph would, and counts every one of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.allocation.options import BookKind
from rotation_pipeline.backtest.counting import counted, latest_until, read_trials
from rotation_pipeline.backtest.sensitivity import stored_rows
from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration import runner, sensitivity_grid, study_sensitivity
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import verify_replay
from rotation_pipeline.orchestration.reports import load_report_data
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.orchestration.sensitivity_grid import changed, grid, unvaried
from rotation_pipeline.orchestration.study_pages import with_section, write_sensitivity
from rotation_pipeline.orchestration.study_sensitivity import TABLE, Result, later, run_study, stored_cells
from rotation_pipeline.reporting.sensitivity import unvaried_axes
from rotation_pipeline.reporting.words import LANGUAGES, Words
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
        patch.setattr(sensitivity_grid, "GROUPS", (5,))
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
    chosen = changed(settings, {"allocation.tilt_scale": 0.12})
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


def test_a_second_study_computes_nothing_again_and_keeps_the_rows(
    studied: tuple[Settings, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity_grid, "GROUPS", (5,))
    settings, cells = studied
    told: list[str] = []
    found = run_study(settings, axes=("lag", "groups"), listen=lambda result, _done, _all: told.append(result.row.axis))
    assert found.equals(cells)
    assert told == []
    found = run_study(settings, axes=("lag",), again=True, listen=lambda one, _done, _all: told.append(one.row.value))
    assert found.equals(cells)
    assert told == ["0", "1 d", "1 m"]


@pytest.mark.parametrize("changed_part", ["code_version", "package_versions"])
def test_cells_of_other_code_or_packages_are_computed_again(
    studied: tuple[Settings, pd.DataFrame], changed_part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied(studied[0], tmp_path)
    other = "9+new" if changed_part == "code_version" else {**runner.package_versions(), "numpy": "9.9"}
    monkeypatch.setattr(runner, changed_part, lambda: other)
    told: list[str] = []
    found = run_study(settings, axes=("lag",), listen=lambda result, _done, _all: told.append(result.row.value))
    assert told == ["0", "1 d", "1 m"]
    marked = found["code_version"] == runner.computed_by()
    assert set(found.loc[marked, "axis"]) == {"lag"}
    same = [name for name in found.columns if name != "code_version"]
    assert found[same].equals(studied[1][same])


def test_an_interrupted_study_keeps_what_it_computed_and_goes_on(
    made: Settings, studied: tuple[Settings, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity_grid, "GROUPS", (5,))
    settings = copied(made, tmp_path)
    with open_warehouse(studied[0].database_path, read_only=True, threads=1) as warehouse:
        (row,) = stored_rows(studied[1][(studied[1]["axis"] == "groups") & ~studied[1]["is_default"]])
        rebuilt = Result(row, warehouse.read("marts.trials", first=LAST, trial_id=row.trial_id))
    # the chain of that cell has been run once already
    monkeypatch.setattr(study_sensitivity, "_rebuild", lambda _study, _cell: rebuilt)
    told: list[tuple[str, str, int, int]] = []

    def interrupt(result: Result, done: int, total: int) -> None:
        told.append((result.row.axis, result.row.value, done, total))
        if len(told) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(settings, axes=STUDIED, listen=interrupt)
    with open_warehouse(settings.database_path, read_only=True, threads=1) as warehouse:
        kept = stored_cells(warehouse, settings, LAST)
        trials = set(warehouse.read("marts.trials", first=LAST)["trial_id"])
        load_report_data(warehouse, settings, LAST)
        judged = warehouse.read("marts.significance", first=LAST, statistic="deflated_sharpe", baseline="zero")[
            "trials"
        ]
        stood = counted(latest_until(read_trials(warehouse.read("marts.trials").to_pandas()), pd.Timestamp(LAST)))
    assert len(kept) == 7
    own = [row for row in stood if row.kind != "stock_book"]
    assert set(judged) == {len(own)}, "what was tried counts in the verdict, though the study was interrupted"
    assert set(kept["trial_id"]) <= trials
    assert kept["is_default"].sum() == len(STUDIED), "the settings in use come first, or the others could not be ranked"
    before = {(axis, value) for axis, value, *_ in told}
    told.clear()
    found = run_study(settings, axes=STUDIED, listen=lambda one, *at: told.append((one.row.axis, one.row.value, *at)))
    assert found.equals(studied[1])
    assert not before & {(axis, value) for axis, value, *_ in told}
    assert [done for *_, done, _ in told] == list(range(1, len(found) - 6))
    assert {total for *_, total in told} == {len(found) - 7}


def test_results_that_change_while_a_study_runs_end_it(made: Settings, tmp_path: Path) -> None:
    settings = copied(made, tmp_path)

    def another_run(_result: Result, _done: int, _total: int) -> None:
        with open_warehouse(settings.database_path, threads=1) as warehouse:
            warehouse.execute("UPDATE marts.backtest SET net_return = net_return + 1e-9 WHERE month = ?", [LAST])

    with pytest.raises(StaleResults, match="were computed again while the study ran"):
        run_study(settings, axes=("lag",), listen=another_run)


def test_intervals_of_other_settings_are_not_taken_for_done(studied: tuple[Settings, pd.DataFrame]) -> None:
    """They shape no book and no trial, but every interval of a cell."""
    settings, cells = studied
    with open_warehouse(settings.database_path, read_only=True, threads=1) as warehouse:
        assert len(stored_cells(warehouse, settings, LAST)) == len(cells)
        for name, value in (("resamples", 200), ("seed", 1), ("confidence", 0.9), ("minimum_months", 13)):
            other = changed(settings, {f"backtest.{name}": value})
            assert stored_cells(warehouse, other, LAST).empty, name


def test_the_command_on_the_page_is_the_one_that_made_it(
    studied: tuple[Settings, pd.DataFrame], tmp_path: Path, rotation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity_grid, "GROUPS", (5,))
    settings, cells = studied
    answer = rotation(
        "study", "sensitivity", "--database", settings.database_path, "--axis", "lag", "--page", "docs/page.md"
    )
    assert answer.code == 0, answer.stderr
    text = (tmp_path / "docs" / "page.md").read_text(encoding="utf-8")
    axes = " ".join(f"--axis {axis}" for axis in AXES if axis in STUDIED)
    assert f"rotation study sensitivity {axes} --database FILE --page docs/page.md\n" in text
    assert "The first month is not varied" in text
    assert "The first month is not varied" in answer.stdout
    assert text.count("\n| ") == len(cells) + 1
    facts = json.loads(
        rotation("study", "sensitivity", "--database", settings.database_path, "--axis", "lag", "--json").stdout
    )
    assert facts["standing"]["cells"] == cells["trial_id"].nunique()
    assert [row["value"] for row in facts["cells"]] == cells["value"].tolist()
    refused = rotation("study", "sensitivity", "--database", settings.database_path, "--axis", "start")
    assert refused.code == 2
    assert "no cell to compute. The first month is not varied" in refused.stderr


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


INDICES = {"000016.SH": 30, "000300.SH": 300}


@pytest.mark.parametrize("book", get_args(BookKind))
def test_the_grid_holds_the_settings_in_use_once_an_axis(tmp_path: Path, book: str) -> None:
    settings = small_settings(tmp_path, allocation={"tilt_scale": 0.05, "book": book}, sample={"end": "2024-01"})
    cells = grid(settings, INDICES, AXES)
    by_axis = {axis: [cell for cell in cells if cell.axis == axis] for axis in AXES}
    scored = book in ("anchored", "softmax", "softmax_network")
    for axis, found in by_axis.items():
        assert [cell.position for cell in found] == list(range(len(found))), axis
        assert sum(cell.is_default for cell in found) == (scored or axis != "score"), axis
        assert len({json.dumps(dict(cell.told), sort_keys=True) for cell in found}) == len(found), axis
    assert [cell.value for cell in by_axis["start"]] == ["2014-01", "2016-01", "2018-01"]
    assert by_axis["universe"][1].changes == {"universe.index_id": "000300.SH", "universe.members": 300}
    stands_in = {
        "tilt": ("anchored",),
        "temperature": ("softmax", "softmax_network"),
        "inertia": ("softmax", "softmax_network"),
    }
    for axis, books in stands_in.items():
        varied = [cell for cell in by_axis[axis] if not cell.is_default]
        assert {cell.changes.get("allocation.book", book) for cell in varied} <= set(books), axis
        assert all(("allocation.book" in cell.changes) == (book not in books) for cell in varied), axis
        assert [cell.value for cell in by_axis[axis] if cell.is_default] != ["in use"] or book not in books, axis


@pytest.mark.parametrize("book", get_args(BookKind))
@pytest.mark.parametrize("selection", ["fixed", "nested"])
def test_cost_is_planned_as_it_is_charged_by_books_that_plan(tmp_path: Path, book: str, selection: str) -> None:
    plans = book in ("mean_variance", "decision_focused") or (selection == "nested" and book != "inverse_volatility")
    for planned in (20.0, 35.0):
        settings = small_settings(tmp_path, allocation={"book": book, "selection": selection, "cost_bp": planned})
        cells = [cell for cell in grid(settings, INDICES, ["cost"]) if not cell.is_default]
        assert [cell.changes["backtest.cost_bp"] for cell in cells] == [0.0, 10.0, 30.0, 50.0]
        same = plans and planned == settings.backtest.cost_bp
        for cell in cells:
            assert cell.changes.get("allocation.cost_bp") == (cell.changes["backtest.cost_bp"] if same else None)
        told = [one.reason for one in unvaried(settings, INDICES) if one.axis == "cost"]
        assert told == (["planned_cost"] if plans and not same else [])


def test_what_changes_nothing_is_not_run_and_the_reason_is_said(tmp_path: Path) -> None:
    def reasons(indices: dict[str, int] = INDICES, **allocation: object) -> dict[str, str]:
        settings = small_settings(tmp_path, allocation=allocation, sample={"end": "2024-01"})
        ran = {cell.axis for cell in grid(settings, indices, AXES)}
        found = unvaried(settings, indices)
        assert ran == set(AXES) - {one.axis for one in found if not one.partly}
        for language in LANGUAGES:
            text = unvaried_axes(found, Words(language))
            assert "{" not in text
            assert bool(text) == bool(found)
        return {one.axis: one.reason for one in found}

    assert reasons() == {}
    assert reasons(book="mean_variance") == {"score": "no_score"}
    assert reasons(book="decision_focused", selection="nested") == {"score": "no_score"}
    assert reasons(book="inverse_volatility") == {"score": "no_score", "lag": "no_forecast"}
    assert reasons({"000016.SH": 30}) == {"universe": "one_index"}
    settings = small_settings(tmp_path, allocation={"book": "inverse_volatility"})
    assert [cell.value for cell in grid(settings, INDICES, ["lag"])] == ["0", "1 d"]
    assert grid(settings, INDICES, ["score", "start"]) == []


def test_no_cell_repeats_the_settings_in_use(made: Settings, tmp_path: Path) -> None:
    """On the books of an allocator without scores, every cell that is run moves weights or returns."""
    settings = copied(made, tmp_path)
    used = changed(settings, {"allocation.book": "inverse_volatility"})
    with open_warehouse(settings.database_path, threads=1) as warehouse:
        after = [stage.name for stage in stages()]
        run_graph(warehouse, used, used.all_months(), only=after[after.index("weights") :], checked=False)
    found = run_study(used, axes=("score", "cost", "lag"))
    assert set(found["axis"]) == {"cost", "lag"}
    own = found[found["is_default"]]
    others = found[~found["is_default"]]
    assert len(own) == 2
    assert not (others["sharpe"].isin(own["sharpe"]) & others["baseline_sharpe"].isin(own["baseline_sharpe"])).any()
    assert not others["trial_id"].isin(own["trial_id"]).any()


@pytest.mark.parametrize("book", ["anchored", "softmax", "softmax_network"])
def test_what_nested_selection_chooses_is_varied_by_holding_it(tmp_path: Path, book: str) -> None:
    """Under selection every value would be overruled, and the cells would agree for no good reason."""
    settings = small_settings(tmp_path, allocation={"book": book, "selection": "nested"})
    for axis in ("score", "tilt", "temperature", "inertia"):
        default, others = [], []
        for cell in grid(settings, {}, [axis]):
            (default if cell.is_default else others).append(cell)
        shown = axis == "score" or (axis == "tilt") == (book == "anchored")
        assert [cell.value for cell in default] == (["nested"] if shown else ["in use"]), axis
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
