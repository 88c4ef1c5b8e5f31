"""How a vendor's client tells in the child process that a call failed. Apart from ``worker.py``, which runs as a script
and whose classes would exist twice."""

from __future__ import annotations


class Refused(Exception):
    """A call failed; ``kind`` says what to do: ``final`` (no use asking again), ``busy`` (ask later), ``bad`` (unreadable)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
