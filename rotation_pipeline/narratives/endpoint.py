"""One request to an endpoint that speaks the chat completions protocol, and what came of it.

Nothing here raises for what an endpoint does: a :class:`Reply` holds its text, or the reason why there is none. The body is read and
understood here rather than by the client's parsers, which raise on fenced JSON and lose the token counts with it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.narratives.prompt import SCHEMA, Message

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

Format = Literal["json_schema", "json_object", "plain"]
NO_KEY = "none"
"""Sent where no key is set: servers at home ask for none, but the client demands one."""
MOST_BYTES = 2_000_000
"""Bytes of a body that are read; a narrative has some thousand."""
CONNECT_SECONDS = 10.0
"""Seconds to reach the endpoint; what has not answered by then is down or not there."""
_RETRIED = frozenset({408, 409, 425, 429})
_MOST_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request brought: ``text`` where ``reason`` is None. Tokens are None where the endpoint does not say.

    ``reason``: timeout, deadline, connection, http_<status>, malformed, no_choices, length, refusal, client. ``again``: whether
    another request may help; ``wait``: seconds the endpoint asks to wait before. ``answered``: a completion came back, whatever it says.
    """

    text: str = ""
    reason: str | None = None
    again: bool = False
    wait: float | None = None
    answered: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None


class Endpoint(Protocol):
    """Asks a model once."""

    def ask(self, messages: Sequence[Message], until: float) -> Reply:
        """The reply to the messages, at the latest at ``until`` on the clock. Does not raise for what an endpoint does."""
        ...


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a request is put: what the endpoint is known, or hoped, to accept."""

    format: Format = "json_schema"
    temperature: bool = False
    seed: bool = False
    limit: Literal["max_tokens", "max_completion_tokens"] | None = None

    def milder(self, complaint: str) -> _Shape | None:
        """The next shape to try after a refusal of this one; None when nothing is left to give up."""
        text = complaint.lower()
        if self.temperature and "temperature" in text:
            return replace(self, temperature=False)
        if self.seed and "seed" in text:
            return replace(self, seed=False)
        if self.limit == "max_tokens" and "max_completion_tokens" in text:
            return replace(self, limit="max_completion_tokens")
        if self.format == "json_schema":
            return replace(self, format="json_object")
        if self.format == "json_object":
            return replace(self, format="plain")
        if self.temperature or self.seed:
            return replace(self, temperature=False, seed=False)
        return None


class _TooLarge(Exception):
    """A body larger than any narrative."""


class _TooLate(Exception):
    """A body that was still coming when its time was up."""


class ChatEndpoint:
    """An endpoint of the chat completions protocol through the ``openai`` client; may be used by several threads.

    What the endpoint refuses (a strict schema, then any JSON mode; temperature; seed) is given up once and not sent again.
    """

    def __init__(self, options: LlmOptions, key: str | None, clock: Callable[[], float]) -> None:
        self._options = options
        self._key = key or None
        self._clock = clock
        self._shape = _Shape(
            temperature=options.temperature is not None,
            seed=options.seed is not None,
            limit=None if options.max_output_tokens is None else "max_tokens",
        )
        self._client: OpenAI | None = None
        self._lock = threading.Lock()

    def _connected(self) -> OpenAI:
        from openai import OpenAI

        with self._lock:
            if self._client is None:
                self._client = OpenAI(api_key=self._key or NO_KEY, base_url=self._options.base_url, max_retries=0)
            return self._client

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def ask(self, messages: Sequence[Message], until: float) -> Reply:
        """See :class:`Endpoint`. A refusal of the request's shape (400, 422) is answered with a milder shape, within the same time."""
        from openai import APIStatusError

        shape = self._shape
        while True:
            left = until - self._clock()
            if left <= 0.0:
                return Reply(reason="deadline")
            try:
                reply = self._sent(messages, shape, left)
            except APIStatusError as error:
                milder = shape.milder(str(error)) if error.status_code in (400, 422) else None
                if milder is None:
                    return _refused(error)
                shape = milder
                continue
            if reply.answered:
                self._shape = shape
            return reply

    def _sent(self, messages: Sequence[Message], shape: _Shape, left: float) -> Reply:
        import httpx2
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        seconds = min(self._options.timeout, left)
        late = "timeout" if seconds < left else "deadline"
        try:
            return read_body(self._body(messages, shape, seconds))
        except _TooLarge:
            return Reply(reason="malformed", again=True, answered=True)
        except _TooLate:
            return Reply(reason=late, again=True)
        except (APITimeoutError, httpx2.TimeoutException) as error:
            unreached = isinstance(error.__cause__ or error, httpx2.ConnectTimeout)
            return Reply(reason="connection" if unreached and late == "timeout" else late, again=True)
        except (APIConnectionError, httpx2.HTTPError):
            return Reply(reason="connection", again=True)
        except APIStatusError:
            raise
        except OpenAIError:
            return Reply(reason="client")

    def _body(self, messages: Sequence[Message], shape: _Shape, seconds: float) -> bytes:
        """The body of the answer, the key struck out of it should the endpoint repeat it."""
        import httpx2

        end = self._clock() + seconds
        create = cast(Any, self._connected().chat.completions.with_streaming_response.create)  # messages are plain here
        timeout = httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
        body = bytearray()
        with create(messages=list(messages), timeout=timeout, **self._parameters(shape)) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise _TooLarge
                # the client's own limit is on the silence between two pieces, not on the whole
                if self._clock() > end:
                    raise _TooLate
        found = bytes(body)
        return found.replace(self._key.encode(), b"[key]") if self._key else found

    def _parameters(self, shape: _Shape) -> dict[str, Any]:
        options = self._options
        found: dict[str, Any] = {"model": options.model}
        if shape.format == "json_schema":
            strict = {"name": "narrative", "strict": True, "schema": SCHEMA}
            found["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif shape.format == "json_object":
            found["response_format"] = {"type": "json_object"}
        if shape.temperature:
            found["temperature"] = options.temperature
        if shape.seed:
            found["seed"] = options.seed
        if shape.limit is not None:
            found[shape.limit] = options.max_output_tokens
        return found


def _refused(error: APIStatusError) -> Reply:
    status = error.status_code
    return Reply(
        reason=f"http_{status}", again=status in _RETRIED or status >= 500, wait=wait_asked(error.response.headers)
    )


def wait_asked(headers: Any) -> float | None:  # any mapping of header names
    """Seconds an answer asks to wait (``retry-after-ms``, ``retry-after`` in seconds or as a date); None without or nonsense."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0.0 <= seconds < float("inf"):
            return seconds
    try:
        # both dates are the server's, so its clock need not be right
        wanted, now = parsedate_to_datetime(headers["retry-after"]), parsedate_to_datetime(headers["date"])
        return max((wanted - now).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None


def _count(usage: object, name: str) -> int | None:
    value = cast(dict[str, object], usage).get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


def _text(content: object) -> str:
    """The text of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [cast(dict[str, object], part) for part in cast(list[object], content) if isinstance(part, dict)]
    return "".join(text for text in (part.get("text") for part in parts) if isinstance(text, str))


def read_body(body: bytes) -> Reply:
    """A chat completion as the bytes of its body → reply. Lone surrogates, which no file can hold, become question marks."""
    try:
        data: object = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return Reply(body.decode("utf-8", "replace"), reason="malformed", again=True, answered=True)
    whole = cast(dict[str, object], data)
    usage = whole.get("usage")
    heard = Reply(
        answered=True,
        input_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
    )
    choices = whole.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return replace(heard, reason="no_choices", again=True)
    choice = cast(dict[str, object], choices[0])
    message = choice.get("message")
    if not isinstance(message, dict):
        return replace(heard, reason="malformed", again=True)
    said = cast(dict[str, object], message)
    text = _text(said.get("content")).encode("utf-8", "replace").decode()
    if said.get("refusal") or choice.get("finish_reason") == "content_filter":
        return replace(
            heard, reason="refusal", text=str(said.get("refusal") or text).encode("utf-8", "replace").decode()
        )
    if choice.get("finish_reason") == "length":
        return replace(heard, reason="length", again=True, text=text)
    return replace(heard, text=text)
