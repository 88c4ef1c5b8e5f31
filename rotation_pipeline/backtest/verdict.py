"""The report's first paragraph, computed: does the strategy beat static equal weight after costs, and would one believe it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rotation_pipeline.allocation.frames import MissingMonthError, Month, as_month, by_month, numbers, rows_where
from rotation_pipeline.allocation.tables import STRATEGIES
from rotation_pipeline.backtest.history import BENCHMARK
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.styles import STYLES

State = Literal["beats", "no better", "worse", "clone"]
Language = Literal["zh", "en"]
STYLE_NAMES: dict[Language, dict[str, str]] = {
    "en": {"MOM": "momentum", "VAL": "value", "QLTY": "quality", "VOL": "low volatility", "SIZE": "small size"},
    "zh": {"MOM": "动量", "VAL": "价值", "QLTY": "质量", "VOL": "低波动", "SIZE": "小市值"},
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one strategy as of one month, and every number it rests on; NaN = cannot be computed yet."""

    state: State
    strategy: str
    month: pd.Timestamp
    months: int
    """Months of returns."""
    enough_months: bool
    cost_bp: float
    confidence: float
    net_return: float
    """Geometric, per year, after costs."""
    baseline_return: float
    sharpe: float
    baseline_sharpe: float
    difference: float
    """Sharpe ratio minus that of equal weight, per year, with the interval and p of the studentised bootstrap."""
    low: float
    high: float
    p_value: float
    excess: float
    """Mean net excess over equal weight, fraction per year."""
    excess_low: float
    excess_high: float
    deflated: float
    """Deflated Sharpe ratio of the net return."""
    deflated_excess: float
    """Deflated Sharpe ratio of the excess over equal weight."""
    trials: int
    threshold: float
    years_needed: float
    """Minimum track record of the excess, years; NaN: no length is enough."""
    is_clone: bool
    active_share: float
    """Mean ½ Σ|w − 1/K| so far."""
    forecast_r2: float
    """Out-of-sample R² of the mixture against the expanding mean, all styles pooled."""
    absent: tuple[str, ...] = ()
    """Styles without a return in any month: held alone they earn exactly nothing."""

    @property
    def is_believed(self) -> bool:
        """Both deflated Sharpe ratios reach the threshold; one that cannot be computed does not."""
        return self.deflated >= self.threshold and self.deflated_excess >= self.threshold

    def sentences(self, language: Language) -> tuple[str, ...]:
        """The verdict in words, in the language asked for; numbers that cannot be computed are said to be missing."""
        return _chinese(self) if language == "zh" else _english(self)


def verdict(
    measures: pd.DataFrame,
    significance: pd.DataFrame,
    books: pd.DataFrame,
    forecast_scores: pd.DataFrame | None,
    month: Month,
    options: BacktestOptions,
    strategy: str = STRATEGIES[0],
) -> Verdict:
    """Judge ``strategy`` as of ``month`` from rows of MEASURES, SIGNIFICANCE, BOOKS and (optional) forecast SCORES.

    State, first match wins: ``clone`` if BOOKS calls it an equal-weight clone; ``worse`` if the upper end of the interval of
    the Sharpe difference to equal weight is below 0; ``beats`` if its lower end is above 0 and both deflated Sharpe ratios (of the
    net return, and of the excess) reach the threshold; else ``no better``, which is also all one can say of too few months.
    MissingMonthError names the table and month to materialise.
    """
    stamp = as_month(month)
    own = _rows(measures, "marts.backtest_measures", stamp, sample="all", cost_bp=options.cost_bp)
    tests = _rows(significance, "marts.significance", stamp, strategy=strategy)
    book = _rows(books, "marts.books", stamp, strategy=strategy)
    of_strategy = rows_where(books, "strategy", strategy)
    shares = [
        share
        for when, rows in by_month(of_strategy).items()
        if when <= stamp
        for share in numbers(rows, "active_share")
    ]
    is_clone = bool(book["is_equal_weight_clone"].iloc[0])
    difference, low, high, p_value = _test(tests, BENCHMARK, "sharpe_difference_bootstrap")
    excess, excess_low, excess_high, _ = _test(tests, BENCHMARK, "excess_return")
    deflated = _test(tests, "zero", "deflated_sharpe")[0]
    deflated_excess = _test(tests, BENCHMARK, "deflated_sharpe")[0]
    believed = deflated >= options.deflated_threshold and deflated_excess >= options.deflated_threshold
    state: State = "no better"
    if is_clone:
        state = "clone"
    elif high < 0.0:
        state = "worse"
    elif low > 0.0 and believed:
        state = "beats"
    months = int(own["months"].iloc[0])
    return Verdict(
        state=state, strategy=strategy, month=stamp, months=months, enough_months=months >= options.minimum_months,
        cost_bp=options.cost_bp, confidence=options.confidence,
        net_return=_measure(own, strategy, "annualised_return"), baseline_return=_measure(own, BENCHMARK, "annualised_return"),
        sharpe=_measure(own, strategy, "sharpe"), baseline_sharpe=_measure(own, BENCHMARK, "sharpe"),
        difference=difference, low=low, high=high, p_value=p_value,
        excess=excess, excess_low=excess_low, excess_high=excess_high,
        deflated=deflated, deflated_excess=deflated_excess,
        trials=int(numbers(rows_where(tests, "statistic", "deflated_sharpe"), "trials")[0]), threshold=options.deflated_threshold,
        years_needed=_test(tests, BENCHMARK, "minimum_track_record")[0],
        is_clone=is_clone, active_share=math.fsum(shares) / len(shares), forecast_r2=_forecast_r2(forecast_scores, stamp),
        absent=_absent(own),
    )  # fmt: skip


def _rows(frame: pd.DataFrame, table: str, month: pd.Timestamp, **where: object) -> pd.DataFrame:
    chosen = rows_where(frame, "month", month)
    for column, value in where.items():
        chosen = rows_where(chosen, column, value)
    if chosen.empty:
        raise MissingMonthError(f"{table} has no rows for {month:%Y-%m} with {where}: materialise that month first")
    return chosen


def _measure(rows: pd.DataFrame, strategy: str, name: str) -> float:
    return float(numbers(rows_where(rows_where(rows, "strategy", strategy), "measure", name), "value")[0])


def _absent(rows: pd.DataFrame) -> tuple[str, ...]:
    flat = rows_where(rows_where(rows, "measure", "volatility"), "value", 0.0)["strategy"].tolist()
    return tuple(style for style in STYLES if f"only_{style}" in flat)


def _test(rows: pd.DataFrame, baseline: str, name: str) -> tuple[float, float, float, float]:
    row = rows_where(rows_where(rows, "baseline", baseline), "statistic", name)
    value, low, high, p_value = (float(numbers(row, column)[0]) for column in ("value", "low", "high", "p_value"))
    return value, low, high, p_value


def _forecast_r2(scores: pd.DataFrame | None, month: pd.Timestamp) -> float:
    if scores is None or scores.empty:
        return math.nan
    rows = rows_where(rows_where(rows_where(scores, "month", month), "expert", "mixture"), "style", "ALL")
    return math.nan if rows.empty else float(numbers(rows, "r2_out_of_sample")[0])


def _number(value: float, form: str, missing: str) -> str:
    # z: no minus before a rounded zero; and the minus is a minus, as in the tables
    return missing if math.isnan(value) else format(value, "z" + form).replace("-", "−")


def _english(v: Verdict) -> tuple[str, ...]:
    def say(value: float, form: str = ".2f") -> str:
        return _number(value, form, "not available")

    opening = {
        "beats": "The strategy beats static equal weight after costs.",
        "no better": "The strategy is not shown to be better than static equal weight after costs.",
        "worse": "The strategy is worse than static equal weight after costs.",
        "clone": "The strategy is an equal-weight clone: it hardly ever leaves equal weight.",
    }[v.state]
    if not v.enough_months and v.state != "clone":
        opening += f" There are only {v.months} months of returns, too few to test anything."
    span = f"{v.months} months to {v.month:%Y-%m}, {v.cost_bp:g} basis points per unit of turnover"
    inside = "not available" if math.isnan(v.low) else f"{say(v.low)} to {say(v.high)}"
    around = (
        "not available" if math.isnan(v.excess_low) else f"{say(v.excess_low, '.2%')} to {say(v.excess_high, '.2%')}"
    )
    belief = (
        "Counting the trials, it would be believed"
        if v.is_believed
        else "Counting the trials, it would not be believed"
    )
    return (
        opening,
        *_without_english(v.absent),
        f"Over {span}, it earned {say(v.net_return, '.2%')} a year net against {say(v.baseline_return, '.2%')}; Sharpe ratio "
        f"{say(v.sharpe)} against {say(v.baseline_sharpe)}.",
        f"Difference of the Sharpe ratios {say(v.difference)}, {v.confidence:.0%} interval {inside}, p = {say(v.p_value, '.3f')}; "
        f"mean excess {say(v.excess, '.2%')} a year, interval {around}.",
        f"{belief}: with {v.trials} counted, the deflated Sharpe ratio is {say(v.deflated)} for the net return and "
        f"{say(v.deflated_excess)} for the excess ({v.threshold:.2f} is needed for both); "
        + (
            "no length of record would make the excess credible at this size."
            if math.isnan(v.years_needed)
            else f"an excess of this quality needs {v.years_needed:.1f} years of record."
        ),
        f"Mean active share against equal weight {say(v.active_share, '.2%')}; out-of-sample R² of the forecasts {say(v.forecast_r2, '.2%')}.",
    )


def _without_english(absent: tuple[str, ...]) -> tuple[str, ...]:
    if not absent:
        return ()
    *others, last = (STYLE_NAMES["en"][style] for style in absent)
    listed = f"{', '.join(others)} and {last}" if others else last
    return (
        f"There are no figures for {listed} in any month: the verdict says nothing about {'them' if others else 'it'}, and "
        f"{'their' if others else 'its'} weight lies idle in every book, equal weight included.",
    )


def _without_chinese(absent: tuple[str, ...]) -> tuple[str, ...]:
    if not absent:
        return ()
    listed = "、".join(STYLE_NAMES["zh"][style] for style in absent)
    return (
        f"各月均无{listed}的数据：本结论不涉及{'这些' if len(absent) > 1 else '该'}风格，其权重在包括等权在内的每个组合中都闲置。",
    )


def _chinese(v: Verdict) -> tuple[str, ...]:
    def say(value: float, form: str = ".2f") -> str:
        return _number(value, form, "暂无")

    opening = {
        "beats": "扣除成本后，策略优于静态等权。",
        "no better": "扣除成本后，没有证据表明策略优于静态等权。",
        "worse": "扣除成本后，策略劣于静态等权。",
        "clone": "该策略等同于等权：权重几乎从未偏离等权。",
    }[v.state]
    if not v.enough_months and v.state != "clone":
        opening += f"仅有 {v.months} 个月的收益，样本太短，无法检验。"
    inside = "暂无" if math.isnan(v.low) else f"{say(v.low)} 至 {say(v.high)}"
    around = "暂无" if math.isnan(v.excess_low) else f"{say(v.excess_low, '.2%')} 至 {say(v.excess_high, '.2%')}"
    return (
        opening,
        *_without_chinese(v.absent),
        f"截至 {v.month:%Y-%m} 的 {v.months} 个月，按每单位换手 {v.cost_bp:g} 个基点计成本，策略年化净收益 {say(v.net_return, '.2%')}，"
        f"等权 {say(v.baseline_return, '.2%')}；夏普比率 {say(v.sharpe)}，等权 {say(v.baseline_sharpe)}。",
        f"夏普比率之差 {say(v.difference)}，{v.confidence:.0%} 区间 {inside}，p = {say(v.p_value, '.3f')}；"
        f"年均超额 {say(v.excess, '.2%')}，区间 {around}。",
        f"计入 {v.trials} 次试验后，结果{'可信' if v.is_believed else '不可信'}：去膨胀夏普比率（DSR）净收益为 {say(v.deflated)}，"
        f"超额为 {say(v.deflated_excess)}（两者均须达到 {v.threshold:.2f}）；"
        + (
            "以目前的超额，多长的记录都不足为证。"
            if math.isnan(v.years_needed)
            else f"这种质量的超额需要 {v.years_needed:.1f} 年的记录才可信。"
        ),
        f"相对等权的平均主动份额 {say(v.active_share, '.2%')}；预测的样本外 R²：{say(v.forecast_r2, '.2%')}。",
    )
