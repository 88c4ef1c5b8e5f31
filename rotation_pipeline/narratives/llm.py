"""The writer that asks a language model, and falls back to the template with the reason.

A draft is asked for at most ``attempts`` times within one deadline. A refused draft goes back with the exact errors of the checks.
What passed is kept in the cache and checked again whenever it is read. An endpoint that is down is not waited for 242 times: the
writer remembers that it failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from string import Template
from typing import Literal, TypeVar

from rotation_pipeline.narratives.answers import Malformed, read_sentences, written_sentences
from rotation_pipeline.narratives.cache import DraftCache, cache_key
from rotation_pipeline.narratives.draft import Draft, DraftSentence, Provenance, RejectedDraft
from rotation_pipeline.narratives.endpoint import Endpoint, Reply
from rotation_pipeline.narratives.fact import Facts, period_of
from rotation_pipeline.narratives.options import Language, LlmOptions, NarrativeOptions
from rotation_pipeline.narratives.prompt import Message, Prompt, feedback, opening, prompt_of
from rotation_pipeline.narratives.template import VERSION, template_hash, template_sentences
from rotation_pipeline.narratives.write import verify

NOT_CACHED = "not_cached"
"""Reason of a template where no endpoint may be asked and the cache has no draft."""
LONGEST_KEPT = 4000
"""Characters of a refused answer that are kept and sent back."""
MOST_REASONS = 50
"""Errors of one refused answer that are kept."""
_FOR_GOOD = frozenset({"http_401", "http_403", "http_404", "client"})
"""Failures that the next narrative would meet as well: a wrong key, address or model."""
_OUTAGES = ("timeout", "deadline", "connection", "http_")


class Breaker:
    """Remembers that an endpoint is down, so that narratives do not each wait for it to find out."""

    def __init__(self, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._failures, self._pause, self._clock = failures, pause, clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._reason: str | None = None
        self._until: float | None = None

    def blocked(self) -> str | None:
        """Why nothing may be asked now; None when something may. After a pause one caller may try, the others wait on."""
        with self._lock:
            if self._reason is None:
                return None
            if self._until is not None and self._clock() >= self._until:
                self._until = self._clock() + self._pause
                return None
            return self._reason

    def report(self, reason: str | None) -> None:
        """How a narrative ended; None: the endpoint answered, whatever it said."""
        with self._lock:
            if reason is None:
                self._in_a_row, self._reason, self._until = 0, None, None
                return
            self._in_a_row += 1
            if reason in _FOR_GOOD:
                self._reason, self._until = reason, None
            elif reason == "connection" or self._in_a_row >= self._failures or self._reason is not None:
                self._reason, self._until = reason, self._clock() + self._pause


@dataclass(slots=True)
class _Tally:
    """What writing one narrative took so far."""

    attempts: int = 0
    rejected: list[RejectedDraft] = field(default_factory=list[RejectedDraft])
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    answers: int = 0

    def hear(self, reply: Reply) -> None:
        """Count a reply. One that does not say its tokens makes the sum unknown."""
        self.attempts += 1
        if not reply.answered:
            return
        self.answers += 1
        self.input_tokens = _sum(self.input_tokens, reply.input_tokens)
        self.output_tokens = _sum(self.output_tokens, reply.output_tokens)

    def refuse(self, text: str, reasons: Sequence[str]) -> None:
        """Keep a refused answer with the reasons."""
        self.rejected.append(RejectedDraft(text[:LONGEST_KEPT], tuple(reasons[:MOST_REASONS])))


_N = TypeVar("_N", int, float)


def _sum(total: _N | None, more: _N | None) -> _N | None:
    return None if total is None or more is None else total + more


def _price(tokens: int | None, per_million: float | None) -> float | None:
    return None if tokens is None or per_million is None else tokens * per_million / 1e6


@dataclass(frozen=True, slots=True)
class _Task:
    """One narrative to write."""

    facts: Facts
    language: Language
    options: NarrativeOptions
    prompt: Prompt
    key: str


class LlmWriter:
    """Writes with a model; see module docstring. May be used by several threads.

    Without an endpoint it only reads the cache: so a replay repeats what a model wrote and asks nobody.
    """

    def __init__(
        self,
        options: LlmOptions,
        endpoint: Endpoint | None,
        cache: DraftCache,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._options = options
        self._endpoint = endpoint
        self._cache = cache
        self._clock = clock
        self._sleep = sleep
        self._breaker = Breaker(options.failures_before_pause, options.pause, clock)

    def write(self, facts: Facts, language: Language, options: NarrativeOptions) -> Draft:
        """A draft of the cache, else of the model, else of the template; each has passed both checks."""
        prompt = prompt_of(language, period_of(facts))
        task = _Task(facts, language, options, prompt, cache_key(prompt, facts, self._options))
        tally = _Tally()
        kept = self._kept(task, tally)
        if kept is not None:
            return self._draft(task, kept, "cache", tally, None)
        if self._endpoint is None:
            return self._template(task, tally, NOT_CACHED, None)
        blocked = self._breaker.blocked()
        if blocked is not None:
            return self._template(task, tally, blocked, None)
        begun = self._clock()
        sentences, reason = self._asked(self._endpoint, task, tally, begun + self._options.deadline)
        latency = self._clock() - begun
        outage = tally.answers == 0 and reason.startswith(_OUTAGES)
        self._breaker.report(reason if outage or reason in _FOR_GOOD else None)
        if sentences is None:
            return self._template(task, tally, reason, latency)
        self._cache.put(task.key, written_sentences(sentences))
        return self._draft(task, sentences, "llm", tally, latency)

    def _kept(self, task: _Task, tally: _Tally) -> tuple[DraftSentence, ...] | None:
        """The cache's draft if it still passes; one that does not is reported among the refused drafts."""
        text = self._cache.get(task.key)
        if text is None:
            return None
        try:
            sentences = read_sentences(text)
        except Malformed as error:
            tally.refuse(text, (f"cache: {error}",))
            return None
        errors = self._errors(task, sentences)
        if errors:
            tally.refuse(text, [f"cache: {error}" for error in errors])
            return None
        return sentences

    @staticmethod
    def _errors(task: _Task, sentences: tuple[DraftSentence, ...]) -> list[str]:
        draft = Draft(sentences, Provenance("llm", task.prompt.version, task.prompt.hash))
        return verify(draft, task.facts, task.language, task.options)

    def _asked(
        self, endpoint: Endpoint, task: _Task, tally: _Tally, until: float
    ) -> tuple[tuple[DraftSentence, ...] | None, str]:
        """Sentences of the model, or None with the reason of the last failure."""
        messages: list[Message] = opening(task.prompt, task.facts)
        reason = "deadline"
        for attempt in range(1, self._options.attempts + 1):
            if self._clock() >= until:
                return None, "deadline"
            reply = endpoint.ask(messages, until)
            tally.hear(reply)
            sentences, errors, reason = self._judged(task, reply)
            if sentences is not None:
                return sentences, ""
            if reply.answered:
                tally.refuse(reply.text, errors)
            if (reply.reason is not None and not reply.again) or attempt == self._options.attempts:
                break
            if reply.text and reply.reason in (None, "length"):
                messages += feedback(task.prompt, reply.text[:LONGEST_KEPT], errors, task.options)
            elif not self._waited(attempt, reply, until):
                break
        return None, reason

    def _judged(self, task: _Task, reply: Reply) -> tuple[tuple[DraftSentence, ...] | None, list[str], str]:
        """(sentences that pass or None, errors to tell the model, reason of the failure)."""
        if reply.reason == "length":
            return None, [task.prompt.length], "length"
        if reply.reason is not None:
            detail = "the completion has no text" if reply.reason == "malformed" else reply.reason
            return None, [Template(task.prompt.malformed).substitute(detail=detail)], reply.reason
        try:
            sentences = read_sentences(reply.text)
        except Malformed as error:
            return None, [Template(task.prompt.malformed).substitute(detail=error)], "malformed"
        errors = self._errors(task, sentences)
        return (None, errors, "rejected") if errors else (sentences, [], "")

    def _waited(self, attempt: int, reply: Reply, until: float) -> bool:
        """Wait before the next attempt; False, without waiting, where the deadline would pass meanwhile."""
        seconds = self._options.backoff * 2.0 ** (attempt - 1) if reply.wait is None else reply.wait
        if self._clock() + seconds >= until:
            return False
        self._sleep(seconds)
        return True

    def _provenance(self, task: _Task, tally: _Tally, latency: float | None) -> Provenance:
        heard = tally.answers > 0
        options = self._options
        read = _price(tally.input_tokens, options.input_price)
        written = _price(tally.output_tokens, options.output_price)
        return Provenance(
            "llm",
            task.prompt.version,
            task.prompt.hash,
            model=options.model,
            attempts=tally.attempts,
            rejected=tuple(tally.rejected),
            input_tokens=tally.input_tokens if heard else None,
            output_tokens=tally.output_tokens if heard else None,
            latency=latency,
            cost=_sum(read, written) if heard else None,
        )

    def _draft(
        self,
        task: _Task,
        sentences: tuple[DraftSentence, ...],
        source: Literal["llm", "cache"],
        tally: _Tally,
        latency: float | None,
    ) -> Draft:
        return Draft(sentences, replace(self._provenance(task, tally, latency), source=source))

    def _template(self, task: _Task, tally: _Tally, reason: str, latency: float | None) -> Draft:
        provenance = replace(
            self._provenance(task, tally, latency),
            source="template",
            reason=reason,
            prompt_version=VERSION,
            prompt_hash=template_hash(task.language, task.options, period_of(task.facts)),
        )
        return Draft(template_sentences(task.facts, task.language), provenance)
