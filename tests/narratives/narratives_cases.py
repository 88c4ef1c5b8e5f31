"""Random inputs and fact tables for the tests of the narrative stage."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS, decimals
from rotation_pipeline.narratives.fact import Fact
from rotation_pipeline.narratives.history import NarrativeInputs
from rotation_pipeline.narratives.options import NarrativeOptions, Period
from rotation_pipeline.regimes.names import REGIMES

INDEX_NAMES = (
    ("上证50", "the SSE 50"),
    ("沪深300", "the CSI 300"),
    ("中证1000", "the CSI 1000"),
    ("科创50指数", "the STAR 50 index"),
    ("A股指数", "the A-share index"),
)
SPECIAL = {
    "fraction": (0.0, 1e-9, -1e-9, 0.00005, -0.00005, 0.99995, -0.2, 1.5, 0.125),
    "points": (0.0, -1e-7, 0.04, -0.05, 0.05, 12.0, -30.0, 0.25),
    "fraction_per_year": (0.0, 0.0004999, 1.2345),
}
NON_NEGATIVE = frozenset(
    {
        "probability",
        "turnover",
        "factor_cost",
        "book_cost",
        "active_share",
        "weight_spread",
        "volatility",
        "turnover_q",
        "factor_cost_q",
        "book_cost_q",
    }
)


def random_value(rng: np.random.Generator, unit: str, measure: str) -> float:
    """A value of the unit, now and then one on the edge of rounding."""
    if unit in SPECIAL and rng.random() < 0.1:
        value = float(rng.choice(SPECIAL[unit]))
    elif unit == "points":
        value = float(rng.normal(0.0, 4.0))
    elif unit == "fraction_per_year":
        value = float(rng.uniform(0.05, 0.7))
    elif unit == "rank":
        return float(rng.integers(1, 6))
    elif unit == "months":
        return (
            float(rng.integers(1, 4))
            if measure in ("quarter_months", "regime_months_q")
            else float(rng.integers(0, 200))
        )
    elif unit == "percentile":
        return float(rng.integers(0, 23) / 22 * 100)
    else:
        value = float(rng.normal(0.0, 0.06))
    if measure in NON_NEGATIVE:
        return abs(value) if measure != "probability" else min(abs(value) * 8, 1.0)
    return -min(abs(value), 1.0) if measure == "drawdown" else value


def random_facts(
    rng: np.random.Generator,
    options: NarrativeOptions,
    present: float | None = None,
    hints: float = 0.3,
    period: Period = "month",
) -> dict[str, Fact]:
    """Facts of one month or quarter: each one there with probability ``present`` (itself random unless given), values unrelated.

    The sample sizes are always there, as :func:`fact_table` promises.
    """
    share = rng.choice([0.0, 0.3, 0.7, 0.9, 1.0]) if present is None else present
    facts: dict[str, Fact] = {}
    for spec in CATALOGUE:
        if not spec.belongs(period):
            continue
        always = spec.measure in ("index_months", "style_months", "weight_months", "quarter_months")
        chance = hints if spec.kind == "hint" else share
        if not always and rng.random() >= chance:
            continue
        value, label = None, None
        if spec.kind == "hint":
            label = spec.measure
        elif spec.kind == "regime":
            label = str(rng.choice(REGIMES))
        elif spec.kind == "style":
            label = str(rng.choice(STYLES))
        else:
            value = random_value(rng, spec.unit, spec.measure)
        fact_id = FACT_IDS[spec.key]
        facts[fact_id] = Fact(
            fact_id, spec.kind, spec.subject, spec.measure, value, label, spec.unit, decimals(spec, options)
        )
    return facts


def random_options(rng: np.random.Generator) -> NarrativeOptions:
    """Options with one of the index names and random decimals."""
    zh, en = INDEX_NAMES[int(rng.integers(len(INDEX_NAMES)))]
    return NarrativeOptions(
        index_name_zh=zh,
        index_name_en=en,
        return_decimals=int(rng.integers(0, 4)),
        weight_decimals=int(rng.integers(0, 3)),
        volatility_decimals=int(rng.integers(0, 3)),
        probability_decimals=int(rng.integers(0, 3)),
    )


def market(seed: int, months: int, start: str = "2014-01-01") -> NarrativeInputs:
    """Inputs of ``months`` consecutive months; returns from the first, regimes after 6, weights and backtest after 12.

    In about three of ten months nothing is traded: the weights are the drifted ones.
    """
    rng = np.random.default_rng(seed)
    stamps = pd.date_range(start, periods=months, freq="MS")
    regimes, features, weights, books, forecasts, longshort, backtest, index = [], [], [], [], [], [], [], []
    last, regime, spell = np.full(5, np.nan), "range", 0
    for place, month in enumerate(stamps):
        if place > 0:
            index.append((month, rng.normal(0.005, 0.07)))
            returns = rng.normal(0.003, 0.03, 5)
            longshort += [(month, style, "style", ret) for style, ret in zip(STYLES, returns, strict=True)]
            grown = last * (1.0 + returns)
            last = grown / grown.sum()
        longshort.append((month, "mom_20", "raw", rng.normal()))
        for day in (month + pd.offsets.BMonthEnd(1) - pd.Timedelta(days=7), month + pd.offsets.BMonthEnd(1)):
            known = place >= 2
            features.append(
                (
                    month,
                    day,
                    rng.uniform(0.1, 0.5) if known else np.nan,
                    -rng.uniform(0.0, 0.4) if known else np.nan,
                    rng.normal(0.0, 0.1) if place >= 11 else np.nan,
                )
            )
        if place >= 6:
            changed = rng.random() < 0.3
            regime, spell = (str(rng.choice(REGIMES)), 1) if changed else (regime, spell + 1)
            p = rng.dirichlet(np.ones(3))
            regimes.append((month, "hmm", regime, *p, spell))
            regimes.append((month, "kmeans", "bear", *p, 1))
        if place >= 12:
            drifted = last
            target = np.full(5, 0.2) if rng.random() < 0.2 else rng.dirichlet(np.full(5, 8.0))
            if place > 12 and rng.random() < 0.3:
                target = drifted  # within the band: nothing is traded
            weights += [(month, "rotation", s, w, d) for s, w, d in zip(STYLES, target, drifted, strict=True)]
            weights += [(month, "equal_weight", s, 0.2, 0.2) for s in STYLES]
            share = 0.5 * np.abs(target - 0.2).sum()
            turnover = 0.5 * np.abs(target - drifted).sum() if place > 12 else 0.0
            books.append((month, "rotation", turnover, share, share < 0.01))
            forecasts += [(month, style, rng.normal(0.002, 0.01)) for style in STYLES]
            last = target
        if place >= 13:
            backtest += [
                (month, name, rng.normal(0.003, 0.02), -rng.uniform(0.0, 0.3), 0.0002, 0.0011)
                for name in ("rotation", "equal_weight", "index")
            ]
    return NarrativeInputs(
        weights=pd.DataFrame(weights, columns=["month", "strategy", "style", "weight", "drifted"]),
        books=pd.DataFrame(books, columns=["month", "strategy", "turnover", "active_share", "is_equal_weight_clone"]),
        forecasts=pd.DataFrame(forecasts, columns=["month", "style", "mean"]),
        longshort=pd.DataFrame(longshort, columns=["month", "factor", "kind", "long_short"]),
        regimes=pd.DataFrame(
            regimes,
            columns=["month", "detector", "regime", *(f"p_{name}" for name in REGIMES), "months_in_regime"],
        ),
        index_features=pd.DataFrame(features, columns=["month", "day", "volatility", "drawdown", "trend"]),
        index_returns=pd.DataFrame(index, columns=["month", "ret"]),
        backtest=pd.DataFrame(
            backtest, columns=["month", "strategy", "net_return", "drawdown", "factor_cost", "book_cost"]
        ),
    )
