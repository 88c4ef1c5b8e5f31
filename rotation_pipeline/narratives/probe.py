"""Is the endpoint there, does it take the key, does it know the model? One short request, and nothing is written by a model."""

from __future__ import annotations

import threading
from typing import Literal

from rotation_pipeline.narratives.endpoint import NO_KEY
from rotation_pipeline.narratives.options import LlmOptions

SECONDS = 5.0
"""Seconds the endpoint may take to say which models it has."""
Level = Literal["ok", "warning", "error"]


def probe(options: LlmOptions, key: str | None, seconds: float = SECONDS) -> tuple[Level, str]:
    """What came of asking the endpoint for its list of models, in words that never hold the key.

    Takes ``seconds`` at the most, however slowly the endpoint answers. An endpoint without such a list (404, 405) is there all the same.
    """
    found: list[tuple[Level, str]] = []
    thread = threading.Thread(target=lambda: found.append(_asked(options, key, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        return "error", f"{options.base_url} did not answer within {seconds:g} s; the template would write every text"
    return found[0]


def _asked(options: LlmOptions, key: str | None, seconds: float) -> tuple[Level, str]:
    from openai import APIConnectionError, APIStatusError, OpenAI, OpenAIError

    where = str(options.base_url)
    try:
        with OpenAI(api_key=key or NO_KEY, base_url=options.base_url, max_retries=0, timeout=seconds) as client:
            known = {model.id for model in client.models.list().data}
    except APIStatusError as error:
        status = error.status_code
        if status in (404, 405, 501):
            return "ok", f"{where} answers; it has no list of models, so whether it knows {options.model} is not known"
        if status in (401, 403):
            told = "the key it was sent" if key else "requests without a key; set ROTATION_LLM_API_KEY"
            return "error", f"{where} refuses {told} (http {status})"
        return "warning", f"{where} answers with http {status}"
    except APIConnectionError:
        return "error", f"nobody answers at {where}; start the endpoint or correct llm.base_url"
    except (OpenAIError, ValueError, TypeError, AttributeError):
        return (
            "warning",
            f"{where} answers, but with no list of models that can be read; is it the address up to the version, as …/v1?",
        )
    if options.model not in known:
        shown = ", ".join(sorted(known)[:5]) or "none"
        return "warning", f"{where} answers; its list of models lacks {options.model} (it has {shown})"
    return "ok", f"{where} answers and has {options.model}"
