"""The child process in which a vendor's client runs: one request a line in, one answer a line out, as JSON.

It is apart because a vendor's client may hang, loop for ever, print, or change global state. It ends itself when its
parent is gone, even while the client loops. The client's prints go nowhere; the key is read from the environment here
and removed from every text sent back.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
from typing import Any, Protocol, TextIO

from rotation_pipeline.sources.vendors.refusals import Refused


class Client(Protocol):
    """What a vendor's ``*_client`` module makes with ``connect(address, time_limit)``."""

    secrets: tuple[str, ...]

    def call(self, method: str, params: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        """Column names and rows of one call. Raises :class:`Refused`."""
        ...


def without(text: str, secrets: tuple[str, ...]) -> str:
    """``text`` with every secret blacked out."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def answer(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    """One answer: columns and rows, or the kind and text of the failure."""
    try:
        columns, rows = client.call(request["method"], request["params"])
    except Refused as error:
        return {"kind": error.kind, "message": without(str(error), client.secrets)}
    except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises is told, never lost
        return {"kind": "busy", "message": without(f"{type(error).__name__}: {error}", client.secrets)}
    return {"columns": columns, "rows": rows}


def _feed(lines: TextIO, requests: queue.Queue[str]) -> None:
    """Requests as they come; the end of them ends the process at once."""
    for line in lines:
        requests.put(line)
    os._exit(0)


def main(vendor: str, address: str | None, time_limit: float) -> None:
    """Answer until the parent closes the pipe."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_feed, args=(sys.stdin, requests), daemon=True).start()
    module = importlib.import_module(f"rotation_pipeline.sources.vendors.{vendor}_client")
    client: Client | None = None
    while True:
        request = json.loads(requests.get())
        try:
            ready: Client = client if client is not None else module.connect(address, time_limit)
            client, found = ready, answer(ready, request)
        except Refused as error:
            found = {"kind": error.kind, "message": str(error)}
        out.write(json.dumps(found, ensure_ascii=True, default=str) + "\n")
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] or None, float(sys.argv[3]))
