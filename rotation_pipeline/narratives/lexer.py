"""Rendered text → tokens, knowing the phrases of facts but nothing of slots.

At each place the longest known phrase wins, then a number with its unit; what is left is unknown. So ``上证50`` is one
entity, ``3-month long-short return`` one measure, and the digits in them are no numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from rotation_pipeline.narratives.lexicon import CONJUNCTIONS, neutral_words
from rotation_pipeline.narratives.options import Language, NarrativeOptions, Period
from rotation_pipeline.narratives.wording import FAMILIES, SILENT_ZEROS, SINGLED_OUT, index_name, named_wording

TokenKind = Literal[
    "entity",
    "measure",
    "label",
    "previous",
    "direction",
    "unchanged",
    "number",
    "regime",
    "hint",
    "neutral",
    "stop",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Token:
    """A phrase, what it is, and what it stands for.

    ``name``: subject of an entity, measure of a label phrase, regime, name of a hint, unit of a number.
    ``measures``: what a measure or direction phrase can introduce, or what an unchanged phrase says is zero. ``sign``: of a
    direction. ``number``: digits as written.
    """

    kind: TokenKind
    text: str
    name: str = ""
    measures: tuple[str, ...] = ()
    sign: int = 0
    number: str = ""


_STOPS = "，。；：、！？,.;:!?()（）—–\n"
_NUMBERS: dict[Language, tuple[tuple[str, str], ...]] = {
    "zh": (
        ("percentile", r"近12个月(?:第([0-9]+)百分位|最[高低]水平)"),
        ("rank", r"第([0-9]+)位"),
        ("points", r"([+−-]?[0-9]+(?:\.[0-9]+)?)个百分点"),
        ("months", r"([+−-]?[0-9]+(?:\.[0-9]+)?)个月"),
        ("percent", r"([+−-]?[0-9]+(?:\.[0-9]+)?)%"),
        ("", r"([+−-]?[0-9]+(?:\.[0-9]+)?)"),
    ),
    "en": (
        (
            "percentile",
            r"the (?:([0-9]+(?:st|nd|rd|th)) percentile|(?:high|low)est level) of the last 12 months(?![\w])",
        ),
        ("rank", r"([0-9]+(?:st|nd|rd|th))(?![\w])"),
        ("points", r"([+−-]?[0-9]+(?:\.[0-9]+)?) percentage points(?![\w])"),
        ("months", r"([+−-]?[0-9]+(?:\.[0-9]+)?) months?(?![\w])"),
        ("percent", r"([+−-]?[0-9]+(?:\.[0-9]+)?)%(?![\w])"),
        ("", r"([+−-]?[0-9]+(?:\.[0-9]+)?)"),
    ),
}
_UNKNOWN: dict[Language, str] = {"zh": r"[A-Za-z]+|.", "en": r"[^\W\d_]+|."}


_ENDS = {"最高": "100", "最低": "0", "highest": "100", "lowest": "0"}
"""What the ends of the percentiles are called."""


def _phrases(language: Language, index: str, period: Period) -> dict[str, Token]:
    """Every known phrase (case-folded) with its token; a phrase of several measures introduces all of them."""
    words = named_wording(language, index, period)
    found: dict[str, Token] = {}
    for phrase in neutral_words(language, period):
        found[phrase.casefold()] = Token("neutral", phrase)
    for phrase in CONJUNCTIONS[language]:
        found[phrase] = Token("stop", phrase)
    measures: dict[str, list[str]] = {}
    for (_, measure), phrase in words.measures.items():
        key = phrase.casefold()
        if measure in SINGLED_OUT:
            found[key] = Token("label", phrase, name=measure, measures=SINGLED_OUT[measure])
        elif measure == "previous_regime":
            found[key] = Token("previous", phrase)
        elif measure != "regime":
            measures.setdefault(key, []).extend((measure, *FAMILIES.get(measure, ())))
    for key, names in measures.items():
        found[key] = Token("measure", key, measures=tuple(dict.fromkeys(names)))
    directions: dict[tuple[str, int], list[str]] = {}
    for (_, measure), phrases in words.directions.items():
        for phrase, sign in zip(phrases, (1, -1, 0), strict=True):
            directions.setdefault((phrase.casefold(), sign), []).append(measure)
    for (key, sign), names in directions.items():
        kind: TokenKind = "unchanged" if sign == 0 and SILENT_ZEROS.issuperset(names) else "direction"
        found[key] = Token(kind, key, measures=tuple(dict.fromkeys(names)), sign=sign)
    found.update({name.casefold(): Token("regime", name, name=regime) for regime, name in words.regimes.items()})
    found.update(
        {text.casefold(): Token("hint", text, name=hint) for hint, texts in words.hints.items() for text in texts}
    )
    found.update({name.casefold(): Token("entity", name, name=subject) for subject, name in words.subjects.items()})
    return found


@lru_cache(maxsize=32)
def _grammar(language: Language, index: str, period: Period) -> tuple[re.Pattern[str], dict[str, Token]]:
    phrases = _phrases(language, index, period)
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    known = "|".join(map(re.escape, longest_first))
    if language == "en":  # whole words only; a possessive may follow
        known = rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])"
    percentile, *others = (f"(?:{pattern})" for _, pattern in _NUMBERS[language])
    # a percentile is a phrase around its digits ("the 64th percentile of …") and would lose its first word to the neutral ones
    pattern = re.compile(
        rf"(?P<percentile>{percentile})|(?P<known>{known})|(?P<amount>{'|'.join(others)})"
        rf"|(?P<stop>[{re.escape(_STOPS)}])|(?P<space>\s+)|(?P<unknown>{_UNKNOWN[language]})",
        re.IGNORECASE | re.DOTALL,
    )
    return pattern, phrases


def _percentile(text: str, digits: str | None) -> Token:
    """A percentile as a number; the ends of the scale are named, not numbered."""
    number = digits if digits is not None else next(end for name, end in _ENDS.items() if name in text.casefold())
    return Token("number", text, name="percentile", number=number)


def tokens(text: str, language: Language, options: NarrativeOptions, period: Period = "month") -> list[Token]:
    """The tokens of a rendered sentence about a month or quarter in order, spaces left out."""
    pattern, phrases = _grammar(language, index_name(language, options), period)
    others = [unit for unit, _ in _NUMBERS[language][1:]]
    first = pattern.groupindex["amount"] + 1
    found: list[Token] = []
    for match in pattern.finditer(text):
        if match["percentile"] is not None:
            found.append(_percentile(match[0], match[pattern.groupindex["percentile"] + 1]))
        elif match["known"] is not None:
            found.append(phrases[match[0].casefold()])
        elif match["amount"] is not None:
            place = next(place for place in range(len(others)) if match[first + place] is not None)
            found.append(Token("number", match[0], name=others[place], number=match[first + place]))
        elif match["stop"] is not None:
            found.append(Token("stop", match[0]))
        elif match["unknown"] is not None:
            found.append(Token("unknown", match[0]))
    return found
