"""The template's clauses, by language, for months and quarters.

A group is clauses that belong together; without its first clause it is left out, and so is any other whose facts are missing.
Clauses name facts by ``subject.measure``; a role (``favoured.weight``) stands for the style a label fact names.
"""

from __future__ import annotations

from dataclasses import dataclass

from rotation_pipeline.narratives.options import Language, Period

Group = tuple[str, ...]
"""Clauses that belong together."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """The groups of a text, sentence by sentence."""

    trend: Group
    volatility: Group
    same_volatility: Group
    """The volatility when the index has just been named."""
    changed: Group
    lasting: Group
    drawdown: str
    """What a turn to defence refers to."""
    favoured: Group
    """The last clause is what was traded of it."""
    increased: Group
    decreased: Group
    active: Group
    """How far equal weights are from equal."""
    extremes: tuple[Group, Group]
    """Styles with the highest and the lowest return."""
    fit: Group
    sample: Group
    """Over how many months of the quarter the strategy was tested; of a month nothing."""
    result: Group
    """The last clause is the drawdown."""
    turnover: Group
    same_turnover: Group
    """The turnover when the strategy has just been named."""
    samples: tuple[Group, ...]


_ZH_SAMPLES = tuple((f"{{market.{name}|measure}}为{{market.{name}|value}}",) for name in ("index_months", "style_months", "weight_months"))  # fmt: skip
_EN_SAMPLES = tuple((f"the {{market.{name}|measure}} is {{market.{name}|value}}",) for name in ("index_months", "style_months", "weight_months"))  # fmt: skip
_ZH_MONTH = Patterns(
    trend=("{index.return_1m|subject}本月{index.return_1m|dir}{index.return_1m|abs}", "{index.trend|dir}{index.trend|abs}"),
    volatility=(
        "{index.volatility|subject}{index.volatility|measure}为{index.volatility|value}", "处于{index.volatility_percentile|value}",
    ),
    same_volatility=("{index.volatility|measure}为{index.volatility|value}", "处于{index.volatility_percentile|value}"),
    changed=(
        "{market.previous_regime|measure}{market.previous_regime|label}转为{market.regime|label}",
        "{market.probability|measure}为{market.probability|value}",
    ),
    lasting=(
        "{market.regime|measure}为{market.regime|label}",
        "{market.probability|measure}为{market.probability|value}",
        "{market.months_in_regime|measure}{market.months_in_regime|value}",
    ),
    drawdown="{index.drawdown|subject}{index.drawdown|measure}为{index.drawdown|value}",
    favoured=(
        "模型{strategy.favoured|measure}{strategy.favoured|label}",
        "为{favoured.weight|value}",
        "{favoured.above_equal|dir}{favoured.above_equal|abs}",
        "月末{favoured.weight_change|dir}{favoured.weight_change|abs}",
    ),
    increased=(
        "{strategy.largest_increase|measure}{strategy.largest_increase|label}",
        "{increased.weight|measure}{increased.weight_change|dir}{increased.weight_change|abs}至{increased.weight|value}",
    ),
    decreased=(
        "{strategy.largest_decrease|measure}{strategy.largest_decrease|label}",
        "{decreased.weight|measure}{decreased.weight_change|dir}{decreased.weight_change|abs}至{decreased.weight|value}",
    ),
    active=("{strategy.active_share|subject}{strategy.active_share|measure}为{strategy.active_share|value}",),
    extremes=(
        ("{strategy.best_return|measure}{strategy.best_return|label}", "为{best.return_1m|value}"),
        ("{strategy.worst_return|measure}{strategy.worst_return|label}", "为{worst.return_1m|value}"),
    ),
    fit=(
        "{favoured.forecast|subject}的{favoured.forecast|measure}为{favoured.forecast|value}",
        "在各风格中排{favoured.forecast_rank|value}",
        "{favoured.return_3m|measure}为{favoured.return_3m|value}",
    ),
    sample=(),
    result=(
        "{strategy.net_return|subject}本月{strategy.net_return|dir}{strategy.net_return|abs}",
        "{strategy.excess|dir}{strategy.excess|abs}",
        "{strategy.drawdown|measure}为{strategy.drawdown|value}",
    ),
    turnover=("{strategy.turnover|subject}月末{strategy.turnover|measure}为{strategy.turnover|value}",),
    same_turnover=("月末{strategy.turnover|measure}为{strategy.turnover|value}",),
    samples=_ZH_SAMPLES,
)  # fmt: skip
_EN_MONTH = Patterns(
    trend=(
        "{index.return_1m|subject} {index.return_1m|dir} {index.return_1m|abs} this month",
        "and stood {index.trend|dir} {index.trend|abs}",
    ),
    volatility=(
        "{index.volatility|measure} of {index.volatility|subject} was {index.volatility|value}",
        "at {index.volatility_percentile|value}",
    ),
    same_volatility=("its {index.volatility|measure} was {index.volatility|value}", "at {index.volatility_percentile|value}"),
    changed=(
        "the {market.regime|measure} {market.previous_regime|measure} {market.previous_regime|label} to {market.regime|label}",
        "with a {market.probability|measure} of {market.probability|value}",
    ),
    lasting=(
        "the {market.regime|label} {market.regime|measure} {market.months_in_regime|measure} {market.months_in_regime|value}",
        "with a {market.probability|measure} of {market.probability|value}",
    ),
    drawdown="{index.drawdown|subject} stands at a {index.drawdown|measure} of {index.drawdown|value}",
    favoured=(
        "the model {strategy.favoured|measure} {strategy.favoured|label}",
        "with a {favoured.weight|measure} of {favoured.weight|value}",
        "{favoured.above_equal|dir} {favoured.above_equal|abs}",
        "and {favoured.weight_change|dir} {favoured.weight_change|abs} at the month end",
    ),
    increased=(
        "{strategy.largest_increase|measure} {strategy.largest_increase|label}",
        "its {increased.weight|measure} {increased.weight_change|dir} {increased.weight_change|abs} to {increased.weight|value}",
    ),
    decreased=(
        "{strategy.largest_decrease|measure} {strategy.largest_decrease|label}",
        "its {decreased.weight|measure} {decreased.weight_change|dir} {decreased.weight_change|abs} to {decreased.weight|value}",
    ),
    active=("the {strategy.active_share|measure} of {strategy.active_share|subject} is {strategy.active_share|value}",),
    extremes=(
        ("{strategy.best_return|measure} {strategy.best_return|label}", "at {best.return_1m|value}"),
        ("{strategy.worst_return|measure} {strategy.worst_return|label}", "at {worst.return_1m|value}"),
    ),
    fit=(
        "the {favoured.forecast|measure} of {favoured.forecast|subject} is {favoured.forecast|value}",
        "ranked {favoured.forecast_rank|value} among the styles",
        "while its {favoured.return_3m|measure} is {favoured.return_3m|value}",
    ),
    sample=(),
    result=(
        "after costs {strategy.net_return|subject} {strategy.net_return|dir} {strategy.net_return|abs} this month",
        "{strategy.excess|dir} {strategy.excess|abs}",
        "and stood at a {strategy.drawdown|measure} of {strategy.drawdown|value}",
    ),
    turnover=("{strategy.turnover|measure} of {strategy.turnover|subject} at the end of the month was {strategy.turnover|value}",),
    same_turnover=("its {strategy.turnover|measure} at the end of the month was {strategy.turnover|value}",),
    samples=_EN_SAMPLES,
)  # fmt: skip
_ZH_QUARTER = Patterns(
    trend=("{index.return_q|subject}本季度{index.return_q|dir}{index.return_q|abs}", "季末{index.trend|dir}{index.trend|abs}"),
    volatility=_ZH_MONTH.volatility,
    same_volatility=("季末{index.volatility|measure}为{index.volatility|value}", "处于{index.volatility_percentile|value}"),
    changed=(*_ZH_MONTH.changed, "{market.regime_months_q|measure}{market.regime_months_q|value}"),
    lasting=_ZH_MONTH.lasting,
    drawdown=_ZH_MONTH.drawdown,
    favoured=(
        "季末模型{strategy.favoured|measure}{strategy.favoured|label}",
        "为{favoured.weight|value}",
        "{favoured.above_equal|dir}{favoured.above_equal|abs}",
        "季内{favoured.weight_change_q|dir}{favoured.weight_change_q|abs}",
    ),
    increased=(
        "{strategy.largest_increase_q|measure}{strategy.largest_increase_q|label}",
        "{increased_q.weight|measure}{increased_q.weight_change_q|dir}{increased_q.weight_change_q|abs}至{increased_q.weight|value}",
    ),
    decreased=(
        "{strategy.largest_decrease_q|measure}{strategy.largest_decrease_q|label}",
        "{decreased_q.weight|measure}{decreased_q.weight_change_q|dir}{decreased_q.weight_change_q|abs}至{decreased_q.weight|value}",
    ),
    active=_ZH_MONTH.active,
    extremes=(
        ("{strategy.best_return_q|measure}{strategy.best_return_q|label}", "为{best_q.return_q|value}"),
        ("{strategy.worst_return_q|measure}{strategy.worst_return_q|label}", "为{worst_q.return_q|value}"),
    ),
    fit=_ZH_MONTH.fit[:2],
    sample=("{market.quarter_months|measure}为{market.quarter_months|value}",),
    result=(
        "{strategy.net_return_q|subject}本季度{strategy.net_return_q|dir}{strategy.net_return_q|abs}",
        "{strategy.excess_q|dir}{strategy.excess_q|abs}",
        "季末{strategy.drawdown|measure}为{strategy.drawdown|value}",
    ),
    turnover=("{strategy.turnover_q|subject}{strategy.turnover_q|measure}为{strategy.turnover_q|value}",),
    same_turnover=("{strategy.turnover_q|measure}为{strategy.turnover_q|value}",),
    samples=_ZH_SAMPLES,
)  # fmt: skip
_EN_QUARTER = Patterns(
    trend=(
        "over the quarter {index.return_q|subject} {index.return_q|dir} {index.return_q|abs}",
        "and stood {index.trend|dir} {index.trend|abs} at the quarter end",
    ),
    volatility=_EN_MONTH.volatility,
    same_volatility=_EN_MONTH.same_volatility,
    changed=(
        _EN_MONTH.changed[0], "which {market.regime_months_q|measure} {market.regime_months_q|value}", _EN_MONTH.changed[1],
    ),
    lasting=_EN_MONTH.lasting,
    drawdown=_EN_MONTH.drawdown,
    favoured=(
        "at the quarter end the model {strategy.favoured|measure} {strategy.favoured|label}",
        "with a {favoured.weight|measure} of {favoured.weight|value}",
        "{favoured.above_equal|dir} {favoured.above_equal|abs}",
        "and {favoured.weight_change_q|dir} {favoured.weight_change_q|abs} over the quarter",
    ),
    increased=(
        "{strategy.largest_increase_q|measure} {strategy.largest_increase_q|label}",
        "its {increased_q.weight|measure} {increased_q.weight_change_q|dir} {increased_q.weight_change_q|abs} to {increased_q.weight|value}",
    ),
    decreased=(
        "{strategy.largest_decrease_q|measure} {strategy.largest_decrease_q|label}",
        "its {decreased_q.weight|measure} {decreased_q.weight_change_q|dir} {decreased_q.weight_change_q|abs} to {decreased_q.weight|value}",
    ),
    active=_EN_MONTH.active,
    extremes=(
        ("{strategy.best_return_q|measure} {strategy.best_return_q|label}", "at {best_q.return_q|value}"),
        ("{strategy.worst_return_q|measure} {strategy.worst_return_q|label}", "at {worst_q.return_q|value}"),
    ),
    fit=_EN_MONTH.fit[:2],
    sample=("the {market.quarter_months|measure} is {market.quarter_months|value}",),
    result=(
        "after costs {strategy.net_return_q|subject} {strategy.net_return_q|dir} {strategy.net_return_q|abs} over the quarter",
        "{strategy.excess_q|dir} {strategy.excess_q|abs}",
        "and stood at a {strategy.drawdown|measure} of {strategy.drawdown|value}",
    ),
    turnover=("{strategy.turnover_q|measure} of {strategy.turnover_q|subject} is {strategy.turnover_q|value}",),
    same_turnover=("its {strategy.turnover_q|measure} is {strategy.turnover_q|value}",),
    samples=_EN_SAMPLES,
)  # fmt: skip
PATTERNS: dict[tuple[Language, Period], Patterns] = {
    ("zh", "month"): _ZH_MONTH,
    ("en", "month"): _EN_MONTH,
    ("zh", "quarter"): _ZH_QUARTER,
    ("en", "quarter"): _EN_QUARTER,
}
