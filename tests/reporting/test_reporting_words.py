"""The dictionary is complete in both languages and knows every name the stages use; numbers read as they should."""

from __future__ import annotations

import pytest

from rotation_pipeline.allocation.tables import BASELINES, STRATEGIES
from rotation_pipeline.backtest.tables import BACKTEST, SERIES
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.market.tables import INGESTIONS
from rotation_pipeline.narratives.tables import FACTS, NARRATIVES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.data import Measure
from rotation_pipeline.reporting.formats import UNKNOWN, fact_value, flattened, interval, percent, plain, probability
from rotation_pipeline.reporting.palette import BOOK_COLOURS, DARK, EXPERT_COLOURS, REGIME_COLOURS, STYLE_COLOURS
from rotation_pipeline.reporting.phrases import PHRASES
from rotation_pipeline.reporting.vocabulary import VOCABULARY
from rotation_pipeline.reporting.words import TEXTS, Words, placeholders


def test_both_languages_are_complete() -> None:
    assert not set(PHRASES) & set(VOCABULARY)
    for key, texts in TEXTS.items():
        assert len(texts) == 2, key
        english, chinese = texts
        assert english.strip(), key
        assert chinese.strip(), key
        assert placeholders(english) == placeholders(chinese), key


def test_every_name_of_the_stages_has_a_text() -> None:
    roles = BACKTEST.column("role").allowed
    kinds = INGESTIONS.column("source_kind").allowed
    names = {
        "style": (*STYLES, "ALL"), "regime": REGIMES, "book": (*SERIES, *STRATEGIES, *BASELINES, "zero"), "role": roles,
        "expert": (*EXPERTS, "mixture"), "badge": kinds, "now.written_by": NARRATIVES.column("source").allowed,
    }  # fmt: skip
    for prefix, members in names.items():
        for name in members:
            assert f"{prefix}.{name}" in TEXTS


def test_every_fact_and_hint_has_a_text() -> None:
    catalogue = pytest.importorskip(
        "rotation_pipeline.narratives.catalogue", reason="narrative catalogue not built yet"
    )
    for spec in catalogue.CATALOGUE:
        assert f"{'hint' if spec.kind == 'hint' else 'fact'}.{spec.measure}" in TEXTS
        assert f"subject.{spec.subject}" in TEXTS or spec.subject in STYLES
    for unit in FACTS.column("unit").allowed:
        assert unit in ("fraction", "label", "fraction_per_year") or f"unit.{unit}" in TEXTS


def test_every_series_has_a_colour_with_a_dark_twin() -> None:
    assert set(BOOK_COLOURS) == set(SERIES)
    assert set(EXPERT_COLOURS) == {*EXPERTS, "mixture"}
    assert set(STYLE_COLOURS) == set(STYLES)
    assert set(REGIME_COLOURS) == set(REGIMES)
    for colours in (BOOK_COLOURS, EXPERT_COLOURS, STYLE_COLOURS, REGIME_COLOURS):
        assert set(colours.values()) <= set(DARK)


def test_a_name_from_the_data_stands_as_it_is() -> None:
    words = Words("zh")
    assert words.named("style", "mom_20") == "mom_20"
    assert words.named("style", "MOM") == "动量"
    with pytest.raises(KeyError, match=r"style\.mom_20"):
        words("style.mom_20")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.1234), "12.3%"), (percent(-0.1234), "−12.3%"), (percent(-0.0001), "0.0%"), (percent(None), UNKNOWN),
        (percent(0.0001, signed=True), "0.0%"), (percent(0.001, signed=True), "+0.1%"),
        (percent(float("nan")), UNKNOWN), (plain(-1.005, 1), "−1.0"), (plain(-0.001), "0.00"), (probability(0.0004), "< 0.001"),
        (probability(0.05), "0.050"), (interval(Measure(1.0, -0.5, 2.0, 60)), "[−0.50, 2.00]"), (interval(Measure(1.0, None, 2.0, 60)), ""),
    ],
)  # fmt: skip
def test_numbers_as_text(shown: str, expected: str) -> None:
    assert shown == expected


def test_facts_as_text() -> None:
    words = Words("en")
    fact = {"value": 0.2143, "label": None, "precision": 1}
    assert fact_value({**fact, "unit": "fraction"}, words) == "21.4%"
    assert fact_value({**fact, "unit": "fraction_per_year"}, words) == "21.4% p.a."
    assert fact_value({"value": -2.34, "label": None, "precision": 1, "unit": "points"}, words) == "−2.3 points"
    assert fact_value({"value": None, "label": "slow_bull", "precision": 0, "unit": "label"}, words) == "Slow bull"


def test_settings_become_dotted_paths() -> None:
    nested = {"seed": 1, "allocation": {"inertia": 0.5, "caps": {"MOM": [0, 1]}}, "name": 'a "b"'}
    assert flattened(nested) == [
        ("seed", "1"),
        ("allocation.inertia", "0.5"),
        ("allocation.caps.MOM", "[0, 1]"),
        ("name", 'a "b"'),
    ]
