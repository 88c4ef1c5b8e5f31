"""Wording that no narrative may contain, written without looking at the stage's own lists; by class and language."""

from __future__ import annotations

PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "number words": {
        "zh": (
            "约三成", "超过一半", "两倍有余", "百分之五", "几个百分点", "近半数", "连续三个月", "五个风格中居前", "翻了一番", "数十个基点",
            "一成左右", "四分之一", "第二位", "壹佰点", "廿个基点", "２个百分点", "六大风格", "十余次", "逾千点", "零增长",
        ),
        "en": (
            "about one third", "half of the book", "twice the usual", "a couple of points", "twenty percent", "dozens of names", "two in five",
            "double the benchmark", "a quarter of the weight", "for three months", "the first time", "several hundred points", "tenfold", "zero",
            "nine tenths", "a single point", "５ percent", "four styles", "in second place", "a dozen basis points",
        ),
    },
    "invented amount": {
        "zh": (
            "带来1.35%的收益", "换手率为77.7%", "贡献0.8个百分点", "成本为12个基点", "规模增至3.5亿元", "累计盈利9.87%", "胜率为63%", "夏普比率为1.2",
            "权重为99.9%", "滤波概率为3%", "近12个月第7百分位", "已持续321个月", "跟踪误差为4.4%", "回撤为55.55%", "排第9位", "成交额为8000亿元",
            "市盈率为11.2倍", "下月多空收益预测为6.66%", "年化波动率为88.8%", "费后盈利7.77%",
        ),
        "en": (
            "adding 1.35%", "with turnover of 77.7%", "a contribution of 0.8 percentage points", "costs were 12 bp", "assets grew to 3.5 billion",
            "a cumulative gain of 9.87%", "with a hit rate of 63%", "a Sharpe ratio of 1.2", "with a weight of 99.9%", "with a filtered probability of 3%",
            "at the 7th percentile of the last 12 months", "has lasted 321 months", "a tracking error of 4.4%", "with a drawdown of 55.55%", "ranked 9th",
            "amounts reached 800", "at 11.2 times earnings", "its forecast next-month long-short return is 6.66%", "its annualised volatility was 88.8%",
            "gained 7.77%",
        ),
    },
    "cause": {
        "zh": (
            "由于资金回流", "因估值修复", "受外资流入推动", "得益于盈利改善", "主要源于换手下降", "归因于风险偏好", "在流动性宽松带动下", "这使得动量走强",
            "从而拉低了波动", "因此模型调仓", "受基本面支撑", "起因是获利了结", "随着情绪回暖", "是资金面所致", "背后是业绩驱动", "缘于抛压减轻",
        ),
        "en": (
            "because funds flowed back", "due to a repair of valuations", "driven by foreign inflows", "thanks to better earnings", "as liquidity eased",
            "owing to lower turnover", "which led to the fall", "so the model shifted", "therefore the weights moved", "on the back of sentiment",
            "a result of profit taking", "since risk appetite returned", "reflecting the mood", "which explains the move", "behind it was retail demand",
            "the reason was selling pressure",
        ),
    },
    "event": {
        "zh": (
            "央行宣布降准", "印花税下调之后", "贸易摩擦升级", "疫情爆发之后", "两会召开之际", "救市资金入场", "熔断机制触发", "美联储加息之后", "监管收紧场外配资",
            "龙头公司暴雷", "某大型房企违约", "新股发行重启", "外部冲突升级", "国庆长假前夕", "财报季来临", "贵州茅台大涨",
        ),
        "en": (
            "after the central bank cut rates", "after the stamp duty was lowered", "in the trade war", "during the pandemic", "at the time of the congress",
            "when rescue funds entered", "after the circuit breaker", "after the Fed hike", "when regulators curbed margin lending", "as a large developer defaulted",
            "after the merger", "when new listings resumed", "around the election", "before the holiday", "in the reporting season", "with Kweichow Moutai",
        ),
    },
    "superlative": {
        "zh": (
            "为历史最高", "创下新低", "居各风格之首", "表现最佳", "独占鳌头", "前所未有", "是今年以来最弱的一个月", "首屈一指", "刷新纪录", "位居榜首",
            "无出其右", "登顶", "达到峰值", "跌至谷底", "名列前茅", "最为突出",
        ),
        "en": (
            "the highest on record", "a new low", "the best of all styles", "the strongest month", "the top performer", "unprecedented", "the weakest this year",
            "second to none", "a record", "leading the pack", "unmatched", "the largest ever", "at its peak", "at the bottom", "the most of any", "first class",
        ),
    },
    "forecast": {
        "zh": (
            "后市有望继续上涨", "未来将延续强势", "预计下月走高", "或将迎来反弹", "短期仍会承压", "料维持震荡", "明年可期", "反转在即", "大概率企稳", "上行空间打开",
            "调整尚未结束", "拐点临近", "可能继续回落", "势必修复", "即将见底", "前景向好",
        ),
        "en": (
            "it will keep rising", "further gains are likely", "expected to go up next month", "may rebound", "a recovery is near", "set to continue",
            "the outlook is better", "could fall again", "about to turn", "more upside lies ahead", "the correction is not over", "poised for a rally",
            "momentum should persist", "tomorrow looks brighter", "bound to recover", "a turn is coming",
        ),
    },
    "advice": {
        "zh": (
            "建议增持动量", "投资者宜保持谨慎", "不妨逢低布局", "应当降低仓位", "可适当关注价值", "值得配置", "宜获利了结", "须警惕风险", "不宜追高", "推荐持有",
            "是入场良机", "可考虑减仓", "请注意回撤", "切勿盲目", "买入时机已到", "当以防守为主",
        ),
        "en": (
            "investors should add momentum", "caution is advised", "a chance to buy", "it is time to reduce", "consider value", "worth holding",
            "take profits", "beware of risk", "do not chase", "we recommend the style", "an entry point", "better to wait", "mind the drawdown",
            "stay invested", "hedging is prudent", "own quality",
        ),
    },
    "soft praise": {
        "zh": (
            "表现亮眼", "走势稳健", "整体令人满意", "配置效果良好", "韧性十足", "可圈可点", "不负众望", "风格轮动颇具成效", "策略运行平稳", "组合质地上乘",
            "把握了市场节奏", "展现出专业水准", "模型的判断得到验证", "取得可喜成绩", "进退有据", "组合在市场中表现",
        ),
        "en": (
            "a strong showing", "in a robust manner", "overall a pleasing month", "the allocation worked well", "with resilience", "to its credit",
            "as one would hope", "rotation proved its worth", "the strategy ran smoothly", "a high-class book", "in tune with the market",
            "showing professional skill", "the model was right", "a welcome result", "in good order", "the strategy stood with the market",
        ),
    },
    "degree adverb": {
        "zh": (
            "大幅", "小幅", "明显", "显著", "略微", "急剧", "非常", "十分", "稍稍", "极其", "颇为", "相当", "剧烈", "轻度", "强势", "缓慢", "几乎", "逐渐", "更加", "仅仅",
        ),
        "en": (
            "sharply", "slightly", "markedly", "significantly", "very", "extremely", "barely", "strongly", "modestly", "hugely", "quickly", "gradually",
            "nearly", "only", "just", "rather", "quite", "dramatically", "hardly", "almost",
        ),
    },
}  # fmt: skip
