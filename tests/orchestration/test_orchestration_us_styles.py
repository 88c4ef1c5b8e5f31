"""The study of US styles on synthetic files of the public layout, and on the public folder where it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.orchestration import study_us_styles as study
from rotation_pipeline.orchestration.study_us_styles_page import markdown, picture
from rotation_pipeline.sources.factor_files import FactorFileError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "factors"
OPTIONS = study.StudyOptions(train_months=60, network_seeds=1, epochs=2, workers=1, last_months=40)


def write_folder(folder: Path, months: int = 132, persistence: float = 0.0, seed: int = 1) -> Path:
    """The two files in their public layout, in percent; with ``persistence`` premia come in spells of two years."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 2.0, (months, 6))
    spells = np.repeat(rng.choice([-1.0, 1.0], (months // 24 + 1, 6)), 24, axis=0)[:months]
    values = np.round(0.3 + noise + persistence * spells, 2)
    stamps = pd.date_range("1963-07-01", periods=months, freq="MS").strftime("%Y%m")
    five = pd.DataFrame({"yyyymm": stamps, **dict(zip(study.FIVE, values.T[:5], strict=True)), "RF": 0.27})
    # the momentum file begins earlier and ends earlier, as the public one does
    early = pd.DataFrame({"yyyymm": ["196305", "196306"], "Mom": [1.0, -2.0]})
    momentum = pd.concat([early, pd.DataFrame({"yyyymm": stamps, "Mom": values[:, 5]})]).iloc[:-2]
    folder.mkdir(parents=True, exist_ok=True)
    five.to_csv(folder / study.FIVE_FILE, index=False)
    momentum.to_csv(folder / study.MOMENTUM_FILE, index=False)
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> study.Study:
    return study.run_study(write_folder(tmp_path_factory.mktemp("factors")), OPTIONS)


def test_the_files_are_joined_in_fractions(tmp_path: Path) -> None:
    panel = study.load_panel(write_folder(tmp_path))
    assert panel.names == ("MKT", "SMB", "HML", "RMW", "CMA", "MOM")
    assert len(panel.calendar) == 130
    assert panel.calendar[0] == pd.Timestamp("1963-07-01")
    assert 0.01 < panel.styles.std() < 0.04
    text = pd.read_csv(tmp_path / study.FIVE_FILE)
    np.testing.assert_allclose(panel.styles[:, 1], text["SMB"].to_numpy()[:130] / 100.0, rtol=1e-15)


def test_the_samples_are_the_months_forecast(found: study.Study) -> None:
    assert (found.data_first, found.data_last, found.months) == ("1963-07", "1974-04", 130)
    assert (found.whole.first, found.whole.last) == ("1968-07", "1974-04")
    assert (found.recent.first, found.recent.last) == ("1971-01", "1974-04")
    assert {item.months for item in found.whole.forecasts} == {70}
    assert {item.judged.months for item in found.recent.books} == {40}
    assert found.line_first == pd.Timestamp("1968-07-01")
    assert {len(values) for values in found.lines.values()} == {70}


def test_equal_weight_and_the_benchmark_are_what_they_say(found: study.Study, tmp_path: Path) -> None:
    returns = study.load_panel(write_folder(tmp_path)).styles[60:]
    mean = returns.mean(axis=1)
    equal = study.book_named(found.whole, study.EQUAL)
    assert equal.sharpe_gross == pytest.approx(mean.mean() / mean.std(ddof=1) * math.sqrt(12.0))
    assert 0.0 < equal.sharpe_gross - equal.sharpe < 0.05
    five = returns[:, :5].mean(axis=1)
    assert found.whole.five_equal.sharpe_gross == pytest.approx(five.mean() / five.std(ddof=1) * math.sqrt(12.0))
    benchmark = found.whole.forecasts[0]
    assert (benchmark.forecaster, benchmark.r2) == ("historical_mean", 0.0)
    assert max(item.set_p for item in found.whole.forecasts) == 1.0
    assert sum(found.mixture_weights.values()) == pytest.approx(1.0)


def test_planted_spells_are_found_by_momentum(tmp_path: Path) -> None:
    planted = study.run_study(write_folder(tmp_path, months=200, persistence=1.5, seed=3), OPTIONS)
    assert planted.persistence.t > 3.0
    assert planted.persistence.after_gain > 0.005 > planted.persistence.after_loss
    quality = {item.forecaster: item for item in planted.whole.forecasts}
    assert quality["factor_momentum_12"].clark_west_p < 0.01
    assert quality["factor_momentum_12"].r2 > 0.02
    assert study.book_named(planted.whole, "sign_12").difference > 0.3
    text = markdown(planted, "rotation study us-styles", "images/x.svg")
    assert "none has a positive out-of-sample R²" not in text


def test_the_page_holds_the_numbers_and_the_picture_the_lines(found: study.Study) -> None:
    text = markdown(found, "rotation study us-styles --path data", "images/us-styles.svg")
    equal = study.book_named(found.whole, study.EQUAL)
    assert f"| equal weight, restored every month | {equal.sharpe_gross:.2f} | {equal.sharpe:.2f} |" in text
    for item in found.recent.books:
        assert f"{item.judged.sharpe_gross:.2f}" in text
    for figure in ("0.60", "0.82", "0.74", "2.2", "0.84", "53 and 1 bp", "1.15"):
        assert f"| {figure} |" in text
    assert "nan" not in text.lower().replace("finance", "")
    assert "](images/us-styles.svg)" in text
    drawn = picture(found)
    assert drawn.count("<polyline") == len(study.SHOWN)
    assert picture(found) == drawn
    rows = study.summary_rows(found)
    assert len(rows) == len(found.whole.books) + len(found.recent.books)
    assert rows[0]["difference_t"] is None


def test_every_book_and_forecaster_has_its_own_title(found: study.Study) -> None:
    from rotation_pipeline.orchestration.study_us_styles_page import book_title, forecaster_title

    books = [book_title(item.book) for item in found.whole.books]
    assert len(set(books)) == len(books)
    titles = [forecaster_title(item.forecaster) for item in found.whole.forecasts]
    assert len(set(titles)) == len(titles)
    assert "factor momentum, 1 month" in titles


def test_the_same_files_give_the_same_study(found: study.Study, tmp_path: Path) -> None:
    again = study.run_study(write_folder(tmp_path), OPTIONS)
    assert markdown(again, "x", "y") == markdown(found, "x", "y")
    other = study.run_study(write_folder(tmp_path), replace(OPTIONS, cost_bp=50.0))
    assert markdown(other, "x", "y") != markdown(found, "x", "y")


def test_a_bad_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FactorFileError, match="is no folder"):
        study.load_panel(tmp_path / "nowhere")
    with pytest.raises(FactorFileError, match=r"us_ff5_monthly\.csv does not exist"):
        study.load_panel(tmp_path)
    folder = write_folder(tmp_path / "fractions")
    table = pd.read_csv(folder / study.FIVE_FILE)
    (table.set_index("yyyymm") / 100.0).reset_index().to_csv(folder / study.FIVE_FILE, index=False)
    with pytest.raises(FactorFileError, match="its unit is probably fraction"):
        study.load_panel(folder)
    folder = write_folder(tmp_path / "gap")
    table = pd.read_csv(folder / study.FIVE_FILE)
    table.loc[7, "HML"] = -99.99
    table.to_csv(folder / study.FIVE_FILE, index=False)
    with pytest.raises(FactorFileError, match="HML has no return for 1964-02"):
        study.load_panel(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="no public factor files beside the project (../shared/data/factors)")
def test_the_public_folder_is_what_the_page_was_made_of() -> None:
    """Sharpe ratios of the files themselves; the study takes minutes and is not run here."""
    panel = study.load_panel(REAL)
    assert (len(panel.calendar), f"{panel.calendar[0]:%Y-%m}", f"{panel.calendar[-1]:%Y-%m}") == (
        735,
        "1963-07",
        "2024-09",
    )
    sharpe = panel.styles.mean(axis=0) / panel.styles.std(axis=0, ddof=1) * math.sqrt(12.0)
    np.testing.assert_allclose(sharpe, [0.450, 0.225, 0.325, 0.452, 0.436, 0.502], atol=5e-4)
    from rotation_pipeline.backtest.factor_timing import persistence

    five = persistence(panel.styles[:, :5])
    assert five.after_gain * 1e4 == pytest.approx(49.0, abs=1.0)  # published for more factors to 2015: 53 and 1
    assert five.after_loss * 1e4 == pytest.approx(1.0, abs=1.0)
