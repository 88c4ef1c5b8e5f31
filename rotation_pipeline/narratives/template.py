"""The deterministic writer: three to five sentences from whatever facts a month has.

A sentence is a list of clauses; a clause is written when all of its facts exist. Clauses name facts by
``subject.measure`` (``favoured.weight`` is the weight of the style the fact ``favoured`` names), which become opaque ids
before anything else sees them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.draft import Draft, DraftSentence, Provenance
from rotation_pipeline.narratives.fact import Facts
from rotation_pipeline.narratives.hints import HINTS
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.narratives.slots import slots
from rotation_pipeline.narratives.wording import index_name, named_wording

VERSION = "template-2"
FEWEST, MOST = 3, 5
"""Sentences of a narrative."""
_NAME = re.compile(r"\{([A-Za-z_]+)\.([A-Za-z0-9_]+)\|")
_JOIN: dict[Language, tuple[str, str, str]] = {"zh": ("，", "；", "。"), "en": (", ", "; ", ".")}
"""Between clauses, between groups of clauses, at the end."""
_THEN: dict[Language, str] = {"zh": "，", "en": ": "}
"""Between a hint's statement and its meaning."""
_HINT_SUBJECTS = {hint.name: hint.subject for hint in HINTS}

Group = tuple[str, ...]
"""Clauses that belong together; without its first clause a group is left out."""

_MARKET: dict[Language, tuple[Group, ...]] = {
    "zh": (
        (
            "{index.return_1m|subject}本月{index.return_1m|dir}{index.return_1m|abs}",
            "{index.trend|dir}{index.trend|abs}",
        ),
        ("{index.volatility|subject}{index.volatility|measure}为{index.volatility|value}", "处于{index.volatility_percentile|value}"),
        (
            "{market.previous_regime|measure}{market.previous_regime|label}转为{market.regime|label}",
            "{market.probability|measure}为{market.probability|value}",
        ),
        (
            "{market.regime|measure}为{market.regime|label}",
            "{market.probability|measure}为{market.probability|value}",
            "{market.months_in_regime|measure}{market.months_in_regime|value}",
        ),
    ),
    "en": (
        (
            "{index.return_1m|subject} {index.return_1m|dir} {index.return_1m|abs} this month",
            "and stood {index.trend|dir} {index.trend|abs}",
        ),
        (
            "{index.volatility|measure} of {index.volatility|subject} was {index.volatility|value}",
            "at {index.volatility_percentile|value}",
        ),
        (
            "the {market.regime|measure} {market.previous_regime|measure} {market.previous_regime|label} to {market.regime|label}",
            "with a {market.probability|measure} of {market.probability|value}",
        ),
        (
            "the {market.regime|label} {market.regime|measure} {market.months_in_regime|measure} {market.months_in_regime|value}",
            "with a {market.probability|measure} of {market.probability|value}",
        ),
    ),
}  # fmt: skip
_SAME_INDEX: dict[Language, Group] = {
    "zh": ("{index.volatility|measure}为{index.volatility|value}", "处于{index.volatility_percentile|value}"),
    "en": ("its {index.volatility|measure} was {index.volatility|value}", "at {index.volatility_percentile|value}"),
}
"""The volatility when the index has just been named."""
_CHOICE: dict[Language, tuple[Group, ...]] = {
    "zh": (
        (
            "模型{strategy.favoured|measure}{strategy.favoured|label}",
            "{favoured.weight|measure}为{favoured.weight|value}",
            "{favoured.above_equal|dir}{favoured.above_equal|abs}",
            "月末{favoured.weight_change|dir}{favoured.weight_change|abs}",
        ),
        (
            "{strategy.largest_increase|measure}{strategy.largest_increase|label}",
            "{increased.weight|measure}{increased.weight_change|dir}{increased.weight_change|abs}至{increased.weight|value}",
        ),
        (
            "{strategy.largest_decrease|measure}{strategy.largest_decrease|label}",
            "{decreased.weight|measure}{decreased.weight_change|dir}{decreased.weight_change|abs}至{decreased.weight|value}",
        ),
    ),
    "en": (
        (
            "the model {strategy.favoured|measure} {strategy.favoured|label}",
            "with a {favoured.weight|measure} of {favoured.weight|value}",
            "{favoured.above_equal|dir} {favoured.above_equal|abs}",
            "and {favoured.weight_change|dir} {favoured.weight_change|abs} at the month end",
        ),
        (
            "{strategy.largest_increase|measure} {strategy.largest_increase|label}",
            "its {increased.weight|measure} {increased.weight_change|dir} {increased.weight_change|abs} to {increased.weight|value}",
        ),
        (
            "{strategy.largest_decrease|measure} {strategy.largest_decrease|label}",
            "its {decreased.weight|measure} {decreased.weight_change|dir} {decreased.weight_change|abs} to {decreased.weight|value}",
        ),
    ),
}  # fmt: skip
_FIT: dict[Language, tuple[Group, ...]] = {
    "zh": (
        (
            "{favoured.forecast|subject}的{favoured.forecast|measure}为{favoured.forecast|value}",
            "在各风格中排{favoured.forecast_rank|value}",
            "{favoured.return_3m|measure}为{favoured.return_3m|value}",
        ),
    ),
    "en": (
        (
            "the {favoured.forecast|measure} of {favoured.forecast|subject} is {favoured.forecast|value}",
            "ranked {favoured.forecast_rank|value} among the styles",
            "while its {favoured.return_3m|measure} is {favoured.return_3m|value}",
        ),
    ),
}
_RESULT: dict[Language, tuple[Group, ...]] = {
    "zh": (
        (
            "{strategy.net_return|subject}本月{strategy.net_return|dir}{strategy.net_return|abs}",
            "{strategy.excess|dir}{strategy.excess|abs}",
            "{strategy.drawdown|measure}为{strategy.drawdown|value}",
        ),
        (
            "{strategy.net_return_3m|subject}{strategy.net_return_3m|measure}为{strategy.net_return_3m|value}",
            "{strategy.excess_3m|dir}{strategy.excess_3m|abs}",
        ),
        ("{strategy.turnover|subject}月末{strategy.turnover|measure}为{strategy.turnover|value}",),
    ),
    "en": (
        (
            "after costs {strategy.net_return|subject} {strategy.net_return|dir} {strategy.net_return|abs} this month",
            "{strategy.excess|dir} {strategy.excess|abs}",
            "and stood at a {strategy.drawdown|measure} of {strategy.drawdown|value}",
        ),
        (
            "the {strategy.net_return_3m|measure} of {strategy.net_return_3m|subject} is {strategy.net_return_3m|value}",
            "which {strategy.excess_3m|dir} {strategy.excess_3m|abs}",
        ),
        ("{strategy.turnover|measure} of {strategy.turnover|subject} at the end of the month was {strategy.turnover|value}",),
    ),
}  # fmt: skip
_SAME_STRATEGY: dict[Language, Group] = {
    "zh": ("月末{strategy.turnover|measure}为{strategy.turnover|value}",),
    "en": ("its {strategy.turnover|measure} at the end of the month was {strategy.turnover|value}",),
}
"""The turnover when the strategy has just been named."""
_DRAWDOWN: dict[Language, str] = {
    "zh": "{index.drawdown|subject}{index.drawdown|measure}为{index.drawdown|value}",
    "en": "{index.drawdown|subject} stands at a {index.drawdown|measure} of {index.drawdown|value}",
}
"""What a turn to defence refers to."""
_ACTIVE: dict[Language, Group] = {
    "zh": ("{strategy.active_share|subject}{strategy.active_share|measure}为{strategy.active_share|value}",),
    "en": ("the {strategy.active_share|measure} of {strategy.active_share|subject} is {strategy.active_share|value}",),
}
"""How far equal weights are from equal."""
_RETURNS: dict[Language, tuple[Group, ...]] = {
    "zh": (
        (
            "{strategy.best_return|measure}{strategy.best_return|label}",
            "为{best.return_1m|value}",
        ),
        (
            "{strategy.worst_return|measure}{strategy.worst_return|label}",
            "为{worst.return_1m|value}",
        ),
    ),
    "en": (
        (
            "{strategy.best_return|measure} {strategy.best_return|label}",
            "at {best.return_1m|value}",
        ),
        (
            "{strategy.worst_return|measure} {strategy.worst_return|label}",
            "at {worst.return_1m|value}",
        ),
    ),
}
_SAMPLES: dict[Language, tuple[str, ...]] = {
    "zh": tuple(f"{{market.{name}|measure}}为{{market.{name}|value}}" for name in ("index_months", "style_months", "weight_months")),
    "en": tuple(f"the {{market.{name}|measure}} is {{market.{name}|value}}" for name in ("index_months", "style_months", "weight_months")),
}  # fmt: skip
_LEADING = (
    "turning_defensive",
    "trend_reinforced",
    "trend_faded",
    "leaving_defence",
    "low_conviction",
    "high_conviction",
)
"""Hints about the allocation, of which the first is said with its meaning."""
_RISK = (
    "deep_drawdown",
    "high_turnover",
    "regime_uncertain",
    "volatility_high",
    "volatility_low",
    "regime_changed",
    "favourite_lost",
    "favourite_paid",
)
"""Hints about risk, of which the first is said with its meaning."""
_ROLES = {
    "favoured": "favoured", "increased": "largest_increase", "decreased": "largest_decrease", "best": "best_return", "worst": "worst_return",
}  # fmt: skip


class _Page:
    """The facts of a month behind names; finds what can be said."""

    def __init__(self, facts: Facts, language: Language) -> None:
        self._facts = facts
        self._language: Language = language

    def _id(self, subject: str, measure: str) -> str | None:
        if subject in _ROLES:
            label = self._facts.get(FACT_IDS["strategy", _ROLES[subject]])
            if label is None or label.label is None:
                return None
            subject = label.label
        fact_id = FACT_IDS[subject, measure]
        return fact_id if fact_id in self._facts else None

    def clause(self, pattern: str) -> str | None:
        """The clause with ids for names; None when a fact is missing."""
        for subject, measure in _NAME.findall(pattern):
            if self._id(subject, measure) is None:
                return None
        return _NAME.sub(lambda match: f"{{{self._id(match[1], match[2])}|", pattern)

    def groups(self, patterns: tuple[Group, ...]) -> list[list[str]]:
        """The groups whose first clause can be said, each with the clauses that can."""
        found: list[list[str]] = []
        for first, *rest in patterns:
            head = self.clause(first)
            if head is not None:
                found.append([head, *(clause for clause in map(self.clause, rest) if clause is not None)])
        return found

    def first_of(self, *names: str) -> str | None:
        """The first of these hints that holds."""
        return next((name for name in names if FACT_IDS[_HINT_SUBJECTS[name], name] in self._facts), None)

    def hint(self, *names: str) -> list[list[str]]:
        """Statement and meaning of the first of these hints that holds, as one group; else nothing."""
        name = self.first_of(*names)
        if name is None:
            return []
        fact_id = FACT_IDS[_HINT_SUBJECTS[name], name]
        return [[f"{{{fact_id}|hint}}{_THEN[self._language]}{{{fact_id}|meaning}}"]]

    def statement(self, name: str) -> list[list[str]]:
        """What the hint states, as one group, where it holds; else nothing."""
        return [[f"{{{FACT_IDS[_HINT_SUBJECTS[name], name]}|hint}}"]] if self.first_of(name) else []

    def has(self, subject: str, measure: str) -> bool:
        """Whether the month has the fact."""
        return self._id(subject, measure) is not None

    def same_style(self, one: str, other: str) -> bool:
        """Whether two roles name the same style."""
        first, second = (self._facts.get(FACT_IDS["strategy", _ROLES[role]]) for role in (one, other))
        return first is not None and second is not None and first.label == second.label

    def sentence(self, groups: list[list[str]]) -> DraftSentence | None:
        """The groups as one sentence with the ids it uses, in order; None for no groups."""
        if not groups:
            return None
        comma, semicolon, stop = _JOIN[self._language]
        text = semicolon.join(comma.join(group) for group in groups) + stop
        return DraftSentence(text, tuple(dict.fromkeys(slot.fact_id for slot in slots(text))))


def _sentences(page: _Page, language: Language) -> Iterator[list[list[str]]]:
    """Groups of each possible sentence in the order of reading: market, choice, fit, result, meaning."""
    trend, volatility, changed, lasting = _MARKET[language]
    if page.has("index", "return_1m"):
        volatility = _SAME_INDEX[language]
    # the regime is said once: where it came from, or how long it lasts
    yield page.groups((trend, volatility, changed if page.has("market", "previous_regime") else lasting))
    favoured, increased, decreased = _CHOICE[language]
    untraded = page.statement("left_to_drift")
    if page.has("strategy", "equal_weights"):
        yield page.hint("equal_weights") + page.groups((_ACTIVE[language],)) + untraded
    elif page.has("strategy", "left_to_drift"):
        yield page.groups((favoured[:-1],)) + untraded  # no single change is spoken of where nothing was traded
    elif page.same_style("favoured", "increased"):
        yield page.groups((favoured, decreased))
    elif page.same_style("favoured", "decreased"):
        yield page.groups((favoured, increased))
    else:
        yield page.groups((favoured, increased, decreased))
    yield page.groups(_FIT[language]) + page.hint("fits_regime", "opposes_regime", "neutral_to_regime")
    month, quarter, turnover = _RESULT[language]
    if page.has("strategy", "net_return") or page.has("strategy", "net_return_3m"):
        turnover = _SAME_STRATEGY[language]
    yield page.groups((month, quarter, turnover))
    meaning = (page.hint(*_LEADING) + page.hint("tension", "equal_weight_clone") + page.hint(*_RISK))[:2]
    if page.first_of(*_LEADING) == "turning_defensive":
        fall = page.clause(_DRAWDOWN[language])
        meaning = meaning if fall is None else [[fall], *meaning]
    yield meaning


def template_sentences(facts: Facts, language: Language) -> tuple[DraftSentence, ...]:
    """Three to five sentences; sample sizes fill up what an early month cannot say yet."""
    page = _Page(facts, language)
    written = [sentence for sentence in map(page.sentence, _sentences(page, language)) if sentence is not None]
    fillers = [page.sentence(page.groups(_RETURNS[language]))]
    fillers += [page.sentence(page.groups(((pattern,),))) for pattern in _SAMPLES[language]]
    for filler in fillers:
        if len(written) >= FEWEST:
            break
        if filler is not None:
            written.append(filler)
    return tuple(written[:MOST])


def template_hash(language: Language, options: NarrativeOptions) -> str:
    """sha256 of everything the template's text depends on: version, patterns and wording of the language."""
    return _template_hash(language, index_name(language, options))


@lru_cache(maxsize=32)
def _template_hash(language: Language, index: str) -> str:
    words: dict[str, Any] = asdict(named_wording(language, index))
    material = {
        "version": VERSION,
        "patterns": [part[language] for part in (_MARKET, _CHOICE, _FIT, _RESULT, _RETURNS)],
        "variants": [part[language] for part in (_SAME_INDEX, _SAME_STRATEGY, _DRAWDOWN, _ACTIVE, _THEN, _JOIN)],
        "samples": _SAMPLES[language],
        "hints": [_LEADING, _RISK],
        "words": {
            name: {".".join(key) if isinstance(key, tuple) else key: value for key, value in table.items()} if isinstance(table, dict) else table
            for name, table in words.items()
        },
    }  # fmt: skip
    return hashlib.sha256(json.dumps(material, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class TemplateWriter:
    """The writer that needs no model; ``reason`` says why it wrote."""

    def __init__(self, reason: str = "no_endpoint") -> None:
        self.reason = reason

    def write(self, facts: Facts, language: Language, options: NarrativeOptions) -> Draft:
        """The template's draft; never fails on a fact table that holds the sample sizes."""
        provenance = Provenance("template", VERSION, template_hash(language, options), reason=self.reason)
        return Draft(template_sentences(facts, language), provenance)
