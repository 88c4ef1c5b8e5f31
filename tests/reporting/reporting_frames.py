"""Plausible frames for every table the report reads: random, but consistent with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import reporting_rows as rows

from rotation_pipeline.backtest.methods import method_text
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.data import ReportData, SourceKind

COSTS = (0.0, 10.0, 20.0, 30.0, 50.0)
COST = 20.0
BOOKS = {
    "rotation": "strategy", "softmax_mixture": "alternative", "softmax_network": "alternative", "equal_weight": "baseline",
    **{f"only_{style}": "baseline" for style in STYLES}, "rule_based": "baseline", "risk_parity": "baseline",
    "factor_momentum": "baseline", "oracle": "upper_bound", "index": "index",
}  # fmt: skip


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
    narratives, facts = rows.narrative_frames(stamps, weights)
    last = stamps[-1]
    return ReportData(
        source_kind=source_kind, source_name=source_name, month=last, run_id="r-0123456789ab", cost_bp=COST,
        index_id="000016.SH", verdict=FixedVerdict(),
        settings={"seed": 20240131, "allocation": {"temperature": 1.0, "inertia": 0.5}, "forecasting": {"seeds": [1, 2, 3]}},
        versions={"numpy": "2.4.0", "plotly": "7.1.0", "duckdb": "2.0.0"},
        weights=weights, books=books, backtest=backtest, measures=measures,
        significance=_significance(last), regimes=rows.regimes_frame(random, stamps, labels),
        regime_evidence=rows.regime_evidence_frame(last, labels, returns), regime_tests=rows.regime_tests_frame(random, last),
        regime_transitions=rows.regime_transitions_frame(last, labels), longshort=rows.longshort_frame(stamps, returns),
        groups=rows.groups_frame(random, stamps, returns, index), factor_summary=rows.factor_summary_frame(random, last, returns), index=index,
        expert_weights=rows.expert_weights_frame(random, stamps), forecast_scores=rows.forecast_scores_frame(random, last), forecasts=rows.forecasts_frame(random, stamps),
        narratives=narratives, facts=facts, quarantine=rows.quarantine_frame(stamps), ingestions=rows.ingestions_frame(random, stamps, source_name),
        trials=rows.trials_frame(last), attribution=rows.attribution_frame(random, backtest, dict(zip(stamps, labels, strict=True))),
        decay=rows.decay_frame(random, stamps),
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
    method = method_text("bootstrap", block=6)
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
                    method_text("adjusted", count=10),
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
                    method_text("hac"),
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
            method_text("deflated", of_excess=True, year=2014, maximum="0.107", trials=3),
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
            method_text("excess", year=12),
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
            method_text("record", of_excess=True, confidence="95%", year=2012, have="4.9"),
        ),
        (
            last,
            "rotation",
            "zero",
            "deflated_sharpe",
            0.41,
            None,
            None,
            0.59,
            3,
            method_text("deflated", year=2014, maximum="0.107", trials=3),
        ),
        (
            last,
            "rotation",
            "zero",
            "probabilistic_sharpe",
            0.91,
            None,
            None,
            0.09,
            None,
            method_text("probabilistic", year=2012),
        ),
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
            method_text("probabilistic", year=2012),
        ),
    ]
    return pd.DataFrame(
        rows,
        columns=["month", "strategy", "baseline", "statistic", "value", "low", "high", "p_value", "trials", "detail"],
    )
