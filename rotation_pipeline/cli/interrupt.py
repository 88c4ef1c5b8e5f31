"""Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heed_interrupts() -> Generator[Callable[[], None]]:
    """A check that raises KeyboardInterrupt if Ctrl-C came while it is open, however long ago.

    Python prints and drops a KeyboardInterrupt that is raised inside a destructor or a callback from compiled code, such
    as an import or a compiler at work; without the check the run would go on to its end. A process started to ignore
    Ctrl-C goes on ignoring it, and so does a thread other than the main one, which receives no signals.
    """
    came = threading.Event()

    def remember(_number: int, _frame: FrameType | None) -> None:
        came.set()
        raise KeyboardInterrupt

    def check() -> None:
        if came.is_set():
            raise KeyboardInterrupt

    heeded = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not heeded:
        yield check
        return
    told = sys.unraisablehook

    def tell(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            told(dropped)

    signal.signal(signal.SIGINT, remember)
    sys.unraisablehook = tell
    try:
        yield check
    finally:
        sys.unraisablehook = told
        signal.signal(signal.SIGINT, signal.default_int_handler)
