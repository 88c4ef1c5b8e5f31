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
from rotation_pipeline.narratives.fact import Facts, period_of, shows_zero
from rotation_pipeline.narratives.hints import HINTS
from rotation_pipeline.narratives.options import Language, NarrativeOptions, Period
from rotation_pipeline.narratives.patterns import PATTERNS, Group, Patterns
from rotation_pipeline.narratives.slots import slots
from rotation_pipeline.narratives.wording import index_name, named_wording

VERSION = "template-3"
FEWEST, MOST = 3, 5
"""Sentences of a narrative."""
QUARTER = 3
"""Months of a whole quarter."""
_NAME = re.compile(r"\{([A-Za-z_]+)\.([A-Za-z0-9_]+)\|")
_JOIN: dict[Language, tuple[str, str, str]] = {"zh": ("，", "；", "。"), "en": (", ", "; ", ".")}
"""Between clauses, between groups of clauses, at the end."""
_THEN: dict[Language, str] = {"zh": "，", "en": ": "}
"""Between a hint's statement and its meaning."""
_HINT_SUBJECTS = {hint.name: hint.subject for hint in HINTS}

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
    "increased_q": "largest_increase_q", "decreased_q": "largest_decrease_q", "best_q": "best_return_q", "worst_q": "worst_return_q",
}  # fmt: skip


class _Page:
    """The facts of a month behind names; finds what can be said."""

    def __init__(self, facts: Facts, language: Language) -> None:
        self._facts = facts
        self.language: Language = language
        self.period: Period = period_of(facts)

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

    def groups(self, *patterns: Group) -> list[list[str]]:
        """The groups whose first clause can be said, each with the clauses that can."""
        found: list[list[str]] = []
        for pattern in patterns:
            head = self.clause(pattern[0]) if pattern else None
            if head is not None:
                found.append([head, *(clause for clause in map(self.clause, pattern[1:]) if clause is not None)])
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
        return [[f"{{{fact_id}|hint}}{_THEN[self.language]}{{{fact_id}|meaning}}"]]

    def statement(self, name: str) -> list[list[str]]:
        """What the hint states, as one group, where it holds; else nothing."""
        return [[f"{{{FACT_IDS[_HINT_SUBJECTS[name], name]}|hint}}"]] if self.first_of(name) else []

    def has(self, subject: str, measure: str) -> bool:
        """Whether the month has the fact."""
        return self._id(subject, measure) is not None

    def shows(self, subject: str, measure: str) -> bool:
        """Whether there is such a number and it is not shown as zero."""
        fact_id = self._id(subject, measure)
        fact = None if fact_id is None else self._facts[fact_id]
        if fact is None or fact.value is None:
            return False
        scale = 100.0 if fact.unit in ("fraction", "fraction_per_year") else 1.0
        return not shows_zero(scale * fact.value, fact.precision)

    def number(self, subject: str, measure: str) -> float | None:
        """The value of a fact; None without."""
        fact_id = self._id(subject, measure)
        return None if fact_id is None else self._facts[fact_id].value

    def same_style(self, one: str, other: str) -> bool:
        """Whether two roles name the same style."""
        first, second = (self._facts.get(FACT_IDS["strategy", _ROLES[role]]) for role in (one, other))
        return first is not None and second is not None and first.label == second.label

    def sentence(self, groups: list[list[str]]) -> DraftSentence | None:
        """The groups as one sentence with the ids it uses, in order; None for no groups."""
        if not groups:
            return None
        comma, semicolon, stop = _JOIN[self.language]
        text = semicolon.join(comma.join(group) for group in groups) + stop
        return DraftSentence(text, tuple(dict.fromkeys(slot.fact_id for slot in slots(text))))


def _choice(page: _Page, say: Patterns) -> list[list[str]]:
    """What is held and what was traded, and what lies idle."""
    return _held(page, say) + page.statement("idle_weight")


def _held(page: _Page, say: Patterns) -> list[list[str]]:
    untraded = page.statement("left_to_drift")
    if page.has("strategy", "equal_weights"):
        active = page.groups(say.active) if page.shows("strategy", "active_share") else []
        return page.hint("equal_weights") + active + untraded
    if untraded:
        return page.groups(say.favoured[:-1]) + untraded  # no single change is spoken of where nothing was traded
    increased, decreased = ("increased", "decreased") if page.period == "month" else ("increased_q", "decreased_q")
    if page.same_style("favoured", increased):
        return page.groups(say.favoured, say.decreased)
    if page.same_style("favoured", decreased):
        return page.groups(say.favoured, say.increased)
    return page.groups(say.favoured, say.increased, say.decreased)


def _result(page: _Page, say: Patterns) -> list[list[str]]:
    """What the strategy earned after costs; how much was traded, unless it was said that nothing was."""
    months = page.number("market", "quarter_months")
    sample = page.groups(say.sample) if months is not None and months < QUARTER else []
    at_high = page.statement("at_high")
    result = page.groups(say.result[:-1] if at_high else say.result)
    if result and at_high and page.language == "zh":
        result[0] += at_high[0]
    elif result:
        result += at_high
    if page.has("strategy", "left_to_drift"):
        return sample + result
    return sample + result + page.groups(say.same_turnover if result else say.turnover)


def _meaning(page: _Page, say: Patterns) -> list[list[str]]:
    """Two hints with what they mean; none that repeats what was said before."""
    view = page.hint(*_LEADING)
    if not page.has("strategy", "equal_weights"):  # that the weights are equal now has been said
        opposed = page.has("strategy", "opposes_regime")  # and so has that the position runs against the regime
        view += page.hint(*(() if opposed else ("tension",)), "equal_weight_clone")
    meaning = (view + page.hint(*_RISK))[:2]
    if page.first_of(*_LEADING) == "turning_defensive":
        fall = page.clause(say.drawdown)
        meaning = meaning if fall is None else [[fall], *meaning]
    return meaning


def _sentences(page: _Page, language: Language) -> Iterator[list[list[str]]]:
    """Groups of each possible sentence in the order of reading: market, choice, fit, result, meaning."""
    say = PATTERNS[language, page.period]
    named = page.has("index", "return_1m" if page.period == "month" else "return_q")
    # the regime is said once: where it came from, or how long it lasts
    regime = say.changed if page.has("market", "previous_regime") else say.lasting
    yield page.groups(say.trend, say.same_volatility if named else say.volatility, regime)
    yield _choice(page, say)
    extremes = say.extremes if page.period == "quarter" else ()
    yield page.groups(*extremes, say.fit) + page.hint("fits_regime", "opposes_regime", "neutral_to_regime")
    yield _result(page, say)
    yield _meaning(page, say)


def template_sentences(facts: Facts, language: Language) -> tuple[DraftSentence, ...]:
    """Three to five sentences; sample sizes fill up what an early month cannot say yet."""
    page = _Page(facts, language)
    written = [sentence for sentence in map(page.sentence, _sentences(page, language)) if sentence is not None]
    say = PATTERNS[language, page.period]
    fillers = [page.sentence(page.groups(*say.extremes))] if page.period == "month" else []
    fillers += [page.sentence(page.groups(pattern)) for pattern in say.samples]
    for filler in fillers:
        if len(written) >= FEWEST:
            break
        if filler is not None:
            written.append(filler)
    return tuple(written[:MOST])


def template_hash(language: Language, options: NarrativeOptions, period: Period = "month") -> str:
    """sha256 of everything the template's text depends on: version, patterns and wording of the language and period."""
    return _template_hash(language, index_name(language, options), period)


@lru_cache(maxsize=64)
def _template_hash(language: Language, index: str, period: Period) -> str:
    words: dict[str, Any] = asdict(named_wording(language, index, period))
    material = {
        "version": VERSION,
        "patterns": asdict(PATTERNS[language, period]),
        "joins": [_THEN[language], _JOIN[language]],
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
        provenance = Provenance(
            "template", VERSION, template_hash(language, options, period_of(facts)), reason=self.reason
        )
        return Draft(template_sentences(facts, language), provenance)
