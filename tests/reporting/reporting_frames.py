"""Plausible frames for every table the report reads: random, but consistent with each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rotation_pipeline.factors.styles import RAW_FACTOR_NAMES, STYLES
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.data import ReportData, SourceKind

COSTS = (0.0, 10.0, 20.0, 30.0, 50.0)
COST = 20.0
BOOKS = {
    "rotation": "strategy", "softmax_mixture": "alternative", "softmax_network": "alternative", "equal_weight": "baseline",
    **{f"only_{style}": "baseline" for style in STYLES}, "rule_based": "baseline", "risk_parity": "baseline",
    "factor_momentum": "baseline", "oracle": "upper_bound", "index": "index",
}  # fmt: skip
HOSTILE = '<img src=x onerror=alert(1)>"\'&"'


@dataclass(frozen=True)
class FixedVerdict:
    """A verdict as the backtest stage computes it."""

    state: str = "not_proven"

    def sentences(self, language: str) -> Sequence[str]:
        if language == "zh":
            return (
                "扣除成本后，没有证据表明策略优于静态等权。",
                "夏普比率之差 0.08，95 % 区间 −0.31 至 0.44，p = 0.680；年均超额 0.40 %。",
                "计入 3 个试验过的配置后，结果不可信：去膨胀夏普比率为 0.41。",
            )
        return (
            "The strategy is not shown to be better than static equal weight after costs.",
            "Difference of the Sharpe ratios 0.08, 95 % interval −0.31 to 0.44, p = 0.680; mean excess 0.40 % a year.",
            "Counting the trials, it would not be believed: with 3 configurations evaluated, the deflated Sharpe ratio is 0.41.",
        )


def build(
    months: int = 60,
    start: str = "2015-01-01",
    source_kind: SourceKind = "simulated",
    source_name: str = "simulated market, seed 7",
) -> ReportData:
    """A full set of tables over ``months`` months."""
    random = np.random.default_rng(11)
    stamps = pd.date_range(start, periods=months, freq="MS")
    labels = _regime_path(random, months)
    returns = _style_returns(random, labels)
    index = _index(random, stamps, labels)
    weights, books = _weights(random, stamps, returns)
    backtest = _backtest(stamps, returns, weights, books, index)
    measures = _measures(backtest, labels, stamps)
    narratives, facts = _narratives(stamps, weights)
    last = stamps[-1]
    return ReportData(
        source_kind=source_kind, source_name=source_name, month=last, run_id="r-0123456789ab", cost_bp=COST,
        index_id="000016.SH", verdict=FixedVerdict(),
        settings={"seed": 20240131, "allocation": {"temperature": 1.0, "inertia": 0.5}, "forecasting": {"seeds": [1, 2, 3]}},
        versions={"numpy": "2.4.0", "plotly": "7.1.0", "duckdb": "2.0.0"},
        weights=weights, books=books, backtest=backtest, measures=measures,
        significance=_significance(last), regimes=_regimes(random, stamps, labels),
        regime_evidence=_evidence(last, labels, returns), regime_tests=_tests(random, last),
        regime_transitions=_transitions(last, labels), longshort=_longshort(stamps, returns),
        groups=_groups(random, stamps, returns, index), factor_summary=_summary(random, last, returns), index=index,
        expert_weights=_expert_weights(random, stamps), forecast_scores=_scores(random, last), forecasts=_forecasts(random, stamps),
        narratives=narratives, facts=facts, quarantine=_quarantine(stamps), ingestions=_ingestions(random, stamps, source_name),
        trials=_trials(last),
    )  # fmt: skip


def _regime_path(random: np.random.Generator, months: int) -> list[str]:
    path = [0]
    for _ in range(months - 1):
        path.append(path[-1] if random.random() < 0.88 else int(random.integers(3)))
    return [REGIMES[place] for place in path]


def _style_returns(random: np.random.Generator, labels: list[str]) -> np.ndarray:
    premia = {
        "slow_bull": (0.010, -0.002, 0.002, -0.003, 0.004),
        "bear": (-0.012, 0.008, 0.006, 0.011, -0.006),
        "range": (0.001, 0.004, 0.003, 0.002, 0.003),
    }
    return np.array([premia[label] for label in labels]) + random.normal(0.0, 0.032, (len(labels), len(STYLES)))


def _index(random: np.random.Generator, stamps: pd.DatetimeIndex, labels: list[str]) -> pd.DataFrame:
    drift = {"slow_bull": (0.018, 0.04), "bear": (-0.035, 0.09), "range": (0.002, 0.03)}
    ret = np.array([random.normal(*drift[label]) for label in labels])
    return pd.DataFrame({"month": stamps, "close": 2200.0 * np.cumprod(1.0 + ret), "ret": ret})


def _weights(
    random: np.random.Generator, stamps: pd.DatetimeIndex, returns: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[tuple[object, ...]] = []
    books: list[tuple[object, ...]] = []
    for strategy, role in BOOKS.items():
        if role in ("upper_bound", "index"):
            continue
        held = np.full(len(STYLES), 0.2)
        for place, month in enumerate(stamps):
            drifted = held * (1.0 + returns[place])
            drifted = drifted / drifted.sum()
            if strategy.startswith("only_"):
                target = np.array([1.0 if style == strategy[5:] else 0.0 for style in STYLES])
            elif strategy == "equal_weight" or place < 12:
                target = np.full(len(STYLES), 0.2)
            else:
                target = 0.2 + np.clip(random.normal(0.0, 0.06, len(STYLES)), -0.12, 0.12)
                target = target / target.sum()
            held = target if strategy.startswith("only_") else 0.6 * drifted + 0.4 * target
            rows.extend(
                (month, strategy, style, None, target[i], held[i], None if place == 0 else drifted[i])
                for i, style in enumerate(STYLES)
            )
            turnover = 0.0 if place == 0 else 0.5 * float(np.abs(held - drifted).sum())
            books.append((month, strategy, turnover, 0.5 * float(np.abs(held - 0.2).sum()), strategy == "equal_weight"))
    columns = ["month", "strategy", "style", "score", "target", "weight", "drifted"]
    return (
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(books, columns=["month", "strategy", "turnover", "active_share", "is_equal_weight_clone"]),
    )


def _backtest(
    stamps: pd.DatetimeIndex, returns: np.ndarray, weights: pd.DataFrame, books: pd.DataFrame, index: pd.DataFrame
) -> pd.DataFrame:
    parts: list[pd.DataFrame] = []
    for strategy, role in BOOKS.items():
        earned = stamps[1:]
        if role == "index":
            gross, turnover = index["ret"].to_numpy()[1:], np.zeros(len(earned))
        elif role == "upper_bound":
            gross, turnover = returns[1:].max(axis=1) * 0.5, np.full(len(earned), 0.3)
        else:
            own = (
                weights[weights["strategy"] == strategy]
                .pivot(index="month", columns="style", values="weight")[list(STYLES)]
                .to_numpy()
            )
            gross = (own[:-1] * returns[1:]).sum(axis=1)
            turnover = books.loc[books["strategy"] == strategy, "turnover"].to_numpy()[:-1]
        book_turnover = np.zeros(len(earned)) if role == "index" else np.full(len(earned), 0.35)
        net = gross - (turnover + book_turnover) * COST / 1e4
        value = np.cumprod(1.0 + net)
        high = np.maximum(np.maximum.accumulate(value), 1.0)
        parts.append(
            pd.DataFrame({
                "month": earned, "strategy": strategy, "role": role, "gross_return": gross, "factor_turnover": turnover,
                "book_turnover": book_turnover, "factor_cost": turnover * COST / 1e4, "book_cost": book_turnover * COST / 1e4,
                "net_return": net, "net_value": value, "drawdown": value / high - 1.0,
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True).sort_values(["month", "strategy"]).reset_index(drop=True)


def _measures(backtest: pd.DataFrame, labels: list[str], stamps: pd.DatetimeIndex) -> pd.DataFrame:
    label = dict(zip(stamps, labels, strict=True))
    base = backtest[backtest["strategy"] == "equal_weight"].set_index("month")
    last = stamps[-1]
    rows: list[tuple[object, ...]] = []
    for strategy in BOOKS:
        own = backtest[backtest["strategy"] == strategy].set_index("month")
        samples = {"all": own.index, "forecast": own.index[12:], "last36": own.index[-36:]}
        samples |= {f"regime:{name}": own.index[[label[month] == name for month in own.index]] for name in REGIMES}
        samples |= {f"year:{year}": own.index[own.index.year == year] for year in sorted(set(own.index.year))}
        for sample, chosen in samples.items():
            for cost in COSTS if sample == "all" else (COST,):
                turnover = (own["factor_turnover"] + own["book_turnover"])[chosen]
                net = own["gross_return"][chosen] - turnover * cost / 1e4
                rival = (
                    base["gross_return"][chosen]
                    - (base["factor_turnover"] + base["book_turnover"])[chosen] * cost / 1e4
                )
                rows.extend((last, strategy, sample, cost, *row, len(chosen)) for row in _numbers(net, rival, turnover))
    return pd.DataFrame(
        rows, columns=["month", "strategy", "sample", "cost_bp", "measure", "value", "low", "high", "months"]
    )


def _numbers(
    net: pd.Series, rival: pd.Series, turnover: pd.Series
) -> list[tuple[str, float | None, float | None, float | None]]:
    if len(net) < 3:
        return [("annualised_return", None, None, None), ("sharpe", None, None, None)]
    deviation = float(net.std())
    sharpe = float(net.mean()) / deviation * 12**0.5
    half = 1.96 * (12.0 / len(net)) ** 0.5
    value = (1.0 + net).cumprod()
    excess = net - rival
    error = float(excess.std())
    ratio = float(excess.mean()) / error * 12**0.5 if error > 1e-12 else None
    return [
        ("annualised_return", float(value.iloc[-1] ** (12.0 / len(net)) - 1.0), None, None),
        ("volatility", deviation * 12**0.5, None, None), ("sharpe", sharpe, sharpe - half, sharpe + half),
        ("max_drawdown", float((value / value.cummax() - 1.0).min()), None, None), ("factor_turnover", float(turnover.mean()) / 10.0, None, None),
        ("cost_drag", 12.0 * float(turnover.mean()) * COST / 1e4, None, None), ("total_return", float(value.iloc[-1] - 1.0), None, None),
        ("excess_return", 12.0 * float(excess.mean()), None, None),
        ("information_ratio", ratio, None if ratio is None else ratio - half, None if ratio is None else ratio + half),
    ]  # fmt: skip


def _significance(last: pd.Timestamp) -> pd.DataFrame:
    method = "studentised bootstrap, blocks of 6 (Ledoit-Wolf 2008)"
    rows: list[tuple[object, ...]] = []
    for baseline, role in BOOKS.items():
        if role in ("baseline", "index"):
            rows += [
                (
                    last,
                    "rotation",
                    baseline,
                    "sharpe_difference_adjusted",
                    0.08,
                    None,
                    None,
                    0.91,
                    None,
                    "adjusted over 10 comparisons",
                ),
                (last, "rotation", baseline, "sharpe_difference_bootstrap", 0.08, -0.31, 0.44, 0.68, None, method),
                (
                    last,
                    "rotation",
                    baseline,
                    "sharpe_difference_hac",
                    0.08,
                    -0.28,
                    0.41,
                    0.66,
                    None,
                    "HAC (Ledoit-Wolf 2008)",
                ),
            ]
    rows += [
        (
            last,
            "rotation",
            "equal_weight",
            "deflated_sharpe",
            0.33,
            None,
            None,
            0.67,
            3,
            "Bailey-López de Prado 2014; of the excess return",
        ),
        (
            last,
            "rotation",
            "equal_weight",
            "excess_return",
            0.004,
            -0.009,
            0.018,
            0.55,
            None,
            "stationary bootstrap (Politis-Romano 1994)",
        ),
        (
            last,
            "rotation",
            "equal_weight",
            "minimum_track_record",
            41.3,
            None,
            None,
            None,
            None,
            "years needed at 95%; have 4.9",
        ),
        (last, "rotation", "zero", "deflated_sharpe", 0.41, None, None, 0.59, 3, "Bailey-López de Prado 2014"),
        (last, "rotation", "zero", "probabilistic_sharpe", 0.91, None, None, 0.09, None, "Bailey-López de Prado 2012"),
        (
            last,
            "softmax_mixture",
            "zero",
            "probabilistic_sharpe",
            0.7,
            None,
            None,
            0.3,
            None,
            "Bailey-López de Prado 2012",
        ),
    ]
    return pd.DataFrame(
        rows,
        columns=["month", "strategy", "baseline", "statistic", "value", "low", "high", "p_value", "trials", "detail"],
    )


def _regimes(random: np.random.Generator, stamps: pd.DatetimeIndex, labels: list[str]) -> pd.DataFrame:
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


def _evidence(last: pd.Timestamp, labels: list[str], returns: np.ndarray) -> pd.DataFrame:
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


def _tests(random: np.random.Generator, last: pd.Timestamp) -> pd.DataFrame:
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


def _transitions(last: pd.Timestamp, labels: list[str]) -> pd.DataFrame:
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


def _longshort(stamps: pd.DatetimeIndex, returns: np.ndarray) -> pd.DataFrame:
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


def _groups(
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


def _summary(random: np.random.Generator, last: pd.Timestamp, returns: np.ndarray) -> pd.DataFrame:
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


def _expert_weights(random: np.random.Generator, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    level = np.zeros(len(EXPERTS))
    for month in stamps[3:]:
        level = level + random.normal(0.0, 0.15, len(EXPERTS))
        share = np.exp(level) / np.exp(level).sum()
        rows.extend((month, expert, float(share[place])) for place, expert in enumerate(EXPERTS))
    return pd.DataFrame(rows, columns=["month", "expert", "weight"])


def _scores(random: np.random.Generator, last: pd.Timestamp) -> pd.DataFrame:
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


def _forecasts(random: np.random.Generator, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for month in stamps[3:]:
        for style in STYLES:
            mean = float(random.normal(0.002, 0.004))
            rows.append((month, style, mean, 0.03, mean - 0.04, mean + 0.04, 0.032))
    return pd.DataFrame(rows, columns=["month", "style", "mean", "standard_error", "low", "high", "volatility"])


def _narratives(stamps: pd.DatetimeIndex, weights: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
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
            ("en", ("The market is labelled a bear market with probability 83%, at a volatility of 21.4% a year.", f"The model favours {style} with a weight of {weight:.1%}, its highest.", "The book is turning defensive.")),
            ("zh", ("市场处于熊市状态，概率 83%，年化波动率 21.4%。", f"模型最偏好{style}，权重 {weight:.1%}。", "组合转向防御。")),
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


def _quarantine(stamps: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [
        (stamps[0], "daily_bars", "price_positive", "{}", "quarantined", "close is −1", "{}", HOSTILE, "x"),
        (stamps[4], "daily_bars", "limit_exceeded", '{"a":1}', "warning", "moved 31 %", "{}", "files", "x"),
        (stamps[5], "fundamentals", HOSTILE, '{"a":2}', "quarantined", "announced in the future", "{}", "files", "x"),
    ]
    return pd.DataFrame(
        rows, columns=["month", "table_name", "rule", "row_key", "severity", "detail", "row", "source", "ingestion"]
    )


def _ingestions(random: np.random.Generator, stamps: pd.DatetimeIndex, source: str) -> pd.DataFrame:
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


def _trials(last: pd.Timestamp) -> pd.DataFrame:
    rows = [
        (last, f"{place}a1b2c3d4e5f60718", strategy, json.dumps({"temperature": 1.0, "inertia": 0.5}), 59, 0.12)
        for place, strategy in enumerate(("rotation", "softmax_mixture", "softmax_network"))
    ]
    return pd.DataFrame(rows, columns=["month", "trial_id", "strategy", "configuration", "months", "sharpe"])
