"""Notebook use: a fast import, examples that run, errors that name the column, and the numbers of the graph."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_project import Project

import rotation_pipeline as rp
from rotation_pipeline import notebook
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.notebook.frames import plain
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

MODULES = ["rotation_pipeline.notebook", *(f"rotation_pipeline.notebook.{m.name}" for m in pkgutil.iter_modules(notebook.__path__))]  # fmt: skip
HEAVY = ("numpy", "pandas", "polars", "numba", "torch", "duckdb", "dagster", "plotly", "sklearn", "great_expectations")
WEIGHTY = ("dagster", "duckdb", "great_expectations", "pydantic_settings", "torch")


def loaded_after(code: str) -> set[str]:
    """Top-level packages a fresh interpreter has loaded after ``code``."""
    script = f"{textwrap.dedent(code)}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


# ---------------------------------------------------------------------- import


def test_the_import_alone_loads_no_package() -> None:
    assert loaded_after("import rotation_pipeline").isdisjoint(HEAVY)


def test_a_study_needs_neither_dagster_nor_duckdb_nor_settings() -> None:
    code = """
    import rotation_pipeline as rp
    market = rp.simulated_market("2012-06", "2013-01", n_stocks=30, n_members=30, n_spare=20)
    rp.exposures(market.bars, market.index, market.figures, market.universe, ["2013-01"])
    """
    assert loaded_after(code).isdisjoint(WEIGHTY)


def test_names_are_those_of_the_notebook_and_hide_no_package() -> None:
    assert rp.__all__ == notebook.__all__
    assert set(rp.__all__) <= set(dir(rp))
    packages = {module.name for module in pkgutil.iter_modules(rp.__path__)}
    assert packages.isdisjoint(rp.__all__)  # importing a package of that name would replace the function
    with pytest.raises(AttributeError, match="nonsense"):
        rp.nonsense  # noqa: B018


def test_every_function_says_what_it_takes() -> None:
    for name in rp.__all__:
        assert (getattr(rp, name).__doc__ or "").strip(), name


# ---------------------------------------------------------------------- examples


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_stage_has_an_example() -> None:
    files = Path(str(notebook.__file__)).parent.glob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    examples = "".join(line for line in text.splitlines() if line.strip().startswith((">>>", "...")))
    shown = [name for name in rp.__all__ if name[0].islower() and f"rp.{name}(" not in examples]
    assert shown == ["read_market", "report_page", "research"]  # these are in the tests below


# ---------------------------------------------------------------------- the graph's numbers


@pytest.fixture(scope="module")
def study() -> rp.Study:
    """The market and the settings of the project of the command-line tests."""
    market = rp.simulated_market("2011-06", "2014-06", n_stocks=30, n_members=30, n_spare=20, start_month="2011-05")
    choices = rp.Choices(
        regimes=rp.RegimeOptions(bootstrap_resamples=100, permutations=99),
        forecasts=rp.ForecastOptions(experts=("zero", "historical_mean", "factor_momentum"), min_train_months=12),
        backtest=rp.BacktestOptions(resamples=100),
    )
    return rp.research(market, "2014-01", style_months=6, choices=choices)


@pytest.fixture
def stored(project: Project) -> Iterator[Warehouse]:
    with open_warehouse(project.database, read_only=True, threads=1) as warehouse:
        yield warehouse


def assert_stored(stored: Warehouse, table: str, frame: pd.DataFrame) -> None:
    """``frame`` has exactly the stored rows of its months."""
    key = ["asset_id" if name == "asset_key" else name for name in table_named(table).key]
    rows = plain(stored.read(table))
    rows = rows[rows["month"].isin(frame["month"])].sort_values(key, ignore_index=True)
    assert len(frame), table
    own = frame.sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(rows[list(own.columns)], own, check_exact=True, check_dtype=False, obj=table)


def test_the_market_has_the_rows_of_the_sql_models(study: rp.Study, stored: Warehouse) -> None:
    market = study.market
    assert_stored(stored, "intermediate.adjusted_bars", market.bars)
    assert_stored(stored, "intermediate.index_daily", market.index)
    assert_stored(stored, "raw.listings", market.listings)
    for table, frame in (("intermediate.universe", market.universe), ("intermediate.stock_snapshot", market.figures)):
        months = stored.months(table)
        assert_stored(stored, table, frame[frame["month"].isin([pd.Timestamp(month) for month in months])])


def test_every_stage_has_the_rows_of_the_graph(study: rp.Study, stored: Warehouse) -> None:
    frames = {
        "marts.factor_exposures": study.exposures,
        "marts.factor_longshort": study.longshort,
        "marts.factor_groups": study.groups,
        "intermediate.index_features": study.features,
        "marts.regimes": study.regimes,
        "marts.expert_forecasts": study.forecast.experts,
        "marts.forecasts": study.forecast.forecasts,
        "marts.expert_weights": study.forecast.expert_weights,
        "marts.forecast_scores": study.forecast.scores,
        "marts.weights": study.weights,
        "marts.books": study.books,
        "marts.backtest": study.backtest,
        "marts.backtest_measures": study.measures,
        "marts.significance": study.significance,
        "marts.narrative_facts": study.facts,
        **{f"marts.{name}": frame for name, frame in study.evidence.items()},
    }
    for table, frame in frames.items():
        assert_stored(stored, table, frame)


def test_the_verdict_and_the_text_are_those_of_the_graph(study: rp.Study, stored: Warehouse, project: Project) -> None:
    assert " ".join(study.verdict.sentences("en")[0].split()) in " ".join(project.first.stdout.split())
    rows = stored.read("marts.narratives", language="zh", period="month").sort("month")
    for month, text in zip(rows["month"], rows["text"], strict=True):
        assert rp.narrative(study.facts, month, "zh") == text


def test_the_report_is_one_page_that_says_what_the_data_are(study: rp.Study) -> None:
    for language, badge in (("en", "SIMULATED"), ("zh", "模拟")):
        page = rp.report_page(study, language)
        assert page.lstrip().startswith("<!doctype html>")
        assert badge in page
        assert study.verdict.sentences(language)[0] in page


def test_trials_of_earlier_studies_are_counted(study: rp.Study) -> None:
    options = rp.BacktestOptions(resamples=100)
    again = rp.significance(study.backtest, {"tilt_cap": 0.2}, study.trials, options)
    assert len(again.trials) == 2 * len(study.trials)
    (alone,) = set(rp.significance(study.backtest, {"tilt_cap": 0.2}, None, options).rows["trials"].dropna())
    assert set(again.rows["trials"].dropna()) == {alone}, "the same results under another name"
    moved = study.trials.assign(sharpe=study.trials["sharpe"] + 0.01)
    more = rp.significance(study.backtest, {"tilt_cap": 0.2}, moved, options)
    assert set(more.rows["trials"].dropna()) == {2 * alone}
    same = rp.significance(study.backtest, {"tilt_cap": 0.2}, again.trials, options)
    assert len(same.trials) == len(again.trials)


def test_later_months_change_no_earlier_row(study: rp.Study) -> None:
    market = study.market
    cut = pd.Timestamp("2014-03-31")
    months = pd.period_range("2013-12", "2014-03", freq="M")
    early = [frame[frame[name] <= cut] for frame, name in ((market.bars, "day"), (market.index, "day"))]
    found = rp.exposures(*early, market.figures, market.universe, months)
    own = study.exposures[study.exposures["month"].isin(found["month"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, own, check_exact=True)
    state = rp.index_features(early[1])
    regimes = rp.detect_regimes(state, options=study.choices.regimes).regimes
    before = study.regimes[study.regimes["month"] <= cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(regimes, before, check_exact=True)


def test_own_data_are_read_from_a_folder(study: rp.Study, tmp_path: Path) -> None:
    from datetime import date

    from rotation_pipeline.market.identifiers import with_asset_id
    from rotation_pipeline.market.simulation import SimulationOptions
    from rotation_pipeline.market.tables import SOURCE_TABLES
    from rotation_pipeline.sources.simulated import SimulatedSource

    source = SimulatedSource(SimulationOptions(n_stocks=30, n_members=30, n_spare=20, start_month="2011-05"))
    for table in SOURCE_TABLES:
        rows = source.fetch(table.name, date(2011, 5, 1), date(2012, 7, 31))
        rows = with_asset_id(rows) if "asset_key" in rows.columns else rows
        rows.write_parquet(tmp_path / f"{table.name}.parquet")
    (tmp_path / "mapping.toml").write_text('[source]\nkind = "simulated"\n')
    read = rp.read_market(tmp_path, "2011-06", "2012-06", members=30)
    cut = pd.Timestamp("2012-06-30")
    for name in ("bars", "index"):
        whole = getattr(study.market, name)
        part = whole[whole["day"] <= cut].reset_index(drop=True)
        pd.testing.assert_frame_equal(getattr(read, name), part, check_exact=True)
    assert read.kind == "simulated"
    with pytest.raises(rp.NotebookError, match=r"index_id.*000300\.SH"):
        rp.read_market(tmp_path, "2011-06", "2011-08", index_id="000300.SH")


# ---------------------------------------------------------------------- own returns


def test_style_returns_from_elsewhere_go_there_and_back() -> None:
    months = pd.period_range("2020-01", periods=6, freq="M")
    wide = pd.DataFrame(np.arange(30.0).reshape(6, 5) / 1000.0, index=months, columns=list(STYLES))
    wide.iloc[0, 2] = np.nan
    back = rp.style_returns(rp.longshort_rows(wide, 0.3))
    assert back.index.tolist() == months.to_timestamp().tolist()
    assert np.array_equal(back.to_numpy(), wide.to_numpy(), equal_nan=True)
    own = rp.longshort_rows(wide, wide * 10.0)
    known = own.dropna(subset=["long_short"])
    assert np.array_equal(known["book_turnover"], known["long_short"] * 10.0)


def test_own_scores_give_the_returns_of_the_stored_groups(study: rp.Study) -> None:
    styles = study.exposures[study.exposures["kind"] == "style"]
    keys = ["month", "asset_id"]
    scores = styles.pivot(index=keys, columns="factor", values="score").reset_index()
    tradable = styles[[*keys, "in_tradable"]].drop_duplicates()
    found = rp.long_short_returns(
        rp.scored_exposures(scores.merge(tradable, on=keys)), study.market.bars, study.market.figures
    )
    pd.testing.assert_frame_equal(rp.style_returns(found.longshort), study.returns, check_exact=True)


# ---------------------------------------------------------------------- errors


def index_of(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"day": pd.bdate_range("2020-01-01", periods=3), "close": 100.0, **columns})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rp.index_features(index_of().drop(columns="close")), "index: column 'close' is missing"),
        (lambda: rp.index_features(index_of(close="much")), "index: column 'close': numbers are expected"),
        (lambda: rp.index_features(index_of(close=[1.0, None, 2.0])), "index: column 'close' is null in row 1"),
        (lambda: rp.index_features(index_of(day=["soon"] * 3)), "index: column 'day': dates are expected"),
        (lambda: rp.index_features(index_of(day=[20200101, 20200102, 20200103])), "index: column 'day': dates are expected"),
        (lambda: rp.index_features(index_of().head(0)), "index: there is no row"),
        (lambda: rp.index_features([1, 2]), "index: a pandas DataFrame is expected, got list"),
        (lambda: rp.index_features(index_of(), ["June"]), "months: 'June' is no month"),
        (lambda: rp.simulated_market("2020-05", "2020-01"), "lies before first"),
        (lambda: rp.simulated_market("2020-01", "2020-02", stocks=9), "no option 'stocks'"),
        (lambda: rp.simulated_market("2020-01", "2020-02", n_stocks=3), "SimulationOptions.n_stocks"),
        (lambda: rp.detect_regimes(pd.DataFrame({"month": []})), "features: column 'day' is missing"),
        (lambda: rp.style_returns(pd.DataFrame({"month": ["2020-01"]})), "longshort: column 'factor' is missing"),
        (
            lambda: rp.scored_exposures(pd.DataFrame({"month": ["2020-01"], "asset_id": ["moutai"], "MOM": [1.0]})),
            "scores: column 'asset_id': asset_id 'moutai'",
        ),
        (
            lambda: rp.scored_exposures(pd.DataFrame({"month": ["2020-01"], "asset_id": ["600519.SH"], "mood": [1.0]})),
            "scores: no column is a series",
        ),
        (
            lambda: rp.scored_exposures(
                pd.DataFrame({"month": ["2020-01"] * 2, "asset_id": ["600519.SH"] * 2, "MOM": [1.0, 2.0]})
            ),
            "same asset_id twice",
        ),
        (
            lambda: rp.longshort_rows(pd.DataFrame({"MOM": [0.1]}, index=["2020-01"]), 0.1),
            "returns: column 'VAL' is missing",
        ),
        (
            lambda: rp.longshort_rows(pd.DataFrame({name: [0.1] for name in STYLES}, index=["2020-01"]), -1.0),
            "book_turnover: a number of 0 or more",
        ),
        (
            lambda: rp.long_short_returns(
                pd.DataFrame(), pd.DataFrame(), options=rp.FactorOptions(n_groups=1)
            ),
            "FactorOptions.n_groups",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_argument_and_the_column(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(rp.NotebookError, match=message.replace(".", r"\.")):
        call()


def test_errors_of_a_study_name_its_months(study: rp.Study) -> None:
    with pytest.raises(rp.NotebookError, match=r"start: the market has no session in 2020-01"):
        rp.research(study.market, "2020-01")
    with pytest.raises(rp.NotebookError, match=r"end .* lies before start"):
        rp.research(study.market, "2014-05", "2014-02")
    with pytest.raises(rp.NotebookError, match="no row of detector 'oracle'"):
        rp.measures(study.backtest, study.books, study.regimes, detector="oracle")
    with pytest.raises(rp.NotebookError, match="language: 'fr'"):
        rp.narrative(study.facts, language="fr")  # pyright: ignore[reportArgumentType]
    with pytest.raises(rp.NotebookError, match="no facts of 2010-01"):
        rp.narrative(study.facts, "2010-01")
