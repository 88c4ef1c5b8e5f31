"""Frames of regimes, styles, forecasts, texts and data quality for the report's tests."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd

from rotation_pipeline.backtest.tables import EFFECTS
from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, STYLES
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.regimes.names import REGIMES

HOSTILE = '<img src=x onerror=alert(1)>"\'&"'
"""Text that would run as a script if the page let it."""


def regimes_frame(random: np.random.Generator, stamps: pd.DatetimeIndex, labels: list[str]) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for detector in ("hmm", "kmeans"):
        run = 0
        for place, (month, label) in enumerate(zip(stamps, labels, strict=True)):
            run = run + 1 if place and labels[place - 1] == label else 1
            main = 0.55 + 0.44 * random.random()
            rest = (1.0 - main) * random.dirichlet([1.0, 1.0])
            others = iter(rest)
            rows.append(
                (month, detector, label, *(main if name == label else float(next(others)) for name in REGIMES), run)
            )
    return pd.DataFrame(
        rows, columns=["month", "detector", "regime", *(f"p_{name}" for name in REGIMES), "months_in_regime"]
    )


def regime_evidence_frame(last: pd.Timestamp, labels: list[str], returns: np.ndarray) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    known = np.array(labels)
    for labelling, sharper in (("filtered", 1.0), ("in_sample", 1.5)):
        for place, style in enumerate(STYLES):
            for regime in REGIMES:
                own = returns[known == regime, place]
                if not len(own):
                    rows.append((last, labelling, style, regime, 0, None, None, None, None, None, None, None))
                    continue
                mean = float(own.mean()) * sharper
                error = float(own.std()) / len(own) ** 0.5
                wide = len(own) >= 3
                rows.append((
                    last, labelling, style, regime, len(own), mean, 12 * mean, mean / error if wide else None, 3.46 * mean / 0.03 if wide else None,
                    mean - 1.96 * error if wide else None, mean + 1.96 * error if wide else None, float((own > 0).mean()),
                ))  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=[
            "month",
            "labelling",
            "style",
            "regime",
            "months",
            "mean",
            "annualised_mean",
            "t_newey_west",
            "sharpe",
            "low",
            "high",
            "hit_rate",
        ],
    )


def regime_tests_frame(random: np.random.Generator, last: pd.Timestamp) -> pd.DataFrame:
    rows = [
        (
            last,
            labelling,
            style,
            6 * random.random(),
            random.random(),
            random.random() * 0.3,
            min(1.0, random.random() * 0.5),
        )
        for labelling in ("filtered", "in_sample")
        for style in STYLES
    ]
    return pd.DataFrame(
        rows, columns=["month", "labelling", "style", "kruskal_h", "kruskal_p", "permutation_p", "adjusted_p"]
    )


def regime_transitions_frame(last: pd.Timestamp, labels: list[str]) -> pd.DataFrame:
    pairs = list(itertools.pairwise(labels))
    rows: list[tuple[object, ...]] = []
    for detector in ("hmm", "kmeans"):
        for before in REGIMES:
            left = sum(first == before for first, _ in pairs)
            rows.extend(
                (
                    last,
                    detector,
                    before,
                    after,
                    pairs.count((before, after)),
                    pairs.count((before, after)) / left if left else None,
                )
                for after in REGIMES
            )
    return pd.DataFrame(rows, columns=["month", "detector", "from_regime", "to_regime", "count", "probability"])


def longshort_frame(stamps: pd.DatetimeIndex, returns: np.ndarray) -> pd.DataFrame:
    rows = [
        (month, style, "style", returns[i, j], returns[i, j] * 0.9, 10, 10, 50, 0.35)
        for i, month in enumerate(stamps)
        for j, style in enumerate(STYLES)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "month",
            "factor",
            "kind",
            "long_short",
            "long_short_value_weighted",
            "n_long",
            "n_short",
            "n_members",
            "book_turnover",
        ],
    )


def groups_frame(
    random: np.random.Generator, stamps: pd.DatetimeIndex, returns: np.ndarray, index: pd.DataFrame
) -> pd.DataFrame:
    rows = [
        (
            month,
            style,
            group,
            10,
            index["ret"][i] + returns[i, j] * (group - 3) / 4 + random.normal(0.0, 0.006),
            0.0,
            0.2,
        )
        for i, month in enumerate(stamps)
        for j, style in enumerate(STYLES)
        for group in range(1, 6)
    ]
    return pd.DataFrame(rows, columns=["month", "factor", "quantile", "n", "return_equal", "return_value", "turnover"])


def factor_summary_frame(random: np.random.Generator, last: pd.Timestamp, returns: np.ndarray) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for place, factor in enumerate((*STYLES, *RAW_FACTOR_NAMES)):
        own = returns[:, place % len(STYLES)]
        value = np.cumprod(1.0 + own)
        mean, deviation = float(own.mean()), float(own.std())
        rows.append((
            last, factor, len(own), mean, mean / deviation * len(own) ** 0.5, mean / deviation * 12**0.5, float((own > 0).mean()),
            float((value / np.maximum.accumulate(value) - 1.0).min()), random.normal(0.02, 0.02), random.normal(0.2, 0.2), 0.55, random.uniform(-1, 1),
        ))  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=[
            "month",
            "factor",
            "months",
            "mean",
            "t_newey_west",
            "sharpe",
            "hit_rate",
            "max_drawdown",
            "ic_mean",
            "icir",
            "ic_positive",
            "monotonicity",
        ],
    )


def expert_weights_frame(random: np.random.Generator, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    level = np.zeros(len(EXPERTS))
    for month in stamps[3:]:
        level = level + random.normal(0.0, 0.15, len(EXPERTS))
        share = np.exp(level) / np.exp(level).sum()
        rows.extend((month, expert, float(share[place])) for place, expert in enumerate(EXPERTS))
    return pd.DataFrame(rows, columns=["month", "expert", "weight"])


def forecast_scores_frame(random: np.random.Generator, last: pd.Timestamp) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for expert in (*EXPERTS, "mixture"):
        for style in (*STYLES, "ALL"):
            p = random.random()
            rows.append((
                last, expert, style, 240 if style == "ALL" else 48, random.normal(-0.01, 0.02), None if expert == "zero" else random.uniform(0.45, 0.58),
                random.normal(0.03, 0.05) if style == "ALL" and expert != "zero" else None, random.normal(0.3, 1.0), p, random.uniform(0.7, 0.88),
            ))  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=[
            "month",
            "expert",
            "style",
            "months",
            "r2_out_of_sample",
            "hit_rate",
            "rank_correlation",
            "clark_west_t",
            "clark_west_p",
            "coverage",
        ],
    )


def forecasts_frame(random: np.random.Generator, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for month in stamps[3:]:
        for style in STYLES:
            mean = float(random.normal(0.002, 0.004))
            rows.append((month, style, mean, 0.03, mean - 0.04, mean + 0.04, 0.032))
    return pd.DataFrame(rows, columns=["month", "style", "mean", "standard_error", "low", "high", "volatility"])


def narrative_frames(stamps: pd.DatetimeIndex, weights: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    texts: list[tuple[object, ...]] = []
    facts: list[tuple[object, ...]] = []
    rotation = weights[weights["strategy"] == "rotation"].pivot(index="month", columns="style", values="weight")
    for month in stamps:
        style = str(rotation.loc[month].idxmax())
        weight = float(rotation.loc[month, style])
        day = month + pd.offsets.MonthEnd(0)
        facts.extend((
            (month, "f01", "regime", "market", "regime", None, "bear", "label", 0, day, "marts.regimes.regime", month),
            (month, "f02", "probability", "market", "probability", 0.83, None, "fraction", 0, day, "marts.regimes.p_bear", month),
            (month, "f03", "style", "strategy", "favoured", None, style, "label", 0, day, "marts.weights.weight", month),
            (month, "f04", "weight", style, "weight", weight, None, "fraction", 1, day, "marts.weights.weight", month),
            (month, "f05", "volatility", "index", "volatility", 0.214, None, "fraction_per_year", 1, day, "intermediate.index_features.volatility", month),
            (month, "f06", "rank", style, "forecast_rank", 1.0, None, "rank", 0, day, "marts.forecasts.mean", month),
            (month, "f07", "weight_change", style, "weight_change", -2.3, None, "points", 1, day, "marts.weights.weight", month),
            (month, "f08", "hint", "strategy", "turning_defensive", None, "turning_defensive", "label", 0, day, "marts.weights.weight", month),
        ))  # fmt: skip
        for language, sentences in (
            ("en", ("The market is labelled a bear market with probability 83%, at a volatility of 21.4% a year.", f"The model is heaviest in {style} with a weight of {weight:.1%}, its highest.", "The book is turning defensive.")),
            ("zh", ("市场处于熊市状态，概率 83%，年化波动率 21.4%。", f"模型持有最多的是{style}，权重 {weight:.1%}。", "组合转向防御。")),
        ):  # fmt: skip
            stated = (("f01", "f02", "f05"), ("f03", "f04"), ("f08",))
            body = json.dumps(
                [{"text": text, "fact_ids": list(ids)} for text, ids in zip(sentences, stated, strict=True)],
                ensure_ascii=False,
            )
            joined = ("" if language == "zh" else " ").join(sentences)
            texts.append((month, language, joined, body, "template", "no_endpoint"))
    narratives = pd.DataFrame(texts, columns=["month", "language", "text", "sentences", "source", "reason"])
    columns = [
        "month",
        "fact_id",
        "kind",
        "subject",
        "measure",
        "value",
        "label",
        "unit",
        "precision",
        "as_of",
        "source_column",
        "source_month",
    ]
    return narratives, pd.DataFrame(facts, columns=columns)


def quarantine_frame(stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [
        (stamps[0], "daily_bars", "price_positive", "{}", "quarantined", "close is −1", "{}", HOSTILE, "x"),
        (stamps[4], "daily_bars", "limit_exceeded", '{"a":1}', "warning", "moved 31 %", "{}", "files", "x"),
        (stamps[5], "fundamentals", HOSTILE, '{"a":2}', "quarantined", "announced in the future", "{}", "files", "x"),
    ]
    return pd.DataFrame(
        rows, columns=["month", "table_name", "rule", "row_key", "severity", "detail", "row", "source", "ingestion"]
    )


def ingestions_frame(random: np.random.Generator, stamps: pd.DatetimeIndex, source: str) -> pd.DataFrame:
    usual = {
        "daily_bars": 1000,
        "daily_valuation": 1000,
        "dividends": 5,
        "fundamentals": 60,
        "index_bars": 21,
        "index_members": 50,
        "listings": 60,
        "trading_days": 21,
    }
    rows = [
        (
            month,
            source,
            table,
            f"{month:%Y-%m-%d} 00:00",
            int(size * random.uniform(0.8, 1.1)),
            int(random.integers(0, 2)),
            0,
            "ab" * 32,
            "simulated",
            "1",
        )
        for month in stamps
        for table, size in usual.items()
        if not (table == "dividends" and month.month in (1, 2, 3))
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "month",
            "source",
            "table_name",
            "fetched_at",
            "rows",
            "quarantined",
            "warnings",
            "sha256",
            "source_kind",
            "source_version",
        ],
    )


def trials_frame(last: pd.Timestamp) -> pd.DataFrame:
    rows = [
        (
            last,
            f"{place}a1b2c3d4e5f60718",
            "book",
            strategy,
            json.dumps({"temperature": 1.0, "inertia": 0.5}),
            59,
            0.12,
            0.01 * place,
        )
        for place, strategy in enumerate(("rotation", "softmax_mixture", "softmax_network"))
    ]
    return pd.DataFrame(
        rows,
        columns=["month", "trial_id", "kind", "strategy", "configuration", "months", "sharpe", "information_ratio"],
    )


def attribution_frame(
    random: np.random.Generator, backtest: pd.DataFrame, labels: dict[pd.Timestamp, str]
) -> pd.DataFrame:
    """Effects of the headline book that sum to its excess over equal weight in every month."""
    net = backtest.pivot(index="month", columns="strategy", values="net_return")
    rows: list[tuple[object, ...]] = []
    for month, excess in (net["rotation"] - net["equal_weight"]).items():
        parts = random.normal(0.0, 0.001, (len(EFFECTS), len(STYLES)))
        parts[2, 0] += float(excess) - parts.sum()
        before = pd.Timestamp(str(month)) - pd.DateOffset(months=1)
        rows.extend(
            (month, "rotation", effect, style, labels[before], parts[i, j])
            for i, effect in enumerate(EFFECTS)
            for j, style in enumerate(STYLES)
        )
    return pd.DataFrame(rows, columns=["month", "strategy", "effect", "style", "regime", "value"])


def decay_frame(random: np.random.Generator, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    """Rank ICs that fade with the age of the score; a month has the ages its history reaches."""
    rows = [
        (month, factor, age, 0.06 / age + random.normal(0.0, 0.1))
        for place, month in enumerate(stamps)
        for factor in STYLES
        for age in range(1, min(place, 12) + 1)
    ]
    return pd.DataFrame(rows, columns=["month", "factor", "horizon", "rank_ic"])
