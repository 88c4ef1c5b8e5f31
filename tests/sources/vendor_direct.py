"""Vendor calls without the vendor's client: straight from the stand-in's answers, or over HTTP, for tests of everything
behind the client and for machines where the client is not installed."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import vendor_market as market
from vendor_tushare_server import Stand

from rotation_pipeline.market.calendar import month_sessions
from rotation_pipeline.sources.vendors.answers import Answer
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.source import VendorSource
from rotation_pipeline.sources.vendors.tushare import TushareAdapter

OPTIONS = VendorOptions(pause=0, first_wait=0, attempts=2, members_from="2021-11")


class DirectCaller(Caller):
    """Asks a stand-in in memory."""

    stand: Stand

    def _once(self, method: str, params: dict[str, Any]) -> Answer:
        fields = {name: value for name, value in params.items() if name != "fields"}
        request = {"api_name": method, "params": fields, "fields": params.get("fields", ""), "token": ""}
        found = self._answer(request)
        return Answer(f"tushare {method}({fields})", found["data"]["fields"], found["data"]["items"])

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self.stand.answer(request)
        assert isinstance(found, dict)
        return json.loads(json.dumps(found))


class HttpCaller(DirectCaller):
    """Asks a stand-in over HTTP."""

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        address = self.options.address
        assert address is not None
        with urllib.request.urlopen(address, data=json.dumps(request).encode()) as response:
            return json.loads(response.read())


def source_of(stand: Stand, folder: Path, options: VendorOptions = OPTIONS) -> VendorSource:
    """A tushare source over ``folder`` that asks ``stand`` directly."""
    caller = type("Bound", (DirectCaller,), {"stand": stand})
    return VendorSource(TushareAdapter((market.INDEX,), options), folder, options, caller=caller)


def download(address: str, folder: str) -> None:
    """One whole download."""
    asked = VendorOptions(address=address, pause=0, first_wait=0, members_from="2021-11")
    adapter = TushareAdapter((market.INDEX,), asked)
    VendorSource(adapter, folder, asked, caller=HttpCaller).prepare(date(2021, 11, 1), date(2022, 2, 1))


def killed_at(moment: int, address: str, folder: str) -> int:
    """Download and return how many audited events (files opened and renamed, connections …) that took; SIGKILL comes at
    event ``moment``, never for 0. Events, not seconds, so that a fast machine is killed in the same places as a slow one."""
    seen = 0

    def count(_event: str, _arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += 1
        if seen == moment:
            signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(count)
    download(address, folder)
    return seen


if __name__ == "__main__":  # a process that has loaded everything; each line it reads makes one that downloads
    month_sessions(date(2022, 1, 1))
    for line in sys.stdin:
        when, where = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            sys.stdout.write(f"{killed_at(int(when), sys.argv[1], where)}\n")
            sys.stdout.flush()
            os._exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
