"""The template is never rejected, whatever a month's facts are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narratives_cases import INDEX_NAMES, market, random_facts, random_options

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.fact import Fact
from rotation_pipeline.narratives.facts import fact_table
from rotation_pipeline.narratives.options import LANGUAGES, NarrativeOptions
from rotation_pipeline.narratives.template import TemplateWriter, template_hash
from rotation_pipeline.narratives.write import narrate, rendered, verify

OPTIONS = NarrativeOptions()


def test_no_false_alarm_in_2000_random_fact_tables() -> None:
    rng = np.random.default_rng(50)
    alarms, counts = [], dict.fromkeys(range(3, 6), 0)
    for _ in range(2000):
        options = random_options(rng)
        facts = random_facts(rng, options, period="month" if rng.random() < 0.5 else "quarter")
        for language in LANGUAGES:
            draft = TemplateWriter().write(facts, language, options)
            counts[len(draft.sentences)] += 1
            errors = verify(draft, facts, language, options)
            if errors:
                alarms.append((errors, rendered(draft, facts, language, options)))
    assert not alarms, (len(alarms), alarms[:3])
    assert min(counts.values()) > 100  # short and long narratives were both met


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from(INDEX_NAMES))
def test_every_month_of_any_market_is_told(seed: int, months: int, names: tuple[str, str]) -> None:
    options = NarrativeOptions(index_name_zh=names[0], index_name_en=names[1])
    stamps = pd.date_range("2014-01-01", periods=months, freq="MS")
    facts = fact_table(market(seed, months), stamps, options)
    narratives = narrate(facts, stamps, options)
    assert (narratives["period"] == "month").sum() == 2 * months
    ends = sum(stamp.month % 3 == 0 for stamp in stamps[13:])
    assert (narratives["period"] == "quarter").sum() == 2 * ends
    assert not narratives["text"].str.contains(r"[{}|]").any()


def one(
    subject: str,
    measure: str,
    kind: str,
    unit: str,
    precision: int,
    value: float | None = None,
    label: str | None = None,
) -> Fact:
    return Fact(FACT_IDS[subject, measure], kind, subject, measure, value, label, unit, precision)


def page(*facts: Fact) -> dict[str, Fact]:
    samples = [
        one("market", name, "count", "months", 0, 7.0) for name in ("index_months", "style_months", "weight_months")
    ]
    return {fact.fact_id: fact for fact in (*samples, *facts)}


KNOWN = page(
    one("index", "return_1m", "return", "fraction", 2, -0.0523),
    one("index", "trend", "comparison", "fraction", 2, -0.031),
    one("index", "volatility", "volatility", "fraction_per_year", 1, 0.2314),
    one("index", "volatility_percentile", "percentile", "percentile", 0, 81.8),
    one("index", "drawdown", "drawdown", "fraction", 2, -0.1807),
    one("market", "regime", "regime", "label", 0, label="bear"),
    one("market", "probability", "probability", "fraction", 0, 0.914),
    one("market", "months_in_regime", "count", "months", 0, 3.0),
    one("strategy", "favoured", "style", "label", 0, label="VAL"),
    one("strategy", "largest_increase", "style", "label", 0, label="VAL"),
    one("strategy", "largest_decrease", "style", "label", 0, label="MOM"),
    one("VAL", "weight", "weight", "fraction", 1, 0.3121),
    one("VAL", "weight_change", "weight_change", "points", 1, 4.46),
    one("VAL", "above_equal", "comparison", "points", 1, 11.21),
    one("VAL", "forecast", "forecast", "fraction", 2, 0.0052),
    one("VAL", "forecast_rank", "rank", "rank", 0, 1.0),
    one("VAL", "return_3m", "return", "fraction", 2, -0.021),
    one("MOM", "weight", "weight", "fraction", 1, 0.12),
    one("MOM", "weight_change", "weight_change", "points", 1, -3.0),
    one("strategy", "net_return", "return", "fraction", 2, -0.012),
    one("strategy", "excess", "comparison", "points", 2, 0.354),
    one("strategy", "drawdown", "drawdown", "fraction", 2, -0.081),
    one("strategy", "turnover", "turnover", "fraction", 1, 0.12),
    one("strategy", "fits_regime", "hint", "label", 0, label="fits_regime"),
    one("strategy", "turning_defensive", "hint", "label", 0, label="turning_defensive"),
    one("market", "volatility_high", "hint", "label", 0, label="volatility_high"),
)
FROZEN = {
    "zh": [
        "上证50本月下跌5.23%，低于年线3.10%；年化波动率为23.1%，处于近12个月第82百分位；市场状态为熊市，滤波概率为91%，已持续3个月。",
        "模型权重最高的风格是价值，为31.2%，高于等权11.2个百分点，月末上调4.5个百分点；减配最多的是动量，权重下调3.0个百分点至12.0%。",
        "价值的下月多空收益预测为0.52%，在各风格中排第1位，近3个月多空收益为−2.10%；这一配置与市场状态相符，状态若延续则有利于组合收益，主要风险在于状态切换。",
        "轮动策略本月费后亏损1.20%，领先等权组合0.35个百分点，回撤为8.10%；月末换手率为12.0%。",
        "上证50回撤为18.07%；指数回撤之际配置转向防御，若防御风格保持其特性，组合在下跌中损失较小，在反弹中收益也较少；"
        "指数波动率处于近一年高位，同样的风格敞口对应更大的收益波动。",
    ],
    "en": [
        "The SSE 50 fell 5.23% this month, and stood below its 12-month average by 3.10%; its annualised volatility was 23.1%, "
        "at the 82nd percentile of the last 12 months; the bear market regime has lasted 3 months, with a filtered probability of 91%.",
        "The model is heaviest in value, with a weight of 31.2%, above equal weight by 11.2 percentage points, and raised by 4.5 percentage "
        "points at the month end; the largest cut falls on momentum, its weight cut by 3.0 percentage points to 12.0%.",
        "The forecast next-month long-short return of value is 0.52%, ranked 1st among the styles, while its 3-month long-short "
        "return is −2.10%; this position fits the market regime: the book benefits if the regime persists, and a switch of regime is "
        "the main risk.",
        "After costs the rotation strategy lost 1.20% this month, beat equal weight by 0.35 percentage points, and stood at a drawdown "
        "of 8.10%; its turnover at the end of the month was 12.0%.",
        "The SSE 50 stands at a drawdown of 18.07%; the allocation turns defensive while the index is well below its high: if defensive "
        "styles keep their character, the book loses less in a further fall and earns less in a rebound; index volatility is high for "
        "the last year: the same style bets come with wider swings of return.",
    ],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_known_month_reads_as_written(language: str) -> None:
    draft = TemplateWriter().write(KNOWN, language, OPTIONS)
    assert rendered(draft, KNOWN, language, OPTIONS) == FROZEN[language]
    assert verify(draft, KNOWN, language, OPTIONS) == []


@pytest.mark.parametrize("change", [0.0, 0.04, -0.04])
def test_a_favourite_that_was_not_traded_is_left_unchanged(change: float) -> None:
    facts = {key: fact for key, fact in KNOWN.items() if fact.measure not in ("weight_change", "largest_increase")}
    for fact in (
        one("VAL", "weight_change", "weight_change", "points", 1, change),
        one("MOM", "weight_change", "weight_change", "points", 1, -3.0),
    ):
        facts[fact.fact_id] = fact
    expected = {
        "zh": "模型权重最高的风格是价值，为31.2%，高于等权11.2个百分点，月末未作调整；减配最多的是动量，权重下调3.0个百分点至12.0%。",
        "en": "The model is heaviest in value, with a weight of 31.2%, above equal weight by 11.2 percentage points, and left unchanged at the "
        "month end; the largest cut falls on momentum, its weight cut by 3.0 percentage points to 12.0%.",
    }
    for language in LANGUAGES:
        draft = TemplateWriter().write(facts, language, OPTIONS)
        assert rendered(draft, facts, language, OPTIONS)[1] == expected[language]
        assert verify(draft, facts, language, OPTIONS) == []


def test_weights_left_to_drift_are_said_to_be() -> None:
    """Without a trade no single change is spoken of; the rest of the month is told as ever."""
    facts = {key: fact for key, fact in KNOWN.items() if fact.measure not in ("largest_increase", "largest_decrease")}
    for fact in (
        one("VAL", "weight_change", "weight_change", "points", 1, 1.4e-14),
        one("strategy", "turnover", "turnover", "fraction", 1, 1.4e-16),
        one("strategy", "left_to_drift", "hint", "label", 0, label="left_to_drift"),
    ):
        facts[fact.fact_id] = fact
    expected = {
        "zh": "模型权重最高的风格是价值，为31.2%，高于等权11.2个百分点；月末未在风格之间调仓，权重随收益自然漂移。",
        "en": "The model is heaviest in value, with a weight of 31.2%, above equal weight by 11.2 percentage points; nothing is traded between "
        "styles at the end of the month and the weights are left to drift with returns.",
    }
    for language in LANGUAGES:
        draft = TemplateWriter().write(facts, language, OPTIONS)
        texts = rendered(draft, facts, language, OPTIONS)
        assert texts[1] == expected[language]
        assert texts[0] == FROZEN[language][0]
        assert "换手率" not in texts[3]  # nothing was traded, which has been said
        assert "turnover" not in texts[3]
        assert verify(draft, facts, language, OPTIONS) == []


def test_equal_weights_left_to_drift_are_said_to_be() -> None:
    facts = page(
        one("strategy", "equal_weights", "hint", "label", 0, label="equal_weights"),
        one("strategy", "left_to_drift", "hint", "label", 0, label="left_to_drift"),
    )
    for language, text in (("zh", "权重随收益自然漂移"), ("en", "left to drift with returns")):
        draft = TemplateWriter().write(facts, language, OPTIONS)
        assert text in rendered(draft, facts, language, OPTIONS)[0]
        assert verify(draft, facts, language, OPTIONS) == []


def test_equal_weights_are_called_equal() -> None:
    facts = page(
        one("strategy", "equal_weights", "hint", "label", 0, label="equal_weights"),
        one("strategy", "equal_weight_clone", "hint", "label", 0, label="equal_weight_clone"),
        one("strategy", "active_share", "comparison", "fraction", 1, 0.004),
    )
    zh = "".join(rendered(TemplateWriter().write(facts, "zh", OPTIONS), facts, "zh", OPTIONS))
    en = " ".join(rendered(TemplateWriter().write(facts, "en", OPTIONS), facts, "en", OPTIONS))
    assert "各风格权重与等权无实质差异" in zh
    assert "主动份额为0.4%" in zh
    assert "权重最高" not in zh
    assert "differ from equal weight in name only" in en
    for text in ("翻版", "equal-weight clone"):
        assert text not in zh + en  # that would say the same twice
    of_later = {key: fact for key, fact in facts.items() if fact.measure != "equal_weights"}
    assert "等权的翻版" in "".join(rendered(TemplateWriter().write(of_later, "zh", OPTIONS), of_later, "zh", OPTIONS))


def test_early_month_states_its_sample_sizes() -> None:
    facts = page()
    assert rendered(TemplateWriter().write(facts, "zh", OPTIONS), facts, "zh", OPTIONS) == [
        "指数收益样本为7个月。", "风格多空收益样本为7个月。", "权重样本为7个月。",
    ]  # fmt: skip


def test_hash_follows_language_and_wording() -> None:
    renamed = NarrativeOptions(index_name_zh="沪深300")
    assert template_hash("zh", OPTIONS) == template_hash("zh", NarrativeOptions())
    assert template_hash("zh", OPTIONS) != template_hash("zh", renamed)
    assert template_hash("zh", OPTIONS) != template_hash("en", OPTIONS)
