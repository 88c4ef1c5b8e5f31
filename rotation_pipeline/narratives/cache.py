"""Drafts a model has written before, by what they were written from.

The key holds everything that shapes a draft and nothing that does not: no month, no run, no address of the endpoint. So a month
computed again, or a database cut off at an earlier month, finds the same draft, and any changed fact finds none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Protocol

from rotation_pipeline.narratives.fact import Facts
from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.narratives.prompt import Prompt


class DraftCache(Protocol):
    """Keeps texts by key; safe to use from several threads."""

    def get(self, key: str) -> str | None:
        """The text kept under the key; None without."""
        ...

    def put(self, key: str, text: str) -> None:
        """Keep the text under the key, in place of any other."""
        ...


def cache_key(prompt: Prompt, facts: Facts, options: LlmOptions) -> str:
    """sha256 of prompt (version and text), language, model, parameters and facts (exact values, not as displayed)."""
    material = {
        "prompt_version": prompt.version,
        "prompt_hash": prompt.hash,
        "language": prompt.language,
        "model": options.model,
        "parameters": {
            "temperature": options.temperature,
            "seed": options.seed,
            "max_output_tokens": options.max_output_tokens,
        },
        "facts": [asdict(facts[fact_id]) for fact_id in sorted(facts)],
    }
    text = json.dumps(material, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
