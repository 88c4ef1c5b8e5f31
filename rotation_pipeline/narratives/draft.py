"""What a writer hands over: sentences with slots, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from rotation_pipeline.narratives.fact import Facts
from rotation_pipeline.narratives.options import Language, NarrativeOptions


@dataclass(frozen=True, slots=True)
class DraftSentence:
    """One sentence with slots, and the ids of the facts it states."""

    text: str
    fact_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RejectedDraft:
    """A draft the checks refused, with their reasons."""

    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who wrote a draft and what it took; the columns of table NARRATIVES of the same names."""

    source: Literal["llm", "cache", "template"]
    prompt_version: str
    prompt_hash: str
    reason: str | None = None
    model: str | None = None
    attempts: int = 0
    rejected: tuple[RejectedDraft, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A narrative before its slots are filled in."""

    sentences: tuple[DraftSentence, ...]
    provenance: Provenance


class Writer(Protocol):
    """Writes one month's narrative in one language from its facts.

    A writer never sees months, dates or security names. Whatever it returns is checked again before it is stored; one that
    may fail (no answer, rejected drafts) returns the template's draft with the reason in its provenance.
    """

    def write(self, facts: Facts, language: Language, options: NarrativeOptions) -> Draft:
        """A draft that passes both checks."""
        ...
