"""What a model is told: rules, the facts of a month, and what was wrong with its last answer.

The texts stand in ``prompts/<language>.toml`` with their version. A model sees ids, kinds, meanings and what each slot will say;
it never sees a month, a date, the name of a security, or the name of the index, which a setting could turn into an instruction.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.fact import Fact, Facts, period_of
from rotation_pipeline.narratives.lexicon import CONJUNCTIONS, neutral_words
from rotation_pipeline.narratives.options import Language, NarrativeOptions, Period
from rotation_pipeline.narratives.slots import parts_of, render_slot
from rotation_pipeline.narratives.template import template_sentences
from rotation_pipeline.narratives.wording import Wording, group, index_name, named_wording

ANONYMOUS: dict[Language, str] = {"zh": "指数", "en": "the index"}
"""What the index is called to a model."""
MOST_ERRORS = 20
"""Errors told back at once; more would only lengthen the next answer."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "fact_ids": {"type": "array", "items": {"type": "string"}}},
                "required": ["text", "fact_ids"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["sentences"],
    "additionalProperties": False,
}
"""What an answer must look like. How many sentences is not said: strict schemas know no bounds."""
_PART_ORDER = ("subject", "measure", "dir", "abs", "value", "label", "hint", "meaning")
Message = dict[str, str]
"""``role`` and ``content``."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts of one language for months or quarters; ``hash`` covers all of them and the schema."""

    language: Language
    version: str
    hash: str
    system: str
    request: str
    repair: str
    malformed: str
    length: str
    meanings: dict[str, str]


def _meaning(fact: Fact, meanings: dict[str, str]) -> str:
    return meanings["hint" if fact.kind == "hint" else f"{group(fact.subject)}.{fact.measure}"]


def _about(fact: Fact, words: Wording, language: Language) -> str:
    market = "市场" if language == "zh" else "the market"
    return words.subjects.get(fact.subject, market)


def fact_lines(facts: Facts, language: Language, meanings: dict[str, str]) -> str:
    """The facts as a model sees them, a JSON object a line, by id."""
    words = named_wording(language, ANONYMOUS[language], period_of(facts))
    lines: list[str] = []
    for fact_id in sorted(facts):
        fact = facts[fact_id]
        parts = parts_of(fact, words)
        shown = {part: render_slot(fact, part, words) for part in _PART_ORDER if part in parts}
        line = {
            "id": fact_id,
            "kind": fact.kind,
            "about": _about(fact, words, language),
            "means": _meaning(fact, meanings),
            "slots": shown,
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    return "\n".join(lines)


_OF_QUARTERS = {
    "return_1m": "return_q",
    "weight_change": "weight_change_q",
    "net_return": "net_return_q",
    "excess": "excess_q",
}


def example_facts(period: Period = "month") -> dict[str, Fact]:
    """The facts of the example in the prompt: an invented month or quarter."""
    chosen: list[tuple[str, str, str, float | str, str, int]] = [
        ("index", "return_1m", "return", 0.0144, "fraction", 2),
        ("index", "trend", "comparison", -0.0187, "fraction", 2),
        ("market", "regime", "regime", "range", "label", 0),
        ("market", "probability", "probability", 0.83, "fraction", 0),
        ("market", "months_in_regime", "count", 5.0, "months", 0),
        ("strategy", "favoured", "style", "QLTY", "label", 0),
        ("QLTY", "weight", "weight", 0.264, "fraction", 1),
        ("QLTY", "weight_change", "weight_change", 2.7, "points", 1),
        ("strategy", "net_return", "return", -0.0032, "fraction", 2),
        ("strategy", "excess", "comparison", 0.11, "points", 2),
        ("market", "volatility_low", "hint", "volatility_low", "label", 0),
    ]
    if period == "quarter":
        chosen = [(item[0], _OF_QUARTERS.get(item[1], item[1]), *item[2:]) for item in chosen]
        chosen += [
            ("market", "quarter_months", "count", 3.0, "months", 0),
            ("strategy", "best_return_q", "style", "QLTY", "label", 0),
            ("QLTY", "return_q", "return", 0.0411, "fraction", 2),
        ]
    facts: dict[str, Fact] = {}
    for subject, measure, kind, value, unit, precision in chosen:
        fact_id = FACT_IDS[subject, measure]
        number, label = (None, value) if isinstance(value, str) else (value, None)
        facts[fact_id] = Fact(fact_id, kind, subject, measure, number, label, unit, precision)
    return facts


@cache
def prompt_of(language: Language, period: Period = "month") -> Prompt:
    """The prompt of a language for months or quarters. Its example is written by the template, so it passes the checks."""
    text = (files("rotation_pipeline.narratives") / "prompts" / f"{language}.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    words: dict[str, str] = raw[period]
    meanings: dict[str, str] = {**raw["meanings"], **(raw["quarter_meanings"] if period == "quarter" else {})}
    example = example_facts(period)
    sentences = [
        {"text": sentence.text, "fact_ids": list(sentence.fact_ids)}
        for sentence in template_sentences(example, language)
    ]
    comma = "、" if language == "zh" else ", "
    system = Template(raw["system"]).substitute(
        **words,
        neutral=comma.join(neutral_words(language, period)),
        conjunctions=comma.join(CONJUNCTIONS[language]),
        example_facts=fact_lines(example, language, meanings),
        example_answer=json.dumps({"sentences": sentences}, ensure_ascii=False),
    )
    digest = hashlib.sha256(json.dumps([text, system, SCHEMA], ensure_ascii=False, sort_keys=True).encode()).hexdigest()
    return Prompt(
        language, raw["version"], digest, system.strip(), _filled(raw["texts"]["request"], words), _filled(raw["texts"]["repair"], words),
        raw["answers"]["malformed"], raw["answers"]["length"], meanings,
    )  # fmt: skip


def _filled(text: str, words: dict[str, str]) -> str:
    """The text with the words of the period in it; what is asked for later (facts, errors) stays."""
    return Template(text).safe_substitute(words).strip()


def opening(prompt: Prompt, facts: Facts) -> list[Message]:
    """The messages that ask for the first draft."""
    request = Template(prompt.request).substitute(facts=fact_lines(facts, prompt.language, prompt.meanings))
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": request}]


def feedback(prompt: Prompt, answer: str, errors: Iterable[str], options: NarrativeOptions) -> list[Message]:
    """The messages that hand a refused answer back with what was wrong with it, the index unnamed as before."""
    listed = list(errors)
    shown = [f"- {error}" for error in listed[:MOST_ERRORS]]
    if len(listed) > MOST_ERRORS:
        shown.append(f"- … {len(listed) - MOST_ERRORS}")
    name = re.compile(re.escape(index_name(prompt.language, options)), re.IGNORECASE)
    text = name.sub(lambda _: ANONYMOUS[prompt.language], "\n".join(shown))
    request = Template(prompt.repair).substitute(errors=text)
    return [{"role": "assistant", "content": answer}, {"role": "user", "content": request}]
