"""How a statistic was computed, in words: the column ``detail`` of SIGNIFICANCE is English, and can be read back in Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

Language = Literal["zh", "en"]
_TEXTS: dict[str, tuple[str, str]] = {
    "hac": (
        "Ledoit-Wolf 2008, HAC: Parzen kernel, Andrews 1991 bandwidth; annualised",
        "Ledoit-Wolf 2008，HAC：Parzen 核，Andrews 1991 带宽；年化",
    ),
    "bootstrap": (
        "Ledoit-Wolf 2008, studentised circular block bootstrap, block {block}; annualised",
        "Ledoit-Wolf 2008，学生化循环分块自助法，块长 {block}；年化",
    ),
    "adjusted": (
        "p of the studentised bootstrap, adjusted over {count} comparisons (Benjamini-Hochberg 1995)",
        "学生化自助法的 p 值，按 {count} 次比较校正（Benjamini-Hochberg 1995）",
    ),
    "excess": (
        "mean net excess × {year}; stationary bootstrap interval (Politis-Romano 1994), p of Newey-West 1987 t",
        "平均净超额 × {year}；平稳自助法区间（Politis-Romano 1994），p 值取自 Newey-West 1987 t 统计量",
    ),
    "probabilistic": (
        "Bailey-López de Prado {year}; one-sided p = 1 − value",
        "Bailey-López de Prado {year}；单侧 p = 1 − 数值",
    ),
    "deflated": (
        "Bailey-López de Prado {year}; expected maximum {maximum} a month over {trials} trials; one-sided p = 1 − value",
        "Bailey-López de Prado {year}；{trials} 次试验的期望最大值为每月 {maximum}；单侧 p = 1 − 数值",
    ),
    "record": (
        "years needed at {confidence} (Bailey-López de Prado {year}); have {have}",
        "{confidence} 置信度所需年数（Bailey-López de Prado {year}）；现有 {have}",
    ),
    "overfitting": (
        "share of {splits} splits into {parts} blocks in which the winner of one half among {count} books is below the median of the other half (CSCV: Bailey-Borwein-López de Prado-Zhu 2017); share in which it loses there {loss}",
        "{splits} 种切分（{parts} 段）中，一半样本里 {count} 个组合的优胜者在另一半低于中位数的比例（CSCV：Bailey-Borwein-López de Prado-Zhu 2017）；其在另一半亏损的比例 {loss}",
    ),
    "predictive_ability": (
        "Hansen 2005, studentised, stationary bootstrap, {count} strategies, best {best}; one-sided consistent p, lower {lower}, upper {upper}",
        "Hansen 2005，学生化，平稳自助法，{count} 个策略，最优为{best}；单侧一致 p 值，下界 {lower}，上界 {upper}",
    ),
    "reality_check": (
        "White 2000, stationary bootstrap of √n × the largest mean excess, {count} strategies, best {best}; one-sided p",
        "White 2000，√n × 最大平均超额的平稳自助法，{count} 个策略，最优为{best}；单侧 p 值",
    ),
}
"""Method → (English, Chinese); every place holds text without a comma, semicolon or blank."""
_OF_EXCESS = ("; of the excess return", "；针对超额收益")
_PLACE = re.compile(r"\\{(\w+)\\}")


def method_text(method: str, *, of_excess: bool = False, **values: object) -> str:
    """The English text of a method with its places filled. KeyError for an unknown method or a place without value."""
    return _TEXTS[method][0].format(**values) + (_OF_EXCESS[0] if of_excess else "")


def method_in(language: Language, detail: str, named: Callable[[str], str] = str) -> str:
    """A text of :func:`method_text` in the language asked for, the book in it as ``named`` puts it.

    Raises ValueError for a text of no known method.
    """
    plain, place = detail.removesuffix(_OF_EXCESS[0]), ("en", "zh").index(language)
    for texts in _TEXTS.values():
        found = re.fullmatch(_PLACE.sub(r"(?P<\1>[^ ,;]+)", re.escape(texts[0])), plain)
        if found is not None:
            values = {name: named(value) if name == "best" else value for name, value in found.groupdict().items()}
            return texts[place].format(**values) + (_OF_EXCESS[place] if plain != detail else "")
    raise ValueError(f"{detail!r} is the text of no known method; recompute marts.significance with this version")
