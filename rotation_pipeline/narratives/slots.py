"""The slot grammar of drafts and its rendering.

A slot is ``{id|part}``. Parts:

==========  ==========================================  ==============================================================
part        for                                         renders
==========  ==========================================  ==============================================================
subject     facts about the index, strategy or a style  the subject's name
measure     facts with a measure phrase                 the measure's name; of a label fact the verb before the label
dir         facts that have direction phrases           the direction phrase of the number's sign at display precision
abs         the same, directly after their ``dir``      the number without sign, with its unit (*)
value       numbers                                     the number with its sign and unit (drawdowns without sign)
label       regimes and styles                          the name
hint        hints                                       what the hint states
meaning     hints                                       what it means for return and risk
==========  ==========================================  ==============================================================

(*) Nothing, where the direction phrase says it all: a weight left unchanged, an excess of nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rotation_pipeline.narratives.fact import Fact, Facts, shows_zero
from rotation_pipeline.narratives.options import Language
from rotation_pipeline.narratives.wording import MAGNITUDES, SILENT_ZEROS, Wording, group

SLOT = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
MINUS = "\N{MINUS SIGN}"
_SPACED = re.compile(f"( ?){SLOT.pattern}")


class SlotError(ValueError):
    """A slot that cannot be rendered: unknown fact, or a part its fact does not have."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot in a draft sentence and where it stands."""

    fact_id: str
    part: str
    start: int
    end: int


def slots(text: str) -> list[Slot]:
    """The slots of a draft sentence in order; text that merely looks like one is left to :func:`check_slots`."""
    return [Slot(match[1], match[2], match.start(), match.end()) for match in SLOT.finditer(text)]


def parts_of(fact: Fact, words: Wording) -> frozenset[str]:
    """The parts a slot of this fact may ask for."""
    key = (group(fact.subject), fact.measure)
    if fact.kind == "hint":
        return frozenset({"hint", "meaning"})
    parts = {"measure"} if key in words.measures else set[str]()
    if fact.label is not None:
        return frozenset(parts | {"label"})
    if key in words.directions:
        parts |= {"dir", "abs"}
    if key in words.measures:
        parts.add("value")
    if fact.subject in words.subjects:
        parts.add("subject")
    return frozenset(parts)


def shown(fact: Fact) -> str:
    """The number at display precision, without unit, with a hyphen for sign where it is negative and not shown as zero."""
    if fact.value is None:
        raise SlotError(f"{fact.fact_id} ({fact.measure}) is a label; it has no number")
    value = fact.value * 100.0 if fact.unit in ("fraction", "fraction_per_year") else fact.value
    if fact.measure in MAGNITUDES:
        value = abs(value)
    text = f"{value:.{fact.precision}f}"
    return text.lstrip("-") if shows_zero(value, fact.precision) else text


def _ordinal(number: str) -> str:
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
    return number + ("th" if number[-2:] in ("11", "12", "13") else ending)


def with_unit(number: str, unit: str, language: Language) -> str:
    """A number with its unit as the language writes it; the sign of a negative one is a minus, not a hyphen."""
    number = number.replace("-", MINUS)
    match unit, language:
        case (("fraction" | "fraction_per_year"), _):
            return f"{number}%"
        case "points", "zh":
            return f"{number}个百分点"
        case "points", _:
            return f"{number} percentage points"
        case "months", "zh":
            return f"{number}个月"
        case "months", _:
            return f"{number} month" if number == "1" else f"{number} months"
        case "rank", "zh":
            return f"第{number}位"
        case "rank", _:
            return _ordinal(number)
        case "percentile", _ if number in ("0", "100"):
            high = number == "100"
            if language == "zh":
                return f"近12个月最{'高' if high else '低'}水平"
            return f"the {'high' if high else 'low'}est level of the last 12 months"
        case "percentile", "zh":
            return f"近12个月第{number}百分位"
        case "percentile", _:
            return f"the {_ordinal(number)} percentile of the last 12 months"
        case _:
            raise SlotError(f"unit {unit!r} has no wording")


def render_slot(fact: Fact, part: str, words: Wording) -> str:
    """The text of one slot. Raises :class:`SlotError` for a part the fact does not have."""
    if part not in parts_of(fact, words):
        raise SlotError(
            f"{fact.fact_id} ({fact.kind}) has no part {part!r}; it has {', '.join(sorted(parts_of(fact, words)))}"
        )
    key = (group(fact.subject), fact.measure)
    match part:
        case "subject":
            return words.subjects[fact.subject]
        case "measure":
            return words.measures[key]
        case "dir":
            number = float(shown(fact))
            return words.directions[key][0 if number > 0 else 1 if number < 0 else 2]
        case "abs":
            if fact.measure in SILENT_ZEROS and float(shown(fact)) == 0.0:
                return ""
            return with_unit(shown(fact).lstrip("-"), fact.unit, words.language)
        case "value":
            return with_unit(shown(fact), fact.unit, words.language)
        case "label":
            names = words.regimes if fact.kind == "regime" else words.subjects
            return names[fact.label or ""]
        case _:
            return words.hints[fact.measure][0 if part == "hint" else 1]


def render(text: str, facts: Facts, words: Wording) -> str:
    """A draft sentence with its slots filled in; English sentences start with a capital letter. A slot that renders nothing takes
    the space before it along.

    Raises :class:`SlotError` for a slot whose fact or part does not exist.
    """

    def fill(match: re.Match[str]) -> str:
        space, fact_id, part = match[1], match[2], match[3]
        fact = facts.get(fact_id)
        if fact is None:
            raise SlotError(f"slot {{{fact_id}|{part}}} names no fact of this month")
        filling = render_slot(fact, part, words)
        return space + filling if filling else ""

    filled = _SPACED.sub(fill, text)
    return filled[:1].upper() + filled[1:] if words.language == "en" else filled
