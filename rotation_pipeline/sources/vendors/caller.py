"""Calls to a vendor: one at a time, with pauses, waits that grow, and a limit after which the child process is killed."""

from __future__ import annotations

import contextlib
import json
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorBusy, VendorError
from rotation_pipeline.sources.vendors.options import VendorOptions

_T = TypeVar("_T")
LONGEST_WAIT = 120.0
"""Seconds."""
START_LIMIT = 60.0
"""Seconds the first call of a child may take longer: it imports the vendor's client."""
LOOK = 0.2
"""Seconds an answer is waited for at a time."""
ROUND = 100
"""A page of a multiple of this many rows may have been cut by the vendor: another one is asked for."""


class Caller:
    """One child process that asks one vendor. A context manager: leaving it ends the child, whatever it does."""

    def __init__(
        self,
        vendor: str,
        options: VendorOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.vendor, self.options = vendor, options
        self._sleep, self._tell = sleep, tell
        self._random = random.Random(options.seed)
        self._child: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self.calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def call(self, method: str, **params: Any) -> Answer:  # whatever the vendor's method takes
        """The answer of one call. Raises :class:`VendorError` with what the vendor said after the last try."""
        wait = self.options.first_wait
        for attempt in range(1, self.options.attempts + 1):
            if self.calls:
                self._sleep(self.options.pause)
            self.calls += 1
            try:
                return self._once(method, params)
            except VendorBusy as error:
                if attempt == self.options.attempts:
                    raise VendorBusy(f"{error} ({attempt} tries). What was fetched is kept: ask again later") from error
                self._tell(f"{error}; try {attempt + 1} of {self.options.attempts} follows")
            self._sleep(min(wait, LONGEST_WAIT) * (1 + 0.5 * self._random.random()))
            wait *= 2
        raise AssertionError("unreachable")

    def pages(self, method: str, **params: Any) -> Answer:  # whatever the vendor's method takes
        """All pages of a call that takes ``limit`` and ``offset``, as one answer.

        Rows that come again on a later page mean that a page was repeated or the order changed meanwhile:
        :class:`BadAnswer`, for others are then missing. A single one is let pass: vendors hold a few rows twice. A full
        or suspiciously round page is followed by another call.
        """
        limit = self.options.page_rows
        whole: Answer | None = None
        seen: set[str] = set()
        while True:
            page = self.call(method, **params, limit=limit, offset=0 if whole is None else len(whole.rows))
            texts = [json.dumps(row, default=str) for row in page.rows]
            again = [text for text in texts if text in seen]
            if len(again) > 1 or (again and len(again) == len(texts)):
                raise BadAnswer(
                    f"{page.call}: {len(again)} of {len(texts)} rows were on an earlier page, as {again[0]}; a page was "
                    "repeated, so others may be missing. Nothing was stored; ask again later"
                )
            seen.update(texts)
            if whole is None:
                whole = Answer(page.call, page.columns, page.rows)
            elif page.rows:
                order = [page.at(name) for name in whole.columns]
                whole.rows.extend([row[at] for at in order] for row in page.rows)
            if not page.rows or (len(page.rows) != limit and len(page.rows) % ROUND):
                return whole

    # --- the child ---------------------------------------------------------------------------------------------------

    def _once(self, method: str, params: dict[str, Any]) -> Answer:
        shown = f"{self.vendor} {method}({', '.join(f'{name}={value}' for name, value in params.items())})"
        fresh = self._child is None
        child = self._child or self._start()
        assert child.stdin is not None
        limit = self.options.time_limit + (START_LIMIT if fresh else 0.0)
        try:
            child.stdin.write(json.dumps({"method": method, "params": params}) + "\n")
            child.stdin.flush()
            line = awaited(self._answers, limit)
        except queue.Empty:
            self._kill()
            raise VendorBusy(f"{shown}: no answer within {limit:g} s; the call was killed") from None
        except OSError:
            line = None
        if line is None:
            self._kill()
            raise VendorBusy(f"{shown}: the vendor's client ended without an answer")
        found = json.loads(line)
        if "kind" not in found:
            return Answer(shown, found["columns"], found["rows"])
        error = {"final": VendorError, "busy": VendorBusy, "bad": VendorBusy}[found["kind"]]
        raise error(f"{shown}: {found['message']}")

    def _start(self) -> subprocess.Popen[str]:
        module = "rotation_pipeline.sources.vendors.worker"
        address = self.options.address or ""
        # the child inherits the environment, where the key is, and nothing else: no key is ever an argument
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, self.vendor, address, str(self.options.time_limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._answers = queue.Queue()
        assert self._child.stdout is not None
        threading.Thread(target=_listen, args=(self._child.stdout, self._answers), daemon=True).start()
        return self._child

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # what was not sent to a child that is dead
                child.stdin.close()


def awaited(answers: queue.Queue[_T], limit: float) -> _T:
    """The next answer. Raises queue.Empty after ``limit`` seconds in which this process ran.

    While it is stopped, as by Ctrl-Z or with its whole group, it hears nothing: that is no silence of the vendor.
    """
    left = limit
    while True:
        part = min(left, LOOK)
        try:
            return answers.get(timeout=part)
        except queue.Empty:
            left -= part
            if left <= 0:
                raise


def _listen(lines: IO[str], answers: queue.Queue[str | None]) -> None:
    """Answers as they come, then None."""
    with lines:
        for line in lines:
            answers.put(line)
    answers.put(None)
