"""Words: those a narrative may use freely, and those it may not, by what is wrong with them.

The two checks use the two lists the other way round. The text check lets pass only what it knows (facts, their phrases and
the neutral words below); the slot check refuses what it knows to be wrong. So a blind spot of one is not one of the other.
"""

from __future__ import annotations

import re

from rotation_pipeline.narratives.options import Language, Period

NEUTRAL: dict[Language, tuple[str, ...]] = {
    "zh": (
        "本月", "当月", "月末", "为", "的", "在", "与", "和", "则", "其", "其中", "至", "到", "处于", "位于", "位列", "排", "排在",
        "各风格中", "模型", "市场状态", "转为", "同时", "另外", "此外",
    ),
    "en": (
        "a", "an", "the", "of", "in", "at", "to", "with", "its", "it", "is", "was", "are", "were", "by", "for", "this", "month",
        "among", "styles", "model", "market regime", "regime", "which", "where", "whose", "stood", "stands", "ranked", "ranks", "after costs",
        "end", "also", "now", "'s",
    ),
}  # fmt: skip
"""Words of a month's text that state nothing by themselves. Negations, comparisons, time shifts ("on the month": what was traded is measured from
the drifted weight, not from last month's), origins ("from": a weight is what a change led to) and hedges are left out on purpose,
and so are nouns for those who act (index, portfolio, market): who is spoken of is named by a fact."""
_OF_MONTHS: dict[Language, frozenset[str]] = {
    "zh": frozenset({"本月", "当月", "月末"}),
    "en": frozenset({"this", "month"}),
}
_OF_QUARTERS: dict[Language, tuple[str, ...]] = {
    "zh": ("本季度", "季内", "季末"),
    "en": ("over the quarter", "at the quarter end"),
}
"""Words a quarter's text has in their place, so that neither can speak of the other's time."""


def neutral_words(language: Language, period: Period) -> tuple[str, ...]:
    """Words that state nothing by themselves in a text about a month or a quarter."""
    if period == "month":
        return NEUTRAL[language]
    return (*(word for word in NEUTRAL[language] if word not in _OF_MONTHS[language]), *_OF_QUARTERS[language])


CONJUNCTIONS: dict[Language, tuple[str, ...]] = {
    "zh": ("且", "而", "并", "并且"),
    "en": ("and", "while", "whereas", "but"),
}
"""Words that begin a clause as a comma does: praise must not hide behind them."""

_EN_NUMBERS = (
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    r"twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|[mb]illions?|trillions?|dozens?|zero|nil|half|halves|third|thirds|"
    r"quarters?|fifths?|tenths?|doubl\w*|tripl\w*|twice|thrice|quadrupl\w*|percent|per cent|first|second|fourth|tenfold|twofold|pair|couple|single|both"
)
_FORBIDDEN_EN: tuple[tuple[str, str], ...] = (
    ("number word", _EN_NUMBERS),
    ("direction word", r"rose|rise[sn]?|rising|fell|fall(?:s|en|ing)?|gain(?:s|ed|ing)?|los(?:t|s|ses|es|ing)|climb\w*|drop\w*|declin\w*|increas\w*|decreas\w*|advanc\w*|"
                       r"retreat\w*|rall(?:y|ies|ied)|slump\w*|slid|slide[sd]?|jump\w*|plung\w*|soar\w*|surg\w*|up|down|higher|lower|above|below|beat\w*|trail\w*|"
                       r"outperform\w*|underperform\w*|rais\w*|cut(?:s|ting)?|positive|negative|grew|grow\w*|shr[aiu]nk\w*|ahead|behind|flat"),
    ("degree word", r"very|sharp(?:ly)?|slight(?:ly)?|significant(?:ly)?|substantial(?:ly)?|marked(?:ly)?|consider\w+ly|modest(?:ly)?|huge(?:ly)?|massive(?:ly)?|somewhat|"
                    r"extreme(?:ly)?|strongly|steep(?:ly)?|dramatic(?:ally)?|barely|hardly|almost|nearly|about|roughly|around|approximately|clearly|notabl[ey]|mild(?:ly)?|"
                    r"moderate(?:ly)?|only|just|fairly|quite|rather|much|more|less|far|well over|at least|at most|deep(?:ly)?|heav(?:y|ily)|severe(?:ly)?|tremendous(?:ly)?|gradual(?:ly)?"),
    ("superlative", r"\w{2,}(?<!inter)(?<!mod)est|most|least|best|worst|top|record|unprecedented|unmatched|leading|all-time|peak|historic\w*|ever|number-one|unrivalled"),
    ("forecast", r"will|would|shall|expect\w*|likely|forecast\w*|predict\w*|outlook|anticipat\w*|may|might|could|going to|set to|poised|ahead|prospect\w*|project\w*|"
                 r"future|soon|continue\w*|should see|bound to|next month|next year|remain\w*"),
    ("advice", r"should|ought|recommend\w*|advis\w*|suggest\w*|buy\w*|sell\w*|invest(?:ors?|ing)?|must|need to|consider|avoid|opportunit\w*|time to|overweight|underweight|"
               r"hold on|accumulate|stay|prudent|wise|take profits?"),
    ("cause", r"because|due to|owing to|thanks to|driven|caus\w*|led|lead(?:s|ing)? to|as a result|therefore|hence|thus|so|since|as|result\w*|reflect\w*|amid|following|on the back of|"
              r"prompt\w*|trigger\w*|attribut\w*|stem\w*|owe[sd]?|given|consequen\w*|account\w* for|boosted|weighed|helped|hurt|fuel\w*"),
    ("event", r"polic(?:y|ies)|central bank|pboc|fed|rate cuts?|rate hikes?|stimulus|tariffs?|trade war|war|election\w*|pandemic|covid\S*|virus|outbreak|crisis|crash\w*|bubble|"
              r"regulat\w*|announc\w*|news|earnings season|government|stamp duty|reserve requirement|meeting|congress|ipo\w*|default\w*|scandal|bailout|circuit breaker|lockdown\w*|"
              r"margin|national team|rescue|reform\w*|merger\w*|sanction\w*"),
    ("praise", r"strong|solid|robust|impressive\w*|excellent|outstanding|good|great|nice\w*|stellar|remarkabl[ey]|resilien\w*|attractive|encouraging|healthy|convincing\w*|disappoint\w*|"
               r"poor\w*|bad\w*|weak\w*|success\w*|effective\w*|prudent\w*|skil\w*|superb\w*|admirabl[ey]|smart\w*|commendabl[ey]|favou?rabl[ey]|comfortabl[ey]|well|sound|steady|smooth\w*"),
    ("negation", r"not|no|never|none|without|neither|nor|hardly"),
)  # fmt: skip
_FORBIDDEN_ZH: tuple[tuple[str, str], ...] = (
    ("number word", r"[一二三四五六七八九十百千万亿两〇零半几数]+(?:成|倍|半|分之|个|只|次|季|年|月|点|大|类|种|者|项|分)|翻番|翻倍|过半|半数|一半|近半|减半|倍增"),
    ("direction word", r"上涨|下跌|上升|下降|走高|走低|攀升|回落|涨|跌|升|降|增加|减少|提高|提升|上调|下调|增配|减配|领先|落后|跑赢|跑输|盈利|亏损|高于|低于|反弹|下滑|收涨|收跌|正收益|负收益|持平"),
    ("degree word", r"大幅|小幅|明显|显著|略|稍|较为|非常|十分|极|急|剧|轻微|温和|大约|约|左右|近乎|几乎|接近|超过|逾|不足|仅|至少|至多|颇|相当|很|更|较大|较小|较高|较低|巨|深幅|逐步|持续地|微|强势|猛|飙|暴|骤"),
    ("superlative", r"最|首位|榜首|冠|第一|历史新高|历史新低|空前|之首|居首|垫底|创纪录|前所未有|顶尖|峰值|纪录|无出其右"),
    ("forecast", r"将|预计|预期|预测|有望|料|或会|或许|可能|展望|未来|后市|后续|看好|看淡|下月|明年|即将|势必|前景|延续|仍会|短期内|今后|接下来|会继续"),
    ("advice", r"建议|应当|应该|应|宜|可关注|关注|买入|卖出|增持|减持|加仓|减仓|投资者|不妨|值得|需要|须|推荐|逢低|布局|规避|谨慎|警惕|止盈|止损|抄底|把握|配置机会"),
    ("cause", r"因|由于|受|导致|使得|令|推动|带动|源于|归因|得益|缘于|因此|所以|从而|故|引发|促使|拖累|提振|拉动|影响|支撑|主因|原因|随着|驱动|造成|结果|作用下|催化"),
    ("event", r"政策|央行|降息|加息|降准|疫情|贸易|关税|战争|选举|救市|熔断|监管|会议|公告|新闻|股灾|泡沫|危机|印花税|两融|融资盘|杠杆|国家队|改革|重组|暴雷|违约|刺激|美联储|新股|限售|解禁|行情|消息|事件|冲突|制裁|冠状|地产|财报"),
    ("praise", r"亮眼|优异|稳健|出色|良好|强劲|理想|可观|不俗|突出|喜人|优秀|卓越|令人|成功|有效|精准|抢眼|坚挺|韧性|乐观|悲观|欠佳|疲弱|疲软|糟糕|惨|精彩|漂亮|完美|成熟|健康|平稳|从容|得当|上佳|尚可|好|佳|差|优势"),
    ("negation", r"不|未|无|没|非|否|勿|莫"),
)  # fmt: skip
_HARMLESS_ZH = re.compile("因子|各风格|风格|市场状态|其中|其余|方面")
"""Compounds that contain a forbidden character without its meaning."""
_HARMLESS_EN = re.compile("over the quarter|at the quarter end", re.IGNORECASE)
"""The same where the text is about a quarter: elsewhere a quarter is a fourth part."""


def _compiled(language: Language) -> tuple[tuple[str, re.Pattern[str]], ...]:
    if language == "zh":
        return tuple((name, re.compile(pattern)) for name, pattern in _FORBIDDEN_ZH)
    return tuple(
        (name, re.compile(rf"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])", re.IGNORECASE)) for name, pattern in _FORBIDDEN_EN
    )


_FORBIDDEN: dict[Language, tuple[tuple[str, re.Pattern[str]], ...]] = {"zh": _compiled("zh"), "en": _compiled("en")}
FORBIDDEN_CLASSES: tuple[str, ...] = tuple(name for name, _ in _FORBIDDEN_EN)
"""What can be wrong with a word."""


_ANY_FORBIDDEN: dict[Language, re.Pattern[str]] = {
    language: re.compile("|".join(f"(?:{pattern.pattern})" for _, pattern in patterns), re.IGNORECASE)
    for language, patterns in _FORBIDDEN.items()
}


def forbidden(text: str, language: Language, period: Period = "month") -> list[tuple[str, str]]:
    """(class, wording) of every forbidden wording in the text about a month or quarter."""
    cleaned = text
    if language == "zh":
        cleaned = _HARMLESS_ZH.sub(" ", text)
    elif period == "quarter":
        cleaned = _HARMLESS_EN.sub(" ", text)
    if _ANY_FORBIDDEN[language].search(cleaned) is None:
        return []
    return [(name, match[0]) for name, pattern in _FORBIDDEN[language] for match in pattern.finditer(cleaned)]
