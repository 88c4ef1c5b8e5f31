"""Each way of falsifying a text is caught at least 99 times of 100 by the text check alone, in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from narratives_cases import random_facts
from narratives_phrases import PHRASES

from rotation_pipeline.narratives.draft import Draft, DraftSentence
from rotation_pipeline.narratives.fact import Fact
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.narratives.template import TemplateWriter
from rotation_pipeline.narratives.verify import check_slots, check_text, joined
from rotation_pipeline.narratives.wording_hints import HINT_TEXTS
from rotation_pipeline.narratives.write import rendered

MUTANTS = 250
OPTIONS = NarrativeOptions()
Sentences = list[tuple[str, tuple[str, ...]]]
Mutation = Callable[[str, np.random.Generator], str | None]

STYLE_NAMES = {
    "zh": ("动量", "价值", "质量", "低波动", "小市值"),
    "en": ("momentum", "value", "quality", "low volatility", "small size"),
}
REGIME_NAMES = {"zh": ("慢牛", "熊市", "震荡市"), "en": ("slow bull", "bear", "range-bound")}
SUBJECT_NAMES = {"zh": ("上证50", "轮动策略"), "en": ("the SSE 50", "the rotation strategy")}
FLIPS = {
    "zh": (
        ("上涨", "下跌"), ("高于", "低于"), ("上调", "下调"), ("上调", "未作调整"), ("盈利", "亏损"), ("领先", "落后"), ("增配", "减配"), ("最高", "最低"), ("向上", "向下"),
        ("上升", "下降"), ("为−", "为"),
    ),
    "en": (
        ("rose", "fell"), ("above", "below"), ("raised", "cut"), ("raised by", "left unchanged"), ("gained", "lost"), ("beat", "trailed"), ("increase", "cut"), ("highest", "lowest"),
        ("more", "less"), (" −", " "), ("high", "low"),
    ),
}  # fmt: skip
UNITS = {
    "zh": (("%", "个百分点"), ("%", "‰"), ("%", ""), ("%", "个基点"), ("个百分点", "%"), ("个百分点", "个基点"), ("个月", "年"), ("个月", "天"), ("百分位", "名"), ("年化", "月度")),
    "en": (
        ("%", " percentage points"), ("%", " bp"), ("%", ""), (" percentage points", "%"), (" percentage points", " basis points"), (" months", " years"),
        (" months", " days"), ("percentile", "place"), ("annualised", "monthly"), ("%", " per mille"),
    ),
}  # fmt: skip


def words(language: str, names: tuple[str, ...]) -> re.Pattern[str]:
    """The names as whole words, longest first."""
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(known if language == "zh" else rf"(?<![a-z]){known}(?![a-z])", re.IGNORECASE)


def pick(matches: list[re.Match[str]], rng: np.random.Generator) -> re.Match[str] | None:
    """One of the matches, None of none."""
    return matches[int(rng.integers(len(matches)))] if matches else None


def changed_number(text: str, rng: np.random.Generator) -> str | None:
    """Another digit somewhere, in names and windows too."""
    match = pick(list(re.finditer(r"[0-9]", text)), rng)
    if match is None:
        return None
    other = str((int(match[0]) + int(rng.integers(1, 10))) % 10)
    return text[: match.start()] + other + text[match.end() :]


def flipped_direction(text: str, rng: np.random.Generator, language: str) -> str | None:
    """An opposite direction word, or a lost or new minus sign."""
    pairs = [
        (one, other) for pair in FLIPS[language] for one, other in (pair, pair[::-1]) if one.strip() and one != "为"
    ]
    found = [(match, other) for one, other in pairs for match in re.finditer(re.escape(one), text)]
    if not found:
        return None
    match, other = found[int(rng.integers(len(found)))]
    return text[: match.start()] + other + text[match.end() :]


def other_name(text: str, rng: np.random.Generator, language: str, names: tuple[str, ...]) -> str | None:
    """One name put in place of another."""
    match = pick(list(words(language, names).finditer(text)), rng)
    if match is None:
        return None
    others = [name for name in names if name.casefold() != match[0].casefold()]
    return text[: match.start()] + others[int(rng.integers(len(others)))] + text[match.end() :]


def exchanged_names(text: str, rng: np.random.Generator, language: str) -> str | None:
    """Two style names of the sentence change places everywhere; one alone becomes another."""
    pattern = words(language, STYLE_NAMES[language])
    present = sorted({match[0].casefold() for match in pattern.finditer(text)})
    if len(present) < 2:
        return other_name(text, rng, language, STYLE_NAMES[language])
    one, other = (present[int(place)] for place in rng.permutation(len(present))[:2])
    return pattern.sub(lambda match: {one: other, other: one}.get(match[0].casefold(), match[0]), text)


def wrong_unit(text: str, rng: np.random.Generator, language: str) -> str | None:
    """A number in another unit."""
    found = [(match, other) for one, other in UNITS[language] for match in re.finditer(re.escape(one), text)]
    if not found:
        return None
    match, other = found[int(rng.integers(len(found)))]
    return text[: match.start()] + other + text[match.end() :]


def inserted(text: str, rng: np.random.Generator, language: str, phrases: tuple[str, ...]) -> str | None:
    """A phrase as a clause of its own, at the end of a clause, at its beginning, or joined with 'and'."""
    phrase = phrases[int(rng.integers(len(phrases)))]
    ends = [match.start() for match in re.finditer(r"[，；。]" if language == "zh" else r"[,;](?= )|\.$", text)]
    place = ends[int(rng.integers(len(ends)))]
    glue = ("，", "", "且") if language == "zh" else (", ", " ", " and ")
    return text[:place] + glue[int(rng.integers(3))] + phrase + text[place:]


def with_adverb(text: str, rng: np.random.Generator, language: str, phrases: tuple[str, ...]) -> str | None:
    """A degree adverb before or after a word of direction or a verb."""
    verbs = (
        r"上涨|下跌|上调|下调|高于|低于|领先|落后|盈利|亏损|权重最高的风格是|处于|为"
        if language == "zh"
        else r"\b(?:rose|fell|raised|cut|gained|lost|beat|trailed|is heaviest in|stood|was|is|above|below)\b"
    )
    match = pick(list(re.finditer(verbs, text)), rng)
    if match is None:
        return None
    phrase = phrases[int(rng.integers(len(phrases)))]
    glue = "" if language == "zh" else " "
    if rng.random() < 0.5:
        return text[: match.start()] + phrase + glue + text[match.start() :]
    return text[: match.end()] + glue + phrase + text[match.end() :]


def other_period(text: str, rng: np.random.Generator, language: str) -> str | None:
    """What is said of a quarter said of a month, or the other way round."""
    pairs = (
        (("本季度", "本月"), ("季末", "月末"), ("季内", "月内"), ("累计", "月末"))
        if language == "zh"
        else (("over the quarter", "this month"), ("at the quarter end", "at the month end"), ("quarterly", "monthly"), ("in all", "this month"))
    )  # fmt: skip
    found = [
        (match, other)
        for pair in pairs
        for one, other in (pair, pair[::-1])
        for match in re.finditer(re.escape(one), text, re.IGNORECASE)
    ]
    if not found:
        return None
    match, other = found[int(rng.integers(len(found)))]
    return text[: match.start()] + other + text[match.end() :]


def turned_change(text: str, rng: np.random.Generator, language: str) -> str | None:
    """What a weight was changed to said to be what it was changed from."""
    to, origins = ("至", ("由", "自", "从")) if language == "zh" else (" to ", (" from ", " starting from "))
    match = pick(list(re.finditer(to + "(?=[0-9])", text)), rng)
    if match is None:
        return None
    return text[: match.start()] + origins[int(rng.integers(len(origins)))] + text[match.end() :]


def denied_trade(text: str, rng: np.random.Generator, language: str) -> str | None:
    """A change of weight said not to be one, or a trade where there was none, or all weights said to be left to drift."""
    statement = HINT_TEXTS["left_to_drift"][language][0]
    unchanged, amount = (
        ("未作调整", "上调0.1个百分点") if language == "zh" else ("left unchanged", "raised by 0.1 percentage points")
    )
    changes = r"(?:上调|下调)[0-9.]+个百分点" if language == "zh" else r"(?:raised|cut) by [0-9.]+ percentage points"
    match = pick(list(re.finditer(f"{changes}|{unchanged}", text)), rng)
    if match is not None and rng.random() < 0.7:
        return text[: match.start()] + (amount if match[0] == unchanged else unchanged) + text[match.end() :]
    if statement in text.replace(statement[:1].upper(), statement[:1], 1):
        return None
    return inserted(text, rng, language, (statement,))


def mutations(language: str) -> dict[str, Mutation]:
    """The classes of mutation."""
    found: dict[str, Mutation] = {
        "changed number": changed_number,
        "flipped direction": partial(flipped_direction, language=language),
        "swapped styles": partial(exchanged_names, language=language),
        "wrong unit": partial(wrong_unit, language=language),
        "wrong regime": partial(other_name, language=language, names=REGIME_NAMES[language]),
        "denied trade": partial(denied_trade, language=language),
        "other period": partial(other_period, language=language),
        "turned change": partial(turned_change, language=language),
        "wrong subject": partial(other_name, language=language, names=SUBJECT_NAMES[language]),
    }
    for name, phrases in PHRASES.items():
        if name == "degree adverb":
            found[name] = partial(with_adverb, language=language, phrases=phrases[language])
        else:
            found[name] = partial(inserted, language=language, phrases=phrases[language])
    return found


@pytest.fixture(scope="module")
def pages() -> dict[str, list[tuple[Draft, dict[str, Fact]]]]:
    """Drafts with their facts, most facts present."""
    rng = np.random.default_rng(20150612)
    result: dict[str, list[tuple[Draft, dict[str, Fact]]]] = {"zh": [], "en": []}
    for place in range(90):
        facts = random_facts(rng, OPTIONS, present=0.9, period="quarter" if place % 3 == 0 else "month")
        for language in ("zh", "en"):
            result[language].append((TemplateWriter().write(facts, language, OPTIONS), facts))
    return result


def texts_of(draft: Draft, facts: dict[str, Fact], language: Language) -> Sentences:
    sentences = rendered(draft, facts, language, OPTIONS)
    return [(text, sentence.fact_ids) for text, sentence in zip(sentences, draft.sentences, strict=True)]


def judged(sentences: Sentences, facts: dict[str, Fact], language: Language) -> list[str]:
    return check_text(joined([text for text, _ in sentences], language), sentences, facts, language, OPTIONS)


CLASSES = [(language, name) for language in ("zh", "en") for name in mutations(language)]


@pytest.mark.parametrize(("language", "name"), CLASSES)
def test_text_check_catches(
    pages: dict[str, list[tuple[Draft, dict[str, Fact]]]],
    language: Language,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng([CLASSES.index((language, name)), 7])
    mutate = mutations(language)[name]
    tried, escaped = 0, []
    attempts = 0
    while tried < MUTANTS and attempts < 40 * MUTANTS:
        attempts += 1
        draft, facts = pages[language][int(rng.integers(len(pages[language])))]
        sentences = texts_of(draft, facts, language)
        place = int(rng.integers(len(sentences)))
        mutant = mutate(sentences[place][0], rng)
        if mutant is None or mutant == sentences[place][0]:
            continue
        tried += 1
        sentences[place] = (mutant, sentences[place][1])
        if not judged(sentences, facts, language):
            escaped.append(mutant)
    rate = 1.0 - len(escaped) / tried
    with capsys.disabled():
        print(f"\n  text check, {language}, {name}: {tried - len(escaped)} of {tried} caught ({rate:.1%})", end="")
    assert tried == MUTANTS
    assert rate >= 0.99, escaped[:5]


LEXICAL = [(language, name) for language in ("zh", "en") for name in PHRASES if name != "invented amount"]


@pytest.mark.parametrize(("language", "name"), LEXICAL)
def test_slot_check_catches_words_outside_slots(
    pages: dict[str, list[tuple[Draft, dict[str, Fact]]]],
    language: Language,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The slot check knows wrong words by lists, so it may miss some; together with the text check none gets through."""
    caught, both = 0, 0
    phrases = PHRASES[name][language]
    for place, phrase in enumerate(phrases):
        draft, facts = pages[language][place % len(pages[language])]
        first, *rest = draft.sentences
        comma, stop = ("，", "。") if language == "zh" else (", ", ".")
        mutant = DraftSentence(first.text[: -len(stop)] + comma + phrase + stop, first.fact_ids)
        mutated = Draft((mutant, *rest), draft.provenance)
        refused = bool(check_slots(mutated, facts, language, OPTIONS))
        caught += refused
        both += refused or bool(judged(texts_of(mutated, facts, language), facts, language))
    with capsys.disabled():
        print(
            f"\n  slot check, {language}, {name}: {caught} of {len(phrases)} caught; with the text check {both}", end=""
        )
    assert both == len(phrases)
    assert caught >= 0.5 * len(phrases)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_unmutated_texts_pass(pages: dict[str, list[tuple[Draft, dict[str, Fact]]]], language: Language) -> None:
    for draft, facts in pages[language]:
        assert check_slots(draft, facts, language, OPTIONS) == []
        assert judged(texts_of(draft, facts, language), facts, language) == []
