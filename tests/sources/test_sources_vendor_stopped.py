"""A process that is stopped for a while, as by Ctrl-Z, takes no vendor's silence from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that stops a process")

WAITING = """
import queue, sys, threading
from rotation_pipeline.sources.vendors.caller import awaited

answers = queue.Queue()
threading.Thread(target=lambda: answers.put(sys.stdin.readline()), daemon=True).start()
print("waits", flush=True)
try:
    print(awaited(answers, 2.0).strip(), flush=True)
except queue.Empty:
    print("gave up", flush=True)
"""


def test_time_in_which_the_process_was_stopped_is_no_silence() -> None:
    """It hears after 3 s what it gives 2 s; without an answer it gives up after them."""
    for answered, expected in ((True, "heard"), (False, "gave up")):
        with subprocess.Popen(
            [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as waiting:
            assert waiting.stdin is not None
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            os.kill(waiting.pid, signal.SIGSTOP)
            time.sleep(3.0)
            os.kill(waiting.pid, signal.SIGCONT)
            if answered:
                time.sleep(0.3)  # nothing is heard right after it, either
                waiting.stdin.write("heard\n")
                waiting.stdin.flush()
            assert waiting.stdout.readline() == f"{expected}\n"
