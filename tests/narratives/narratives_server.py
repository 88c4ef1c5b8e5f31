"""A local server of the chat completions protocol that does as it is told, for the tests of the model path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.answers import written_sentences
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS
from rotation_pipeline.narratives.draft import DraftSentence
from rotation_pipeline.narratives.fact import Fact
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.narratives.template import template_sentences
from rotation_pipeline.narratives.wording import wording

BY_ID = {FACT_IDS[spec.key]: spec for spec in CATALOGUE}


@dataclass
class Act:
    """What the server does with one request. ``text`` may be made from the request's body."""

    text: str | Callable[[dict[str, Any]], str] = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None
    usage: object = field(default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 200})
    finish: str = "stop"
    refusal: str | None = None
    choices: bool = True
    delay: float = 0.0
    trickle: float = 0.0
    hang_up: bool = False


def told(request: dict[str, Any]) -> tuple[dict[str, Fact], Language]:
    """The facts of a request as far as a writer needs them: which there are, and the styles the labels name."""
    first = request["messages"][1]["content"]
    language: Language = "zh" if "请用中文" in first else "en"
    names = {name: style for style, name in wording(language, NarrativeOptions()).subjects.items() if style in STYLES}
    facts: dict[str, Fact] = {}
    for line in first.splitlines():
        if line.startswith("{"):
            seen = json.loads(line)
            spec = BY_ID[seen["id"]]
            label = seen["slots"].get("label")
            named = names.get(label, label) if spec.unit == "label" else None
            facts[seen["id"]] = Fact(
                seen["id"], spec.kind, spec.subject, spec.measure, None if named or spec.unit == "label" else 0.0,
                named or spec.measure, spec.unit, 0,
            )  # fmt: skip
    return facts, language


def good_sentences(request: dict[str, Any]) -> tuple[DraftSentence, ...]:
    """A draft that passes and is not the template's: its sentences the other way round."""
    facts, language = told(request)
    return tuple(reversed(template_sentences(facts, language)))


def good(request: dict[str, Any]) -> str:
    """The text of a good answer."""
    return written_sentences(good_sentences(request))


def completion(act: Act, request: dict[str, Any]) -> bytes:
    """The body of an answer."""
    if act.raw is not None:
        return act.raw
    text = act.text(request) if callable(act.text) else act.text
    message = {"role": "assistant", "content": text, "refusal": act.refusal}
    choices = [{"index": 0, "message": message, "finish_reason": act.finish}] if act.choices else []
    body: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
    if act.usage is not None:
        body["usage"] = act.usage
    return json.dumps(body).encode()


class Script:
    """What the server does, request by request: the acts in order, then ``after`` for ever; and what it was asked."""

    def __init__(self, *acts: Act, after: Act | Callable[[dict[str, Any]], Act] | None = None) -> None:
        self.acts = list(acts)
        self.after = after if after is not None else Act(good)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.stopping = threading.Event()
        self.url = ""
        self.kill: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def take(self, request: dict[str, Any], key: str) -> Act:
        """The act for the next request."""
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            if self.acts:
                return self.acts.pop(0)
            return self.after(request) if callable(self.after) else self.after

    def count(self, by: int) -> None:
        """Follow how many requests are under way."""
        with self._lock:
            self.at_once += by
            self.most_at_once = max(self.most_at_once, self.at_once)


@contextmanager
def serving(script: Script) -> Generator[str]:
    """The base URL of a running server. ``script.kill()`` ends it early: nobody listens any more."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            script.count(1)
            try:
                with suppress(OSError):  # a client that went away
                    self._answer(script.take(body, self.headers.get("authorization", "")), body)
            finally:
                script.count(-1)

        def _answer(self, act: Act, request: dict[str, Any]) -> None:
            script.stopping.wait(act.delay)
            if act.hang_up or script.stopping.is_set():
                self.close_connection = True
                return
            data = completion(act, request)
            self.send_response(act.status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **act.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if act.trickle:
                for place in range(len(data)):
                    self.wfile.write(data[place : place + 1])
                    self.wfile.flush()
                    if script.stopping.wait(act.trickle):
                        return
            else:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    ended = threading.Event()

    def kill() -> None:
        if not ended.is_set():
            ended.set()
            script.stopping.set()
            server.shutdown()
            server.server_close()

    script.kill = kill
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread.start()
    try:
        yield script.url
    finally:
        kill()
        thread.join(5.0)
