"""The fact table: values against slow references, replay equality, errors."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from narratives_cases import market

from rotation_pipeline.allocation.tables import TABLES as ALLOCATION
from rotation_pipeline.backtest.tables import TABLES as BACKTEST
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.factors.tables import TABLES as FACTORS
from rotation_pipeline.forecasting.tables import TABLES as FORECASTING
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS
from rotation_pipeline.narratives.collecting import compounded, favoured_style, percentile_of_last, ranks
from rotation_pipeline.narratives.fact import facts_hash
from rotation_pipeline.narratives.facts import fact_table
from rotation_pipeline.narratives.history import NarrativeInputError, NarrativeInputs
from rotation_pipeline.narratives.options import NarrativeOptions
from rotation_pipeline.narratives.tables import FACT_KINDS, FACTS, SUBJECTS
from rotation_pipeline.narratives.write import narrate
from rotation_pipeline.regimes.tables import TABLES as REGIMES

OPTIONS = NarrativeOptions()
MONTHS = pd.date_range("2014-01-01", periods=36, freq="MS")
INPUTS = market(7, 36)
TABLE = fact_table(INPUTS, MONTHS, OPTIONS)
BY_MONTH, BY_QUARTER = (TABLE[TABLE["period"] == period] for period in ("month", "quarter"))


def value(
    month: pd.Timestamp, subject: str, measure: str, table: pd.DataFrame = TABLE, period: str = "month"
) -> float | str | None:
    of_period = (table["month"] == month) & (table["period"] == period)
    rows = table[of_period & (table["fact_id"] == FACT_IDS[subject, measure])]
    if rows.empty:
        return None
    row = rows.iloc[0]
    return row["value"] if pd.isna(row["label"]) else row["label"]


def until(inputs: NarrativeInputs, month: pd.Timestamp) -> NarrativeInputs:
    """What was known at the close of the month."""
    frames = {item.name: getattr(inputs, item.name) for item in fields(NarrativeInputs)}
    return NarrativeInputs(**{name: frame[frame["month"] <= month] for name, frame in frames.items()})


def changed(name: str, frame: pd.DataFrame) -> NarrativeInputs:
    return replace(INPUTS, **{name: frame})


def test_table_is_as_declared() -> None:
    assert list(TABLE.columns) == FACTS.stored_names
    assert not TABLE.duplicated(["month", "period", "fact_id"]).any()
    assert TABLE.equals(TABLE.sort_values(["month", "period", "fact_id"], ignore_index=True))
    for name in ("kind", "subject", "unit"):
        assert set(TABLE[name]) <= set(FACTS.column(name).allowed)
    assert (TABLE["value"].isna() != TABLE["label"].isna()).all()
    assert TABLE["precision"].between(0, 6).all()
    assert TABLE["month"].dtype == TABLE["as_of"].dtype == TABLE["source_month"].dtype == "datetime64[ns]"


def test_every_fact_names_a_column_that_exists_and_a_month_known_by_then() -> None:
    declared = {
        f"{table.full_name}.{column.name}"
        for table in (*ALLOCATION, *BACKTEST, *FACTORS, *FORECASTING, *REGIMES)
        for column in table.columns
    }
    declared.add("intermediate.index_monthly.ret")  # a relational model
    assert set(TABLE["source_column"]) <= declared
    assert {spec.source for spec in CATALOGUE} <= declared
    reads = {*FACTS.column("value").reads, *FACTS.column("label").reads}
    assert set(TABLE["source_column"]) <= reads
    assert (TABLE["source_month"] <= TABLE["month"]).all()
    assert (TABLE["as_of"].dt.to_period("M") == TABLE["month"].dt.to_period("M")).all()


def test_ids_follow_kind_and_subject_and_never_move() -> None:
    order = [(FACT_KINDS.index(spec.kind), SUBJECTS.index(spec.subject)) for spec in CATALOGUE]
    assert order == sorted(order)
    assert list(FACT_IDS.values()) == [f"f{place:03d}" for place in range(1, len(CATALOGUE) + 1)]
    assert len(TABLE.groupby("fact_id")[["kind", "subject", "measure"]].agg("nunique").query("measure != 1")) == 0


def test_first_month_has_its_sample_sizes_only() -> None:
    first = TABLE[TABLE["month"] == MONTHS[0]]
    assert dict(zip(first["measure"], first["value"], strict=True)) == {
        "index_months": 0,
        "style_months": 0,
        "weight_months": 0,
    }


def drifted_weights() -> pd.DataFrame:
    """Slow reference: last month's weights times this month's returns, made to sum to 1 again."""
    weights = INPUTS.weights[INPUTS.weights["strategy"] == "rotation"].set_index(["month", "style"])["weight"]
    returns = INPUTS.longshort[INPUTS.longshort["kind"] == "style"].set_index(["month", "factor"])["long_short"]
    rows = {}
    for before, month in pairwise(MONTHS[12:]):
        grown = {style: weights[before, style] * (1.0 + returns[month, style]) for style in STYLES}
        rows[month] = {style: value / sum(grown.values()) for style, value in grown.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def test_a_weight_that_only_moved_with_returns_was_changed_by_nobody() -> None:
    """Weights move in every month; in the untraded ones no fact, hint or sentence speaks of a decision."""
    rotation = INPUTS.weights[INPUTS.weights["strategy"] == "rotation"].pivot_table(
        index="month", columns="style", values="weight"
    )
    traded = 100 * (rotation - drifted_weights())
    untraded = traded.index[(traded.abs() < 1e-9).all(axis=1)]
    assert len(untraded) >= 3
    decisions = (
        "turning_defensive",
        "trend_reinforced",
        "trend_faded",
        "leaving_defence",
        "low_conviction",
        "high_conviction",
    )
    told = narrate(TABLE, untraded, OPTIONS)
    for month in untraded:
        assert rotation.diff().loc[month].abs().max() > 0.001
        assert value(month, "strategy", "left_to_drift") == "left_to_drift"
        for measure in ("largest_increase", "largest_decrease", *decisions):
            assert value(month, "strategy", measure) is None, (month, measure)
        own = told[(told["month"] == month) & (told["period"] == "month")]
        zh, en = (own[own["language"] == name]["text"].item() for name in ("zh", "en"))
        assert "月末未在风格之间调仓，权重随收益自然漂移" in zh
        assert "the weights are left to drift with returns" in en
        assert not re.search("上调|下调|增配|减配|未作调整", zh)
        assert not re.search("raised|cut|increase|unchanged", en)
    assert set(BY_MONTH[BY_MONTH["measure"] == "left_to_drift"]["month"]) == set(untraded)


def test_the_first_month_of_weights_has_no_trade() -> None:
    first = INPUTS.weights["month"].min()
    for style in STYLES:
        assert value(first, style, "weight") is not None
        assert value(first, style, "weight_change") is None
    assert value(first, "strategy", "turnover") == 0.0
    for measure in ("largest_increase", "largest_decrease", "left_to_drift"):
        assert value(first, "strategy", measure) is None


@pytest.mark.parametrize(("points", "label"), [(0.04, None), (0.06, "VOL")])
def test_a_change_too_small_to_be_shown_is_no_change(points: float, label: str | None) -> None:
    month = MONTHS[20]
    weights = INPUTS.weights.copy()
    rows = (weights["month"] == month) & (weights["strategy"] == "rotation")
    weights.loc[rows, "drifted"] = weights.loc[rows, "weight"]
    weights.loc[rows & (weights["style"] == "VOL"), "drifted"] -= points / 100
    weights.loc[rows & (weights["style"] == "MOM"), "drifted"] += points / 100
    table = fact_table(changed("weights", weights), [month], OPTIONS)
    assert value(month, "VOL", "weight_change", table) == pytest.approx(points, abs=1e-9)
    assert value(month, "strategy", "largest_increase", table) == label
    assert value(month, "strategy", "largest_decrease", table) == (label and "MOM")


@pytest.mark.parametrize("place", [13, 17, 24, 35])
def test_numbers_against_pandas(place: int) -> None:
    month = MONTHS[place]
    index = INPUTS.index_returns.set_index("month")["ret"].loc[:month]
    assert value(month, "index", "return_1m") == index.iloc[-1]
    assert value(month, "index", "return_12m") == pytest.approx((1 + index.iloc[-12:]).prod() - 1, abs=1e-14)
    year = index.iloc[-12:].to_numpy()
    assert value(month, "index", "return_percentile") == pytest.approx((year[:-1] < year[-1]).mean() * 100)
    last = INPUTS.index_features.sort_values("day").groupby("month").last().loc[month]
    for name in ("volatility", "drawdown", "trend"):
        assert value(month, "index", name) == last[name]
    styles = INPUTS.longshort[INPUTS.longshort["kind"] == "style"].pivot_table(
        index="month", columns="factor", values="long_short"
    )
    rotation = INPUTS.weights[INPUTS.weights["strategy"] == "rotation"].pivot_table(
        index="month", columns="style", values="weight"
    )
    traded = 100 * (rotation - drifted_weights())
    forecast = INPUTS.forecasts.pivot_table(index="month", columns="style", values="mean").loc[month]
    for style in STYLES:
        returns = styles[style].loc[:month]
        assert value(month, style, "return_1m") == returns.iloc[-1]
        assert value(month, style, "return_3m") == pytest.approx((1 + returns.iloc[-3:]).prod() - 1, abs=1e-14)
        assert value(month, style, "return_12m") == pytest.approx((1 + returns.iloc[-12:]).prod() - 1, abs=1e-14)
        assert value(month, style, "weight") == rotation.loc[month, style]
        assert value(month, style, "weight_change") == pytest.approx(traded.loc[month, style], abs=1e-12)
        assert value(month, style, "above_equal") == pytest.approx(100 * (rotation.loc[month, style] - 0.2), abs=1e-12)
        assert value(month, style, "weight_rank") == rotation.loc[month].rank(ascending=False, method="min")[style]
        assert value(month, style, "forecast_rank") == forecast.rank(ascending=False, method="min")[style]
    is_traded = bool((traded.loc[month].abs() >= 0.05).any())
    assert value(month, "strategy", "largest_increase") == (traded.loc[month].idxmax() if is_traded else None)
    assert value(month, "strategy", "largest_decrease") == (traded.loc[month].idxmin() if is_traded else None)
    assert value(month, "strategy", "best_return") == styles.loc[month].idxmax()
    assert value(month, "strategy", "best_forecast") == forecast.idxmax()
    net = INPUTS.backtest.pivot_table(index="month", columns="strategy", values="net_return")
    assert value(month, "strategy", "net_return") == net.loc[month, "rotation"]
    assert value(month, "strategy", "excess") == pytest.approx(
        100 * (net["rotation"] - net["equal_weight"]).loc[month], abs=1e-12
    )


def test_regime_facts_name_the_column_of_the_label() -> None:
    hmm = INPUTS.regimes[INPUTS.regimes["detector"] == "hmm"].set_index("month")
    switched = 0
    for before, month in zip(hmm.index, hmm.index[1:], strict=False):
        label = hmm.loc[month, "regime"]
        assert value(month, "market", "regime") == label
        assert value(month, "market", "probability") == hmm.loc[month, f"p_{label}"]
        rows = BY_MONTH[(BY_MONTH["month"] == month) & (BY_MONTH["measure"] == "probability")]
        assert rows["source_column"].item() == f"marts.regimes.p_{label}"
        earlier = hmm.loc[before, "regime"]
        assert value(month, "market", "previous_regime") == (earlier if earlier != label else None)
        if earlier != label:
            switched += 1
            rows = BY_MONTH[(BY_MONTH["month"] == month) & (BY_MONTH["measure"] == "previous_regime")]
            assert rows["source_month"].item() == before
    assert switched > 2


def test_quarter_is_told_at_its_end_only() -> None:
    told = TABLE[TABLE["measure"] == "net_return_3m"]["month"]
    assert set(told.dt.month) == {3, 6, 9, 12}
    month = pd.Timestamp("2015-09-01")
    net = INPUTS.backtest.pivot_table(index="month", columns="strategy", values="net_return").loc[:month].iloc[-3:]
    both = (1 + net).prod() - 1
    assert value(month, "strategy", "net_return_3m") == pytest.approx(both["rotation"], abs=1e-14)
    assert value(month, "strategy", "excess_3m") == pytest.approx(
        100 * (both["rotation"] - both["equal_weight"]), abs=1e-12
    )


@pytest.mark.parametrize("place", [0, 3, 12, 14, 23, 35])
def test_replay(place: int) -> None:
    """Later rows, other months and computing alone change nothing, bit for bit, in facts and in text."""
    month = MONTHS[place]
    expected = TABLE[TABLE["month"] == month].reset_index(drop=True)
    for inputs, months in (
        (until(INPUTS, month), [month]),
        (INPUTS, [month]),
        (INPUTS, MONTHS[max(0, place - 5) : place + 2]),
    ):
        found = fact_table(inputs, months, OPTIONS)
        found = found[found["month"] == month].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    shuffled = NarrativeInputs(
        **{item.name: getattr(INPUTS, item.name).sample(frac=1, random_state=1) for item in fields(NarrativeInputs)}
    )
    pd.testing.assert_frame_equal(fact_table(shuffled, [month], OPTIONS), expected, check_exact=True)
    told = narrate(TABLE, MONTHS, OPTIONS)
    alone = narrate(expected, [month], OPTIONS)
    pd.testing.assert_frame_equal(told[told["month"] == month].reset_index(drop=True), alone, check_exact=True)


def test_hash_follows_the_facts_and_nothing_else() -> None:
    rows = TABLE[TABLE["month"] == MONTHS[20]]
    assert facts_hash(rows) == facts_hash(rows.sample(frac=1, random_state=2).assign(run_id="x"))
    other = rows.copy()
    place = other.index[other["value"].notna()][0]
    other.loc[place, "value"] = np.nextafter(other.loc[place, "value"], np.inf)
    assert facts_hash(rows) != facts_hash(other)


def test_small_functions() -> None:
    assert compounded([0.1, -0.1]) == pytest.approx(-0.01)
    assert compounded([0.1, None]) is None
    assert percentile_of_last([1.0, 2.0, 3.0, 3.0, 3.0]) == pytest.approx(75.0)
    assert percentile_of_last([None, 2.0]) is None
    assert ranks({"a": 1.0, "b": 2.0, "c": 2.0}) == {"a": 3, "b": 1, "c": 1}


def test_favourite_of_equal_weights_and_of_ties() -> None:
    equal = dict.fromkeys(STYLES, 0.2)
    assert favoured_style(equal, {}, 0.01) is None
    tied = {**equal, "MOM": 0.1, "VAL": 0.25, "SIZE": 0.25}
    assert favoured_style(tied, {}, 0.01) == "VAL"
    assert favoured_style(tied, {"VAL": 0.001, "SIZE": 0.002}, 0.01) == "SIZE"


BAD = {
    "missing column": (lambda: changed("books", INPUTS.books.drop(columns="turnover")), "marts.books lacks turnover"),
    "repeated": (lambda: changed("forecasts", pd.concat([INPUTS.forecasts, INPUTS.forecasts.tail(1)])), "two rows for 'SIZE' in 2016-12"),
    "infinite": (lambda: changed("longshort", INPUTS.longshort.assign(long_short=np.inf)), "long_short of 2014-01 is infinite|long_short of 2014-02 is infinite"),
    "style": (lambda: changed("weights", INPUTS.weights.query("style != 'VAL'")), "weight of 2015-01: rotation lacks VAL"),
    "drifted": (lambda: changed("weights", INPUTS.weights.drop(columns="drifted")), "marts.weights lacks drifted"),
    "drifted of a style": (
        lambda: changed("weights", INPUTS.weights.assign(drifted=INPUTS.weights["drifted"].where(INPUTS.weights["style"] != "VAL"))),
        "drifted of 2015-02: rotation lacks VAL",
    ),
    "null": (lambda: changed("backtest", INPUTS.backtest.assign(net_return=np.nan)), "net_return of 2015-02 is null"),
    "regime": (lambda: changed("regimes", INPUTS.regimes.assign(regime="crisis")), "'crisis', not one of"),
    "month": (lambda: changed("index_returns", INPUTS.index_returns.assign(month=pd.Timestamp("2015-01-05"))), "is no month"),
    "day": (lambda: changed("index_features", INPUTS.index_features.assign(day=pd.Timestamp("2015-01-05"))), "outside its month"),
    "features": (lambda: changed("index_features", INPUTS.index_features.query("month < '2016-12-01'")), "no row in 2016-12"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_are_named(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(NarrativeInputError, match=message):
        fact_table(make(), MONTHS, OPTIONS)


def test_real_index_of_2015() -> None:
    """Facts and narratives over the real SSE 50's history; June 2015 fell, as everybody remembers."""
    path = Path(__file__).resolve().parents[2] / "../shared/data/sse50/index_bars.parquet"
    if not path.exists():
        pytest.skip("the shared real data is not beside the project")
    bars = pd.read_parquet(path)
    bars = bars[bars["index_id"] == "000016.SH"].assign(day=lambda frame: pd.to_datetime(frame["day"]))
    close = bars.sort_values("day").set_index("day")["close"]
    months = close.index.to_period("M").to_timestamp()
    monthly = close.groupby(months).last()
    inputs = replace(
        INPUTS,
        index_returns=pd.DataFrame({"month": monthly.index, "ret": monthly.pct_change().to_numpy()}),
        index_features=pd.DataFrame(
            {
                "month": months,
                "day": close.index,
                "volatility": (close.pct_change().rolling(21).std() * np.sqrt(244)).to_numpy(),
                "drawdown": (close / close.rolling(244).max() - 1).to_numpy(),
                "trend": (close / close.rolling(244).mean() - 1).to_numpy(),
            }
        ),
    )
    stamps = monthly.index[13:]
    table = fact_table(inputs, stamps, OPTIONS)
    told = narrate(table, stamps, OPTIONS)
    assert (told["period"] == "month").sum() == 2 * len(stamps)
    month = pd.Timestamp("2015-06-01")
    expected = monthly.loc[month] / monthly.loc[pd.Timestamp("2015-05-01")] - 1
    assert value(month, "index", "return_1m", table) == pytest.approx(expected, abs=1e-12)
    assert expected < -0.05
    assert value(pd.Timestamp("2015-08-01"), "index", "drawdown", table) < -0.3


def test_a_style_without_figures_is_neither_forecast_nor_traded() -> None:
    longshort = INPUTS.longshort
    found = fact_table(changed("longshort", longshort[longshort["factor"] != "VAL"]), MONTHS, OPTIONS)
    told = ("forecast", "forecast_rank", "weight_change")
    for measure in told:
        ids = FACT_IDS["VAL", measure]
        assert TABLE[(TABLE["fact_id"] == ids)]["value"].notna().any()
        assert not found[(found["fact_id"] == ids)]["value"].notna().any()
    assert "VAL" in set(TABLE["label"])
    assert "VAL" not in set(found["label"])
