"""What each hint says and what it means for the portfolio's return and risk, in both languages.

These are the only interpretations a narrative may contain. Statements about the future are conditional on purpose.
"""

from __future__ import annotations

from rotation_pipeline.narratives.options import Language, Period

HintText = tuple[str, str]
"""(statement, meaning)."""

HINT_TEXTS: dict[str, dict[Language, HintText]] = {
    "equal_weights": {
        "zh": ("各风格权重与等权无实质差异", "模型不作风格取舍，组合的收益与风险贴近等权基准"),
        "en": (
            "the weights differ from equal weight in name only",
            "the model takes no view among styles and the return and risk of the book stay with the equal-weight benchmark",
        ),
    },
    "equal_weight_clone": {
        "zh": ("截至目前的配置实为等权的翻版", "轮动尚未带来有别于等权的收益与风险"),
        "en": (
            "the allocation so far is an equal-weight clone",
            "rotation has brought neither return nor risk of its own",
        ),
    },
    "left_to_drift": {
        "zh": ("月末未在风格之间调仓，权重随收益自然漂移", "组合沿用既有的风格敞口，不产生风格间的调仓成本"),
        "en": (
            "nothing is traded between styles at the end of the month and the weights are left to drift with returns",
            "the book keeps the style bets it had and pays nothing for changing them",
        ),
    },
    "turning_defensive": {
        "zh": ("指数回撤之际配置转向防御", "若防御风格保持其特性，组合在下跌中损失较小，在反弹中收益也较少"),
        "en": (
            "the allocation turns defensive while the index is well below its high",
            "if defensive styles keep their character, the book loses less in a further fall and earns less in a rebound",
        ),
    },
    "trend_reinforced": {
        "zh": ("指数趋势向上而动量获增配，顺势倾向得到强化", "组合收益更依赖趋势的延续，趋势反转时的回撤风险也更大"),
        "en": (
            "momentum is given more weight while the index trends up, which reinforces the tilt to the trend",
            "return depends more on the trend going on and a reversal would cost more",
        ),
    },
    "trend_faded": {
        "zh": ("指数趋势向下而动量遭减配", "组合对趋势反转的敞口减小"),
        "en": (
            "momentum is given less weight while the index trends down",
            "the book is less exposed to a reversal of the trend",
        ),
    },
    "leaving_defence": {
        "zh": ("指数趋势向上而防御风格遭减配", "组合承担的市场风险上升，收益更依赖涨势的延续"),
        "en": (
            "defensive styles are given less weight while the index trends up",
            "the book carries more market risk and depends more on the rise going on",
        ),
    },
    "low_conviction": {
        "zh": ("调仓使权重向等权靠拢，显示信心减弱", "组合的收益与风险更接近等权基准"),
        "en": (
            "the weights are moved nearer to equal, a sign of low conviction",
            "return and risk come closer to those of the equal-weight benchmark",
        ),
    },
    "high_conviction": {
        "zh": ("调仓使权重进一步偏离等权，显示信心增强", "相对等权的收益与风险更集中于权重最高的风格"),
        "en": (
            "the weights are moved further from equal, a sign of more conviction",
            "return and risk against equal weight rest more on the style with the highest weight",
        ),
    },
    "fits_regime": {
        "zh": ("这一配置与市场状态相符", "状态若延续则有利于组合收益，主要风险在于状态切换"),
        "en": (
            "this position fits the market regime",
            "the book benefits if the regime persists, and a switch of regime is the main risk",
        ),
    },
    "opposes_regime": {
        "zh": ("这一配置与市场状态相悖", "状态若延续，组合收益可能承压"),
        "en": ("this position runs against the market regime", "return may suffer if the regime persists"),
    },
    "neutral_to_regime": {
        "zh": ("这一配置与市场状态没有明确的对应关系", "组合收益主要取决于风格自身的表现"),
        "en": (
            "this position neither fits nor opposes the market regime",
            "return rests on the style itself more than on the regime",
        ),
    },
    "tension": {
        "zh": ("收益预测与市场状态相左", "预测落空的风险随之上升"),
        "en": ("the forecasts and the market regime are in tension", "the risk of a wrong forecast is higher"),
    },
    "high_turnover": {
        "zh": ("本月换手偏高", "交易成本对费后收益的侵蚀随之加大"),
        "en": ("turnover is high", "costs take a larger part of the return"),
    },
    "deep_drawdown": {
        "zh": ("策略处于较深的回撤之中", "收复失地所需的涨幅大于已有的跌幅"),
        "en": ("the strategy is in a deep drawdown", "it takes a larger rise than the fall to regain the earlier high"),
    },
    "idle_weight": {
        "zh": ("部分风格缺少所需数据，其权重闲置", "闲置的权重既无收益也无风险，组合仅有部分资金在风格之间配置"),
        "en": (
            "some styles lack the figures they are made of and their weight lies idle",
            "idle weight has neither return nor risk and only a part of the book is allocated among styles",
        ),
    },
    "at_high": {
        "zh": ("净值处于回测以来的高点", "此前的回撤均已收复"),
        "en": ("its net value stands at the high of the backtest", "every earlier drawdown has been recovered"),
    },
    "favourite_lost": {
        "zh": ("上月末权重最高的风格本月多空收益为负", "持有该风格拖累了组合收益"),
        "en": (
            "the style with the highest weight a month earlier had a negative long-short return",
            "holding it took away from the return of the book",
        ),
    },
    "favourite_paid": {
        "zh": ("上月末权重最高的风格本月多空收益为正", "持有该风格为组合贡献了正收益"),
        "en": (
            "the style with the highest weight a month earlier had a positive long-short return",
            "holding it added to the return of the book",
        ),
    },
    "regime_changed": {
        "zh": ("市场状态较上月末发生切换", "对新状态的判断有待更多数据检验"),
        "en": ("the market regime has changed", "more data are needed to confirm the new one"),
    },
    "regime_uncertain": {
        "zh": ("市场状态的判断不够明确", "依赖这一判断的配置风险更大"),
        "en": ("the market regime is not clear", "an allocation that relies on it carries more risk"),
    },
    "volatility_high": {
        "zh": ("指数波动率处于近一年高位", "同样的风格敞口对应更大的收益波动"),
        "en": (
            "index volatility is high for the last year",
            "the same style bets come with wider swings of return",
        ),
    },
    "volatility_low": {
        "zh": ("指数波动率处于近一年低位", "同样的风格敞口对应更小的收益波动"),
        "en": (
            "index volatility is low for the last year",
            "the same style bets come with smaller swings of return",
        ),
    },
}
QUARTER_TEXTS: dict[str, dict[Language, HintText]] = {
    "equal_weights": {
        "zh": ("季末各风格权重与等权无实质差异", "模型不作风格取舍，组合的收益与风险贴近等权基准"),
        "en": (
            "at the quarter end the weights differ from equal weight in name only",
            "the model takes no view among styles and the return and risk of the book stay with the equal-weight benchmark",
        ),
    },
    "left_to_drift": {
        "zh": ("季内未在风格之间调仓，权重随收益自然漂移", "组合沿用既有的风格敞口，不产生风格间的调仓成本"),
        "en": (
            "nothing was traded between styles over the quarter and the weights were left to drift with returns",
            "the book keeps the style bets it had and pays nothing for changing them",
        ),
    },
    "high_turnover": {
        "zh": ("季内换手偏高", "交易成本对费后收益的侵蚀随之加大"),
        "en": ("turnover over the quarter is high", "costs take a larger part of the return"),
    },
    "favourite_lost": {
        "zh": ("上季末权重最高的风格本季度多空收益为负", "持有该风格拖累了组合收益"),
        "en": (
            "the style with the highest weight a quarter earlier had a negative long-short return",
            "holding it took away from the return of the book",
        ),
    },
    "favourite_paid": {
        "zh": ("上季末权重最高的风格本季度多空收益为正", "持有该风格为组合贡献了正收益"),
        "en": (
            "the style with the highest weight a quarter earlier had a positive long-short return",
            "holding it added to the return of the book",
        ),
    },
    "regime_changed": {
        "zh": ("市场状态较上季末发生切换", "对新状态的判断有待更多数据检验"),
        "en": ("the market regime is another than a quarter ago", "more data are needed to confirm the new one"),
    },
}
"""What is said otherwise of a quarter."""


def hint_texts(language: Language, period: Period) -> dict[str, HintText]:
    """Hint → (statement, meaning)."""
    texts = HINT_TEXTS if period == "month" else {**HINT_TEXTS, **QUARTER_TEXTS}
    return {name: pair[language] for name, pair in texts.items()}
