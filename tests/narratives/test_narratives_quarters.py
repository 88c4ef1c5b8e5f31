"""Quarters: their facts by a slow reference, their texts beside those of months, partial quarters, replay, and the model path."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import fields, replace

import pandas as pd
import pytest
from narratives_cases import market
from narratives_server import Script, serving

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS
from rotation_pipeline.narratives.endpoint import ChatEndpoint
from rotation_pipeline.narratives.explain import NoNarrative, explain, trace
from rotation_pipeline.narratives.fact import facts_by_month, period_of
from rotation_pipeline.narratives.facts import fact_table
from rotation_pipeline.narratives.history import NarrativeInputs
from rotation_pipeline.narratives.llm import LlmWriter
from rotation_pipeline.narratives.options import LANGUAGES, LlmOptions, NarrativeOptions
from rotation_pipeline.narratives.prompt import prompt_of
from rotation_pipeline.narratives.write import narrate

OPTIONS = NarrativeOptions()
MONTHS = list(pd.date_range("2014-01-01", periods=36, freq="MS"))
INPUTS = market(7, 36)
TABLE = fact_table(INPUTS, MONTHS, OPTIONS)
QUARTERS = TABLE[TABLE["period"] == "quarter"]
TOLD = narrate(TABLE, MONTHS, OPTIONS)
Q3 = pd.Timestamp("2015-09-01")
"""The third quarter of 2015, by its last month."""


def value(month: pd.Timestamp, subject: str, measure: str) -> float | str | None:
    rows = QUARTERS[(QUARTERS["month"] == month) & (QUARTERS["fact_id"] == FACT_IDS[subject, measure])]
    if rows.empty:
        return None
    return rows.iloc[0]["value"] if pd.isna(rows.iloc[0]["label"]) else rows.iloc[0]["label"]


def last(frame: pd.DataFrame, month: pd.Timestamp) -> pd.DataFrame:
    """The rows of the three months up to ``month``."""
    return frame[(frame["month"] > month - pd.DateOffset(months=3)) & (frame["month"] <= month)]


def grown(returns: pd.Series) -> float:
    return float((1.0 + returns).prod() - 1.0)


def test_a_quarter_is_kept_under_its_last_month_and_a_quarter_that_is_not_over_has_none() -> None:
    first = INPUTS.backtest["month"].min()
    ends = [month for month in MONTHS if month.month % 3 == 0 and month >= first]
    assert sorted(QUARTERS["month"].unique()) == ends
    cut = fact_table(INPUTS, [month for month in MONTHS if month <= pd.Timestamp("2015-08-01")], OPTIONS)
    assert cut[cut["period"] == "quarter"]["month"].max() == pd.Timestamp("2015-06-01")


def test_returns_costs_and_trades_are_those_of_the_three_months() -> None:
    for month in sorted(QUARTERS["month"].unique())[1:]:
        index = last(INPUTS.index_returns, month)["ret"]
        assert value(month, "index", "return_q") == pytest.approx(grown(index), abs=1e-14)
        rotation = last(INPUTS.backtest, month).query("strategy == 'rotation'")
        equal = last(INPUTS.backtest, month).query("strategy == 'equal_weight'")
        assert value(month, "market", "quarter_months") == 3.0
        assert value(month, "strategy", "net_return_q") == pytest.approx(grown(rotation["net_return"]), abs=1e-14)
        excess = 100.0 * (grown(rotation["net_return"]) - grown(equal["net_return"]))
        assert value(month, "strategy", "excess_q") == pytest.approx(excess, abs=1e-12)
        assert value(month, "strategy", "book_cost_q") == pytest.approx(rotation["book_cost"].sum(), abs=1e-15)
        books = last(INPUTS.books, month).query("strategy == 'rotation'")
        assert value(month, "strategy", "turnover_q") == pytest.approx(books["turnover"].sum(), abs=1e-14)
        weights = last(INPUTS.weights, month).query("strategy == 'rotation'")
        trades = (100.0 * (weights["weight"] - weights["drifted"])).groupby(weights["style"]).sum()
        returns = last(INPUTS.longshort, month).query("kind == 'style'").groupby("factor")["long_short"].agg(grown)
        for style in STYLES:
            assert value(month, style, "weight_change_q") == pytest.approx(trades[style], abs=1e-11)
            assert value(month, style, "return_q") == pytest.approx(returns[style], abs=1e-14)
        assert value(month, "strategy", "best_return_q") == returns.idxmax()
        assert value(month, "strategy", "largest_increase_q") == (trades.idxmax() if trades.max() > 0.05 else None)


def test_the_regime_before_is_that_of_the_quarter_before() -> None:
    hmm = INPUTS.regimes.query("detector == 'hmm'").set_index("month")["regime"]
    switched = 0
    for month in sorted(QUARTERS["month"].unique()):
        before, now = hmm[month - pd.DateOffset(months=3)], hmm[month]
        assert value(month, "market", "regime") == now
        assert value(month, "market", "previous_regime") == (before if before != now else None)
        assert value(month, "market", "regime_months_q") == (last(hmm.reset_index(), month)["regime"] == now).sum()
        if before != now:
            switched += 1
            rows = QUARTERS[(QUARTERS["month"] == month) & (QUARTERS["measure"] == "previous_regime")]
            assert rows["source_month"].item() == month - pd.DateOffset(months=3)
    assert switched > 2


def test_no_fact_is_one_of_both_periods_unless_it_is_the_same() -> None:
    """What stands at the month's end is the same fact in both; what took time has another measure."""
    months = TABLE[TABLE["period"] == "month"]
    both = months.merge(QUARTERS, on=["month", "fact_id"], suffixes=("", "_q"))
    both = both[~both["kind"].isin(["hint"]) & (both["measure"] != "previous_regime")]
    assert len(both) > 100
    pd.testing.assert_series_equal(both["value"], both["value_q"], check_names=False, check_exact=True)
    assert both["label"].fillna("").tolist() == both["label_q"].fillna("").tolist()
    assert {spec.measure for spec in CATALOGUE if spec.belongs("quarter") and not spec.belongs("month")} == {
        "quarter_months", "regime_months_q", "return_q", "net_return_q", "excess_q", "turnover_q", "factor_cost_q", "book_cost_q",
        "weight_change_q", "largest_increase_q", "largest_decrease_q", "best_return_q", "worst_return_q",
    }  # fmt: skip
    for period in ("month", "quarter"):
        assert all(period_of(facts) == period for facts in facts_by_month(TABLE, period).values())


def test_the_first_quarter_says_how_much_of_it_was_tested() -> None:
    first = INPUTS.backtest["month"].min()  # 2015-02: two of the three months
    assert first == pd.Timestamp("2015-02-01")
    end = pd.Timestamp("2015-03-01")
    assert value(end, "market", "quarter_months") == 2.0
    net = INPUTS.backtest.query("strategy == 'rotation'").set_index("month")["net_return"]
    assert value(end, "strategy", "net_return_q") == pytest.approx(grown(net[first:end]), abs=1e-14)
    for language, text in (
        ("zh", "策略在季内的回测样本为2个月；"),
        ("en", "The backtest sample within the quarter is 2 months; "),
    ):
        own = TOLD[(TOLD["period"] == "quarter") & (TOLD["language"] == language)].set_index("month")["text"]
        assert text in own[end]
        assert not own.drop(end).str.contains("回测样本|backtest sample").any()


def test_quarters_speak_of_quarters_and_months_of_months() -> None:
    told = TOLD[TOLD["month"] >= pd.Timestamp("2015-03-01")]
    assert len(told) > 50
    for period, language, text in zip(told["period"], told["language"], told["text"], strict=True):
        zh, en = ("本季度", "the quarter") if period == "quarter" else ("本月", "this month")
        assert (zh if language == "zh" else en) in text
        other = ("本月", "月末", "month end", "this month") if period == "quarter" else ("季", "quarter")
        assert not any(word in text for word in other), text
    assert not TOLD["text"].str.contains(r"-[0-9]", regex=True).any()  # a minus, not a hyphen
    assert TOLD["text"].str.contains("−", regex=False).any()


@pytest.mark.parametrize("month", [pd.Timestamp("2015-03-01"), Q3, pd.Timestamp("2016-12-01")])
def test_replay(month: pd.Timestamp) -> None:
    """Later rows, other months and computing alone change nothing, bit for bit, in facts and in text."""
    frames = {item.name: getattr(INPUTS, item.name) for item in fields(NarrativeInputs)}
    until = NarrativeInputs(**{name: frame[frame["month"] <= month] for name, frame in frames.items()})
    expected = TABLE[TABLE["month"] == month].reset_index(drop=True)
    assert set(expected["period"]) == {"month", "quarter"}
    for inputs, months in ((until, [month]), (INPUTS, [month])):
        pd.testing.assert_frame_equal(fact_table(inputs, months, OPTIONS), expected, check_exact=True)
    alone = narrate(expected, [month], OPTIONS)
    pd.testing.assert_frame_equal(TOLD[TOLD["month"] == month].reset_index(drop=True), alone, check_exact=True)


def test_quarters_are_explained_and_traced() -> None:
    shown = explain(TOLD, TABLE, Q3, "zh", True, "quarter")
    assert shown.startswith("2015Q3 [zh, template (no_endpoint)]\n")
    ids = {item.fact_id for item in trace(TOLD, TABLE, Q3, "zh", "quarter")}
    assert {line.split()[0] for line in shown.splitlines()[4:]} == ids
    with pytest.raises(NoNarrative, match="0 rows of 2014Q1 in en; stored are 2015Q1 to 2016Q4"):
        explain(TOLD, TABLE, pd.Timestamp("2014-03-01"), "en", False, "quarter")


class Kept(dict[str, str]):
    def put(self, key: str, text: str) -> None:
        self[key] = text


def test_a_model_writes_quarters_too_and_the_cache_keeps_them_apart() -> None:
    """The month and the quarter that ends with it are asked for with different words and kept under different keys."""
    script, cache = Script(), Kept()
    with serving(script) as url:
        chosen = LlmOptions(base_url=url, model="m")
        with closing(ChatEndpoint(chosen, "key", time.monotonic)) as endpoint:
            writer = LlmWriter(chosen, endpoint, cache, clock=time.monotonic, sleep=time.sleep)
            first = narrate(TABLE, [Q3], OPTIONS, writer)
            again = narrate(TABLE, [Q3], OPTIONS, writer)
    assert first["source"].tolist() == ["llm"] * 4
    assert again["source"].tolist() == ["cache"] * 4
    assert len(script.requests) == len(cache) == 4
    assert first["prompt_hash"].nunique() == 4
    systems = {request["messages"][0]["content"] for request in script.requests}
    assert sum("季度短评" in text or "quarterly note" in text for text in systems) == 2
    assert {prompt_of(language, "quarter").version for language in LANGUAGES} == {"llm-2"}


def test_a_style_without_figures_is_never_said_to_be_favoured() -> None:
    """Its weight lies idle, which is said; that it drifted above the others' is no view."""
    longshort = INPUTS.longshort[~INPUTS.longshort["factor"].isin(["VAL", "QLTY"])]
    weights = INPUTS.weights.copy()
    weights.loc[weights["style"] == "VAL", "weight"] = 0.6
    inputs = replace(INPUTS, longshort=longshort, weights=weights)
    table = fact_table(inputs, MONTHS, OPTIONS)
    favoured = table[table["measure"] == "favoured"]
    assert len(favoured) > 20
    assert not set(favoured["label"]) & {"VAL", "QLTY"}
    told = narrate(table, MONTHS, OPTIONS)
    own = told[(told["month"] >= pd.Timestamp("2015-06-01")) & (told["language"] == "zh")]
    assert own["text"].str.contains("部分风格缺少所需数据，其权重闲置").all()
    assert not TOLD["text"].str.contains("闲置").any()
