"""The two checks every narrative passes before it is stored; they share no method, so neither hides the other's mistakes.

:func:`check_slots` reads the draft: which facts the slots name, and whether anything forbidden stands outside them.
:func:`check_text` reads the finished text as a stranger would: clause by clause it finds who is spoken of, what is measured,
the number, its unit and sign, and compares them with the facts; words it does not know are refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.draft import Draft, DraftSentence
from rotation_pipeline.narratives.fact import Fact, Facts, period_of
from rotation_pipeline.narratives.lexer import Token, tokens
from rotation_pipeline.narratives.lexicon import forbidden
from rotation_pipeline.narratives.options import Language, NarrativeOptions, Period
from rotation_pipeline.narratives.slots import MINUS, SLOT, parts_of, slots
from rotation_pipeline.narratives.wording import FAMILIES, MAGNITUDES, Wording, named_wording, wording

FEWEST, MOST = 3, 5
"""Sentences of a narrative."""
_UNITS = {"fraction": "percent", "fraction_per_year": "percent"}
_MARKET_MEASURES = frozenset(
    {
        "probability", "months_in_regime", "index_months", "style_months", "weight_months", "quarter_months", "regime_months_q",
    }
)  # fmt: skip


def joined(sentences: Sequence[str], language: Language) -> str:
    """Sentences as one text."""
    return ("" if language == "zh" else " ").join(sentences)


def _count_error(count: int) -> list[str]:
    return [] if FEWEST <= count <= MOST else [f"{count} sentences; {FEWEST} to {MOST} are allowed"]


# --- the draft -----------------------------------------------------------------------------------------------------------


def check_slots(draft: Draft, facts: Facts, language: Language, options: NarrativeOptions) -> list[str]:
    """What is wrong with a draft's slots and the words outside them; empty when nothing is.

    Known ids; parts their facts have; a number without sign directly after its own direction; ids listed = ids used; three to
    five sentences, each with a slot; outside slots no digit in any script, number word, name of a style or regime, direction,
    degree, superlative, forecast, advice, cause, event, praise or negation.
    """
    period = period_of(facts)
    words = wording(language, options, period)
    errors = _count_error(len(draft.sentences))
    for place, sentence in enumerate(draft.sentences, start=1):
        found = [*_slot_errors(sentence, facts, words), *_outside_errors(sentence.text, words, period)]
        errors += [f"sentence {place}: {error}" for error in found]
    return errors


def _slot_errors(sentence: DraftSentence, facts: Facts, words: Wording) -> list[str]:
    found = slots(sentence.text)
    errors = [] if found else ["has no slot, so it states no fact"]
    for place, slot in enumerate(found):
        fact = facts.get(slot.fact_id)
        if fact is None:
            errors.append(f"slot {{{slot.fact_id}|{slot.part}}} names no fact of this month")
            continue
        allowed = parts_of(fact, words)
        if slot.part not in allowed:
            errors.append(
                f"{slot.fact_id} is a {fact.kind} fact and has no part {slot.part!r}; it has {', '.join(sorted(allowed))}"
            )
        before = found[place - 1] if place else None
        after = found[place + 1] if place + 1 < len(found) else None
        if slot.part == "abs" and not (
            before is not None
            and before.part == "dir"
            and before.fact_id == slot.fact_id
            and not sentence.text[before.end : slot.start].strip()
        ):
            errors.append(
                f"{{{slot.fact_id}|abs}} needs {{{slot.fact_id}|dir}} directly before it, or use {{{slot.fact_id}|value}}"
            )
        if slot.part == "dir" and (after is None or after.part != "abs" or after.fact_id != slot.fact_id):
            errors.append(f"{{{slot.fact_id}|dir}} needs {{{slot.fact_id}|abs}} directly after it")
    used = {slot.fact_id for slot in found}
    if len(set(sentence.fact_ids)) != len(sentence.fact_ids):
        errors.append("lists a fact id twice")
    errors += [f"uses {name} without listing it" for name in sorted(used - set(sentence.fact_ids))]
    errors += [f"lists {name} without using it" for name in sorted(set(sentence.fact_ids) - used)]
    return errors


@lru_cache(maxsize=32)
def _names(language: Language, index: str) -> re.Pattern[str]:
    """Names of styles, regimes and the strategy, which belong into slots; the index's name may be written out."""
    words = named_wording(language, index)
    names = [name for subject, name in words.subjects.items() if subject != "index"] + list(words.regimes.values())
    known = "|".join(map(re.escape, names))
    return re.compile(known if language == "zh" else rf"(?<![A-Za-z])(?:{known})(?![A-Za-z])", re.IGNORECASE)


def _outside_errors(text: str, words: Wording, period: Period) -> list[str]:
    outside = SLOT.sub("\n", text)
    errors = [f"brace {char!r} outside a slot; a slot is {{id|part}}" for char in sorted(set("{}") & set(outside))]
    outside = outside.replace(words.subjects["index"], "\n")  # its digits are part of a name
    digits = sorted({char for char in outside if char.isnumeric() and not unicodedata.name(char, "").startswith("CJK")})
    errors += [f"digit {char!r} outside a slot" for char in digits]
    numerals = sorted({char for char in outside if char.isnumeric() and char not in digits})
    errors += [f"number word {char!r} outside a slot" for char in numerals]
    errors += [
        f"name {match[0]!r} outside a slot"
        for match in _names(words.language, words.subjects["index"]).finditer(outside)
    ]
    return errors + [
        f"{kind} {wording_!r} outside a slot" for kind, wording_ in forbidden(outside, words.language, period)
    ]


# --- the text ------------------------------------------------------------------------------------------------------------


def check_text(
    text: str,
    sentences: Sequence[tuple[str, Sequence[str]]],
    facts: Facts,
    language: Language,
    options: NarrativeOptions,
) -> list[str]:
    """What is wrong with a finished text; empty when nothing is. Slots are not looked at.

    ``sentences`` are (sentence as rendered, ids of the facts it is said to state). Every clause must state a fact that can be
    checked: a number with its unit bound to a subject and measure, a regime, the name of a style after what singles it out, or
    the exact wording of a hint that holds. Facts stated = facts listed.
    """
    errors = _count_error(len(sentences))
    if text != joined([sentence for sentence, _ in sentences], language):
        errors.append("the text is not its sentences put together")
    for place, (sentence, fact_ids) in enumerate(sentences, start=1):
        reader = _Reader(facts, language, options)
        found = reader.read(sentence)
        found += [f"states {name} without listing it" for name in sorted(reader.stated - set(fact_ids))]
        found += [f"lists {name} without stating it" for name in sorted(set(fact_ids) - reader.stated)]
        errors += [f"sentence {place}: {error}" for error in found]
    return errors


def _number_error(token: Token, fact: Fact, sign: int | None) -> str | None:
    """What is wrong with a number said of a fact; ``sign`` is that of the direction before it, None without one."""
    if fact.value is None:
        return f"{token.text!r} is a number but {fact.fact_id} is a label"
    written = token.number.replace(MINUS, "-")
    if "-" in token.number:
        return f"{token.text!r} has a hyphen for a minus sign"
    said = Decimal(written.rstrip("stndrh"))
    truth = Decimal(fact.value) * (100 if fact.unit in _UNITS else 1)
    if fact.measure in MAGNITUDES:
        truth = abs(truth)
    if written[0] == "+" or (written[0] == "-" and said == 0):
        return f"{token.text!r} has a sign it does not need"
    decimals = len(written.partition(".")[2])
    if decimals != fact.precision:
        return f"{token.text!r} shows {decimals} decimals of {fact.fact_id}; {fact.precision} are shown"
    if sign is not None:
        if written[:1] in "+-":
            return f"{token.text!r} has a sign beside its direction word"
        shown = 0 if said == 0 else 1 if truth > 0 else -1
        if sign != shown:
            return f"the direction before {token.text!r} is wrong for {fact.fact_id}"
        truth = abs(truth)
    half = Decimal(10) ** -decimals / 2
    if abs(said - truth) > half * Decimal("1.000001"):
        return f"{token.text!r} is not {fact.fact_id} ({fact.subject} {fact.measure} = {truth:.{decimals}f})"
    if written.endswith(("st", "nd", "rd", "th")):
        ending = "th" if said % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(int(said % 10), "th")
        if not written.endswith(ending):
            return f"{token.text!r} has the wrong ending"
    return None


class _Reader:
    """Reads one sentence. What is spoken of and what is measured carry over from clause to clause."""

    def __init__(self, facts: Facts, language: Language, options: NarrativeOptions) -> None:
        self._facts = facts
        self._language: Language = language
        self._options = options
        self._period: Period = period_of(facts)
        self._subject: str | None = None
        self._subject_used = True
        self._measures: tuple[str, ...] = ()
        self.stated: set[str] = set()

    def read(self, sentence: str) -> list[str]:
        """Errors of the sentence."""
        errors: list[str] = []
        clause: list[Token] = []
        for token in [*tokens(sentence, self._language, self._options, self._period), Token("stop", "")]:
            if token.kind != "stop":
                clause.append(token)
            elif clause:
                errors += self._clause(clause)
                clause = []
        if not self._subject_used:
            errors.append(f"{self._subject} is named but nothing is said of it")
        return errors

    def _clause(self, clause: list[Token]) -> list[str]:
        text = ("" if self._language == "zh" else " ").join(token.text for token in clause)
        errors = self._unknown_errors(clause, text)
        before = len(self.stated)
        seen = 0
        label: str | None = None
        previous = False
        for place, token in enumerate(clause):
            direction = clause[place - 1] if place and clause[place - 1].kind == "direction" else None
            if label is not None and token.kind not in ("entity", "neutral"):
                errors.append(f"{label} is not followed by the name of a style")
                label = None
            match token.kind:
                case "entity":
                    errors += self._entity(token, label)
                    seen += label is not None
                    label = None
                case "measure":
                    self._measures = token.measures
                case "label":
                    label, self._measures = token.name, token.measures
                case "previous":
                    previous = True
                case "direction":
                    following = clause[place + 1] if place + 1 < len(clause) else None
                    if following is None or following.kind != "number":
                        errors.append(f"direction {token.text!r} without a number directly after it")
                case "number":
                    errors += self._number(token, direction)
                    seen += 1
                case "unchanged":
                    errors += self._unchanged(token)
                    seen += 1
                case "regime":
                    errors += self._label(
                        ("market", "previous_regime" if previous else "regime"), token.name, token.text
                    )
                    previous = False
                    seen += 1
                case "hint":
                    errors += self._hint(token)
                    seen += 1
                case _:
                    pass
        if label is not None:
            errors.append(f"{label} is not followed by the name of a style")
        if previous:
            errors.append("the earlier regime is announced but not named")
        if not seen and len(self.stated) == before:
            errors.append(f"clause {text!r} states no fact that can be checked")
        return errors

    def _unknown_errors(self, clause: list[Token], text: str) -> list[str]:
        unknown = [token.text for token in clause if token.kind == "unknown"]
        if not unknown:
            return []
        classes = [f"{kind} {word!r}" for kind, word in forbidden(text, self._language, self._period)]
        glue = "" if self._language == "zh" else " "
        return [
            f"wording {glue.join(unknown)!r} is none of the facts' or neutral words"
            + (f" ({', '.join(classes)})" if classes else "")
        ]

    def _entity(self, token: Token, label: str | None) -> list[str]:
        errors: list[str] = []
        if not self._subject_used and self._subject != token.name:
            errors.append(f"{self._subject} is named but nothing is said of it")
        self._subject, self._subject_used = token.name, label is not None
        if label is not None:
            errors += self._label(("strategy", label), token.name, token.text)
        return errors

    def _label(self, key: tuple[str, str], name: str, text: str) -> list[str]:
        fact = self._facts.get(FACT_IDS[key])
        if fact is None:
            return [f"{text!r} is said of {key[1]}, which this month does not have"]
        self.stated.add(fact.fact_id)
        return [] if fact.label == name else [f"{text!r} is not {key[1]} ({fact.fact_id} = {fact.label})"]

    def _hint(self, token: Token) -> list[str]:
        fact = next((fact for fact in self._facts.values() if fact.kind == "hint" and fact.label == token.name), None)
        if fact is None:
            return [f"{token.text!r} says {token.name}, which does not hold this month"]
        self.stated.add(fact.fact_id)
        return []

    def _unchanged(self, token: Token) -> list[str]:
        found = (self._facts.get(FACT_IDS.get((self._subject or "", measure), "")) for measure in token.measures)
        fact = next((fact for fact in found if fact is not None), None)
        if fact is None or fact.value is None:
            return [f"{token.text!r} is said of {self._subject or 'nobody'}, who has no {token.measures[0]}"]
        self._subject_used = True
        self.stated.add(fact.fact_id)
        if abs(Decimal(fact.value)) > Decimal(10) ** -fact.precision / 2:
            return [
                f"{token.text!r} is not {fact.fact_id} ({fact.subject} {fact.measure} = {fact.value:.{fact.precision}f})"
            ]
        return []

    def _number(self, token: Token, direction: Token | None) -> list[str]:
        measures = self._measures if direction is None else direction.measures
        subject = "market" if measures and set(measures) <= _MARKET_MEASURES else self._subject
        if subject is None:
            return [f"number {token.text!r} is said of nobody"]
        facts = [
            self._facts[FACT_IDS[key]]
            for key in ((subject, measure) for measure in measures)
            if FACT_IDS.get(key) in self._facts
        ]
        fitting = [fact for fact in facts if _UNITS.get(fact.unit, fact.unit) == token.name]
        if direction is None:  # a comparison is only ever said with its direction
            fitting = [
                fact
                for fact in fitting
                if fact.kind not in ("comparison", "weight_change") or fact.measure == measures[0]
            ]
        if len(fitting) != 1:
            said = "/".join(measures) or "no measure"
            return [
                f"number {token.text!r} ({said} of {subject}) fits {len(fitting)} facts; subject, measure or unit is wrong"
            ]
        fact = fitting[0]
        if subject == self._subject:
            self._subject_used = True
        if direction is not None and not set(direction.measures) & set(self._measures):
            self._measures = (fact.measure, *FAMILIES.get(fact.measure, ()))
        self.stated.add(fact.fact_id)
        error = _number_error(token, fact, None if direction is None else direction.sign)
        return [] if error is None else [error]
