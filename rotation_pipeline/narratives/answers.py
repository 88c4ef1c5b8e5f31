"""An answer's text → sentences with slots, and back: the form in which drafts travel and are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast

from rotation_pipeline.narratives.draft import DraftSentence

LONGEST = 2000
"""Characters of a sentence; the template's have some 300."""
MOST_SENTENCES = 50
"""Sentences that are looked at at all; how many are allowed is for the checks to say."""
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^```[A-Za-z]*\s*\n(.*?)\n?\s*```$", re.DOTALL)


class Malformed(ValueError):
    """An answer that is not the JSON asked for; the message says what is wrong, for the model to read."""


def _objects(text: str) -> object:
    """The JSON value in an answer: bare, in a fence, after a chain of thought, or between words."""
    bare = _THOUGHT.sub("", text).strip().lstrip("\ufeff")
    fenced = _FENCE.match(bare)
    inner = fenced[1] if fenced else bare
    begin, end = inner.find("{"), inner.rfind("}")
    try:
        return json.loads(inner)
    except (ValueError, RecursionError):
        if begin < 0 or end < begin:
            raise Malformed("no JSON object was found") from None
    try:
        return json.loads(inner[begin : end + 1])
    except (ValueError, RecursionError):
        raise Malformed("the JSON cannot be parsed") from None


def _sentence(item: object, place: int) -> DraftSentence:
    if not isinstance(item, dict):
        raise Malformed(f"sentence {place} is no object")
    fields = cast(dict[str, object], item)
    text, ids = fields.get("text"), fields.get("fact_ids")
    if not isinstance(text, str) or not text.strip():
        raise Malformed(f'sentence {place} has no "text"')
    if len(text) > LONGEST:
        raise Malformed(f"sentence {place} is longer than {LONGEST} characters")
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in cast(list[object], ids)):
        raise Malformed(f'sentence {place} needs "fact_ids", a list of ids')
    # a lone surrogate is legal in JSON and illegal everywhere else
    clean = [str(value).encode("utf-8", "replace").decode() for value in (text.strip(), *cast(list[str], ids))]
    return DraftSentence(clean[0], tuple(clean[1:]))


def read_sentences(text: str) -> tuple[DraftSentence, ...]:
    """The sentences of an answer. Raises :class:`Malformed` for anything but ``{"sentences": [{"text", "fact_ids"}]}``."""
    value = _objects(text)
    items = cast(dict[str, object], value).get("sentences") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise Malformed('the object has no list "sentences"')
    found = cast(list[object], items)
    if len(found) > MOST_SENTENCES:
        raise Malformed(f"there are {len(found)} sentences")
    return tuple(_sentence(item, place) for place, item in enumerate(found, start=1))


def written_sentences(sentences: Sequence[DraftSentence]) -> str:
    """The sentences as :func:`read_sentences` reads them."""
    items = [{"text": sentence.text, "fact_ids": list(sentence.fact_ids)} for sentence in sentences]
    return json.dumps({"sentences": items}, ensure_ascii=False)
