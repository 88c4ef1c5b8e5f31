"""How facts are spoken: names, measures, directions and hints in Chinese and English.

A direction phrase always stands directly before its number (``上调`` 4.5个百分点, ``raised by`` 4.5 percentage points); the phrase
of a weight that was not traded (``未作调整``, ``left unchanged``) or of an excess of nothing (``与等权组合持平``) stands for its number.
A measure phrase and a subject stand somewhere before the number in the same sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.options import Language, NarrativeOptions, Period
from rotation_pipeline.narratives.wording_hints import hint_texts

Directions = tuple[str, str, str]
"""Phrases for a positive, a negative and a (at display precision) zero number."""
GroupMeasure = tuple[str, str]
"""(style | index | strategy | market, measure)."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "return_1m": ("return_percentile",),
    "volatility": ("volatility_percentile",),
    "weight": ("weight_change", "weight_change_q", "weight_rank", "above_equal"),
    "forecast": ("forecast_rank",),
}
"""Measures whose number may follow another measure's phrase, told apart by their unit or direction phrase."""
SINGLED_OUT: dict[str, tuple[str, ...]] = {
    "favoured": ("weight", "weight_change", "weight_change_q", "weight_rank", "above_equal"),
    "largest_increase": ("weight", "weight_change"),
    "largest_decrease": ("weight", "weight_change"),
    "largest_increase_q": ("weight", "weight_change_q"),
    "largest_decrease_q": ("weight", "weight_change_q"),
    "best_forecast": ("forecast", "forecast_rank"),
    "best_return": ("return_1m",),
    "worst_return": ("return_1m",),
    "best_return_q": ("return_q",),
    "worst_return_q": ("return_q",),
}
"""Facts that single out a style, and what a number after the style then measures."""
MAGNITUDES = frozenset({"drawdown"})
"""Measures stored as numbers ≤ 0 and spoken without sign."""
SILENT_ZEROS = frozenset({"weight_change", "weight_change_q", "excess", "excess_3m", "excess_q"})
"""Measures whose phrase for zero says it all, so no number follows it."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The phrases of one language."""

    language: Language
    subjects: dict[str, str]
    regimes: dict[str, str]
    measures: dict[GroupMeasure, str]
    directions: dict[GroupMeasure, Directions]
    hints: dict[str, tuple[str, str]]
    """Name → (what the hint states, what it means for return and risk)."""


def group(subject: str) -> str:
    """The group a subject belongs to: all styles are spoken of alike."""
    return "style" if subject in STYLES else subject


_ZH_MEASURES: dict[GroupMeasure, str] = {
    ("market", "regime"): "市场状态",
    ("market", "previous_regime"): "市场状态由",
    ("market", "probability"): "滤波概率",
    ("market", "months_in_regime"): "已持续",
    ("market", "index_months"): "指数收益样本",
    ("market", "style_months"): "风格多空收益样本",
    ("market", "weight_months"): "权重样本",
    ("market", "quarter_months"): "策略在季内的回测样本",
    ("market", "regime_months_q"): "季内处于该状态",
    ("index", "return_1m"): "本月收益",
    ("index", "return_3m"): "近3个月收益",
    ("index", "return_12m"): "近12个月收益",
    ("index", "return_q"): "本季度收益",
    ("index", "return_percentile"): "收益分位",
    ("index", "volatility"): "年化波动率",
    ("index", "volatility_percentile"): "波动率分位",
    ("index", "drawdown"): "回撤",
    ("strategy", "net_return"): "费后收益",
    ("strategy", "net_return_3m"): "近3个月费后收益",
    ("strategy", "net_return_q"): "本季度费后收益",
    ("strategy", "drawdown"): "回撤",
    ("strategy", "turnover"): "换手率",
    ("strategy", "factor_cost"): "调仓成本",
    ("strategy", "book_cost"): "风格内换仓成本",
    ("strategy", "turnover_q"): "季内累计换手率",
    ("strategy", "factor_cost_q"): "季内累计调仓成本",
    ("strategy", "book_cost_q"): "季内累计风格内换仓成本",
    ("strategy", "active_share"): "主动份额",
    ("strategy", "weight_spread"): "最高与最低权重之差",
    ("strategy", "favoured"): "权重最高的风格是",
    ("strategy", "largest_increase"): "增配最多的是",
    ("strategy", "largest_decrease"): "减配最多的是",
    ("strategy", "best_forecast"): "预测最高的是",
    ("strategy", "best_return"): "本月多空收益最高的是",
    ("strategy", "worst_return"): "本月多空收益最低的是",
    ("strategy", "largest_increase_q"): "季内增配最多的是",
    ("strategy", "largest_decrease_q"): "季内减配最多的是",
    ("strategy", "best_return_q"): "本季度多空收益最高的是",
    ("strategy", "worst_return_q"): "收益最低的是",
    ("style", "return_1m"): "本月多空收益",
    ("style", "return_3m"): "近3个月多空收益",
    ("style", "return_12m"): "近12个月多空收益",
    ("style", "return_q"): "本季度多空收益",
    ("style", "weight"): "权重",
    ("style", "weight_rank"): "权重排名",
    ("style", "forecast"): "下月多空收益预测",
    ("style", "forecast_rank"): "预测排名",
}
_ZH_DIRECTIONS: dict[GroupMeasure, Directions] = {
    ("index", "return_1m"): ("上涨", "下跌", "持平于"),
    ("index", "return_q"): ("上涨", "下跌", "持平于"),
    ("index", "trend"): ("高于年线", "低于年线", "与年线相差"),
    ("strategy", "net_return"): ("费后盈利", "费后亏损", "费后持平于"),
    ("strategy", "net_return_q"): ("费后盈利", "费后亏损", "费后持平于"),
    ("strategy", "excess"): ("领先等权组合", "落后等权组合", "与等权组合持平"),
    ("strategy", "excess_3m"): ("近3个月领先等权组合", "近3个月落后等权组合", "近3个月与等权组合持平"),
    ("strategy", "excess_q"): ("领先等权组合", "落后等权组合", "与等权组合持平"),
    ("style", "weight_change"): ("上调", "下调", "未作调整"),
    ("style", "weight_change_q"): ("累计上调", "累计下调", "合计未作调整"),
    ("style", "above_equal"): ("高于等权", "低于等权", "与等权相差"),
}
_EN_MEASURES: dict[GroupMeasure, str] = {
    ("market", "regime"): "market regime",
    ("market", "previous_regime"): "moved from",
    ("market", "probability"): "filtered probability",
    ("market", "months_in_regime"): "has lasted",
    ("market", "index_months"): "index return sample",
    ("market", "style_months"): "style return sample",
    ("market", "weight_months"): "weight sample",
    ("market", "quarter_months"): "backtest sample within the quarter",
    ("market", "regime_months_q"): "held within the quarter for",
    ("index", "return_1m"): "return this month",
    ("index", "return_3m"): "3-month return",
    ("index", "return_12m"): "12-month return",
    ("index", "return_q"): "quarterly return",
    ("index", "return_percentile"): "return percentile",
    ("index", "volatility"): "annualised volatility",
    ("index", "volatility_percentile"): "volatility percentile",
    ("index", "drawdown"): "drawdown",
    ("strategy", "net_return"): "net return",
    ("strategy", "net_return_3m"): "3-month net return",
    ("strategy", "net_return_q"): "quarterly net return",
    ("strategy", "drawdown"): "drawdown",
    ("strategy", "turnover"): "turnover",
    ("strategy", "factor_cost"): "cost of changing weights",
    ("strategy", "book_cost"): "cost inside the style books",
    ("strategy", "turnover_q"): "turnover over the quarter",
    ("strategy", "factor_cost_q"): "cost of changing weights in the quarter",
    ("strategy", "book_cost_q"): "cost inside the style books in the quarter",
    ("strategy", "active_share"): "active share",
    ("strategy", "weight_spread"): "gap between the highest and the lowest weight",
    ("strategy", "favoured"): "is heaviest in",
    ("strategy", "largest_increase"): "the largest increase goes to",
    ("strategy", "largest_decrease"): "the largest cut falls on",
    ("strategy", "best_forecast"): "the highest forecast belongs to",
    ("strategy", "best_return"): "the highest long-short return this month belongs to",
    ("strategy", "worst_return"): "the lowest long-short return this month belongs to",
    ("strategy", "largest_increase_q"): "the largest increase over the quarter goes to",
    ("strategy", "largest_decrease_q"): "the largest cut over the quarter falls on",
    ("strategy", "best_return_q"): "the highest quarterly long-short return belongs to",
    ("strategy", "worst_return_q"): "the lowest return belongs to",
    ("style", "return_1m"): "long-short return this month",
    ("style", "return_3m"): "3-month long-short return",
    ("style", "return_12m"): "12-month long-short return",
    ("style", "return_q"): "quarterly long-short return",
    ("style", "weight"): "weight",
    ("style", "weight_rank"): "weight rank",
    ("style", "forecast"): "forecast next-month long-short return",
    ("style", "forecast_rank"): "forecast rank",
}
_EN_DIRECTIONS: dict[GroupMeasure, Directions] = {
    ("index", "return_1m"): ("rose", "fell", "was flat at"),
    ("index", "return_q"): ("rose", "fell", "was flat at"),
    ("index", "trend"): ("above its 12-month average by", "below its 12-month average by", "away from its 12-month average by"),
    ("strategy", "net_return"): ("gained", "lost", "was flat at"),
    ("strategy", "net_return_q"): ("gained", "lost", "was flat at"),
    ("strategy", "excess"): ("beat equal weight by", "trailed equal weight by", "was level with equal weight"),
    ("strategy", "excess_3m"): (
        "beat equal weight over 3 months by", "trailed equal weight over 3 months by", "was level with equal weight over 3 months",
    ),
    ("strategy", "excess_q"): ("beat equal weight by", "trailed equal weight by", "was level with equal weight"),
    ("style", "weight_change"): ("raised by", "cut by", "left unchanged"),
    ("style", "weight_change_q"): ("raised in all by", "cut in all by", "left unchanged in all"),
    ("style", "above_equal"): ("above equal weight by", "below equal weight by", "away from equal weight by"),
}  # fmt: skip
_ZH_REGIMES = {"slow_bull": "慢牛", "bear": "熊市", "range": "震荡市"}
_EN_REGIMES = {"slow_bull": "slow bull", "bear": "bear", "range": "range-bound"}
_ZH_SUBJECTS = {"strategy": "轮动策略", "MOM": "动量", "VAL": "价值", "QLTY": "质量", "VOL": "低波动", "SIZE": "小市值"}
_EN_SUBJECTS = {
    "strategy": "the rotation strategy", "MOM": "momentum", "VAL": "value", "QLTY": "quality", "VOL": "low volatility", "SIZE": "small size",
}  # fmt: skip


def index_name(language: Language, options: NarrativeOptions) -> str:
    """The index's name in the language."""
    return options.index_name_zh if language == "zh" else options.index_name_en


def wording(language: Language, options: NarrativeOptions, period: Period = "month") -> Wording:
    """The phrases of a language for a month or quarter, with the index named as in the options."""
    return named_wording(language, index_name(language, options), period)


@lru_cache(maxsize=64)
def named_wording(language: Language, index: str, period: Period = "month") -> Wording:
    """The phrases of a language for a month or quarter, with the index of this name."""
    hints = hint_texts(language, period)
    if language == "zh":
        return Wording("zh", {"index": index, **_ZH_SUBJECTS}, _ZH_REGIMES, _ZH_MEASURES, _ZH_DIRECTIONS, hints)
    return Wording("en", {"index": index, **_EN_SUBJECTS}, _EN_REGIMES, _EN_MEASURES, _EN_DIRECTIONS, hints)
