"""Every hint at, and just short of, its threshold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotation_pipeline.narratives.hints import HINTS, OPPOSES, SUITS, Snapshot
from rotation_pipeline.narratives.options import LANGUAGES, NarrativeOptions
from rotation_pipeline.narratives.wording_hints import HINT_TEXTS, QUARTER_TEXTS, hint_texts
from rotation_pipeline.regimes.names import REGIMES

OPTIONS = NarrativeOptions()
EMPTY = Snapshot()
CASES = {
    "equal_weights": (Snapshot(active_share=0.0099), Snapshot(active_share=0.01)),
    "equal_weight_clone": (Snapshot(is_clone=True), Snapshot(is_clone=False)),
    "left_to_drift": (Snapshot(changes={"MOM": 4e-14}, turnover=9e-16), Snapshot(changes={"MOM": 0.001}, turnover=1e-5)),
    "turning_defensive": (Snapshot(changes={"VOL": 2.0}, tilts={"VOL": 1.1}, index_drawdown=-0.10), Snapshot(changes={"VOL": 2.0}, tilts={"VOL": 1.1}, index_drawdown=-0.0999)),
    "trend_reinforced": (Snapshot(changes={"MOM": 2.0}, tilts={"MOM": 1.1}, trend=0.001), Snapshot(changes={"MOM": 2.0}, tilts={"MOM": 1.0}, trend=0.001)),
    "trend_faded": (Snapshot(changes={"MOM": -2.0}, trend=-0.001), Snapshot(changes={"MOM": -1.99}, trend=-0.001)),
    "leaving_defence": (Snapshot(changes={"VAL": -2.0}, trend=0.01), Snapshot(changes={"VAL": -2.0, "VOL": 2.0}, trend=0.01)),
    "low_conviction": (Snapshot(active_share=0.05, drifted_active_share=0.08), Snapshot(active_share=0.005, drifted_active_share=0.08)),
    "high_conviction": (Snapshot(active_share=0.08, drifted_active_share=0.05), Snapshot(active_share=0.06, drifted_active_share=0.05)),
    "fits_regime": (Snapshot(favoured="VOL", regime="bear"), Snapshot(favoured="VOL", regime="slow_bull")),
    "opposes_regime": (Snapshot(favoured="MOM", regime="bear"), Snapshot(favoured="MOM", regime="range")),
    "neutral_to_regime": (Snapshot(favoured="QLTY", regime="slow_bull"), Snapshot(favoured="QLTY", regime="bear")),
    "tension": (Snapshot(best_forecast="SIZE", regime="bear"), Snapshot(best_forecast="SIZE", regime="slow_bull")),
    "high_turnover": (Snapshot(turnover=0.2), Snapshot(turnover=0.199)),
    "deep_drawdown": (Snapshot(strategy_drawdown=-0.1), Snapshot(strategy_drawdown=-0.099)),
    "idle_weight": (Snapshot(idle=0.2), Snapshot(idle=0.0)),
    "at_high": (Snapshot(strategy_drawdown=0.0), Snapshot(strategy_drawdown=-1e-9)),
    "favourite_lost": (Snapshot(previous_favoured="MOM", returns={"MOM": -0.01}), Snapshot(previous_favoured="MOM", returns={"MOM": 0.0})),
    "favourite_paid": (Snapshot(previous_favoured="MOM", returns={"MOM": 0.01}), Snapshot(previous_favoured="MOM", returns={"VAL": 0.01})),
    "regime_changed": (Snapshot(regime="bear", previous_regime="range"), Snapshot(regime="bear", previous_regime="bear")),
    "regime_uncertain": (Snapshot(probability=0.599), Snapshot(probability=0.6)),
    "volatility_high": (Snapshot(volatility_percentile=80.0), Snapshot(volatility_percentile=79.9)),
    "volatility_low": (Snapshot(volatility_percentile=20.0), Snapshot(volatility_percentile=20.1)),
}  # fmt: skip
RULES = {hint.name: hint.rule for hint in HINTS}


def test_every_hint_has_a_case_and_its_words() -> None:
    assert set(CASES) == set(RULES) == set(HINT_TEXTS)
    texts = [text for pair in HINT_TEXTS.values() for language in LANGUAGES for text in pair[language]]
    assert len(texts) == len(set(texts)) == 4 * len(HINTS)
    assert all(text and not any(char.isdigit() for char in text) for text in texts)
    assert set(QUARTER_TEXTS) < set(HINT_TEXTS)
    for language in LANGUAGES:  # of a quarter nothing is said of months
        for statement, meaning in hint_texts(language, "quarter").values():
            assert not any(word in statement + meaning for word in ("本月", "上月", "月末", "month"))


@pytest.mark.parametrize("name", CASES)
def test_threshold(name: str) -> None:
    holds, fails = CASES[name]
    assert RULES[name](holds, OPTIONS) is True
    assert RULES[name](fails, OPTIONS) is False
    assert RULES[name](EMPTY, OPTIONS) is False  # what is unknown does not hold


@pytest.mark.parametrize("name", ["trend_reinforced", "trend_faded", "turning_defensive", "leaving_defence"])
def test_bringing_weights_back_to_equal_is_no_view(name: str) -> None:
    """A weight that drifted away and is restored to equal with all others tells nothing of the trend or of defence."""
    holds, _ = CASES[name]
    assert RULES[name](replace(holds, active_share=0.03), OPTIONS)
    assert not RULES[name](replace(holds, active_share=0.0), OPTIONS)


def test_a_style_raised_but_still_below_equal_is_no_tilt_to_it() -> None:
    for name, style in (("trend_reinforced", "MOM"), ("turning_defensive", "VOL")):
        holds, _ = CASES[name]
        assert not RULES[name](replace(holds, tilts={style: 0.9}), OPTIONS)
        assert not RULES[name](replace(holds, tilts={}), OPTIONS)


def test_one_defensive_style_at_the_cost_of_the_other_is_no_move_to_defence_or_away() -> None:
    holds, _ = CASES["turning_defensive"]
    assert RULES["turning_defensive"](replace(holds, changes={"VOL": 4.0, "VAL": -2.0}), OPTIONS)
    assert not RULES["turning_defensive"](replace(holds, changes={"VOL": 4.0, "VAL": -5.0}), OPTIONS)
    assert not RULES["turning_defensive"](replace(holds, changes={"VOL": 2.0, "VAL": -0.1}), OPTIONS)
    holds, _ = CASES["leaving_defence"]
    assert RULES["leaving_defence"](replace(holds, changes={"VAL": -5.0, "VOL": 2.5}), OPTIONS)
    assert not RULES["leaving_defence"](replace(holds, changes={"VAL": -2.5, "VOL": 1.0}), OPTIONS)


def test_the_first_month_is_not_left_to_drift() -> None:
    """Its turnover is 0 because there is nothing to trade from."""
    assert RULES["left_to_drift"](Snapshot(turnover=0.0), OPTIONS) is False


def test_thresholds_come_from_the_options() -> None:
    assert not RULES["high_turnover"](CASES["high_turnover"][0], replace(OPTIONS, high_turnover=0.5))
    assert not RULES["trend_reinforced"](CASES["trend_reinforced"][0], replace(OPTIONS, trend_margin=0.05))
    assert RULES["tension"](CASES["tension"][0], replace(OPTIONS, change_points=20.0))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("style", ["MOM", "VAL", "QLTY", "VOL", "SIZE"])
def test_a_favoured_style_has_exactly_one_relation_to_the_regime(regime: str, style: str) -> None:
    now = Snapshot(favoured=style, regime=regime)
    assert sum(RULES[name](now, OPTIONS) for name in ("fits_regime", "opposes_regime", "neutral_to_regime")) == 1
    assert not set(SUITS[regime]) & set(OPPOSES[regime])
