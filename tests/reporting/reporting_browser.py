"""A headless Chromium driven over the DevTools protocol: opens a page without network and says what it did.

Needs a browser on the machine and ``websockets``, which comes with Dagster's web server.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND",)
"""No name resolves: a request that got past the page's own policy would fail, and be seen."""


class BrowserError(RuntimeError):
    """The browser refused a command, or a script on the page threw."""


def browser_path() -> str | None:
    """The first browser found, None without."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@dataclass
class Tab:
    """One page of the browser: its commands' answers, and every event it sent."""

    socket: Any
    """A connection of ``websockets.sync.client``."""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _sent: int = 0

    def call(self, method: str, wait: float = 60.0, **params: object) -> dict[str, Any]:
        """Send a command and return its result. Raises BrowserError for a refusal, TimeoutError for no answer."""
        self._sent += 1
        self.socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        end = time.monotonic() + wait
        while True:
            message = json.loads(self.socket.recv(timeout=max(end - time.monotonic(), 0.01)))
            if message.get("id") != self._sent:
                self.events.append(message)
            elif "error" in message:
                raise BrowserError(f"{method}: {message['error']}")
            else:
                return message["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise awaited."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise BrowserError(json.dumps(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    def settle(self) -> None:
        """Wait until two frames have been drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def open(self, address: str, ready: str, wait: float = 60.0) -> None:
        """Go to ``address`` and wait until the expression ``ready`` is true there."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)
        end = time.monotonic() + wait
        while not self.evaluate(f"document.readyState === 'complete' && !!({ready})"):
            if time.monotonic() > end:
                raise BrowserError(f"{address}: {ready} is not true after {wait:.0f} s")
            time.sleep(0.05)
        self.settle()

    def resize(self, width: int, height: int = 900, *, media: str = "", theme: str = "light") -> None:
        """Lay the page out at a width in CSS pixels, for ``screen`` (the default) or ``print``, light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.settle()

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save the page, or what is in view, as PNG."""
        made = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(made["data"]))

    def requests(self) -> Sequence[str]:
        """Addresses asked for so far, data and objects inside the page left out."""
        sent = [event["params"]["request"]["url"] for event in self._named("Network.requestWillBeSent")]
        return [address for address in sent if not address.startswith(("data:", "blob:"))]

    def complaints(self) -> Sequence[str]:
        """Uncaught errors, errors written to the console, and what the page's policy blocked."""
        thrown = [json.dumps(event["params"]["exceptionDetails"]) for event in self._named("Runtime.exceptionThrown")]
        said = [
            json.dumps(event["params"]["args"])
            for event in self._named("Runtime.consoleAPICalled")
            if event["params"]["type"] in ("error", "assert", "warning")
        ]
        logged = [
            json.dumps(event["params"]["entry"])
            for event in self._named("Log.entryAdded")
            if event["params"]["entry"]["level"] in ("error", "warning")
        ]
        return [*thrown, *said, *logged]

    def _named(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("method") == method]


@dataclass
class Browser:
    """A running browser; :meth:`tab` opens a page in it."""

    process: subprocess.Popen[bytes]
    port: int

    @classmethod
    def start(cls, profile: Path, flags: Sequence[str] = OFFLINE) -> Self:
        """Start it with a profile folder of its own, and wait until it answers."""
        path = browser_path()
        if path is None:
            raise BrowserError(f"none of {', '.join(BROWSERS)} is installed")
        command = [path, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = profile / "DevToolsActivePort"
        end = time.monotonic() + 60.0
        while not (told.exists() and len(told.read_text().split()) == 2):
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                raise BrowserError(f"{path} did not start")
            time.sleep(0.05)
        return cls(process, int(told.read_text().split()[0]))

    @contextmanager
    def tab(self) -> Generator[Tab]:
        """A new, empty page."""
        from urllib.request import Request, urlopen

        from websockets.sync.client import connect

        with urlopen(Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT"), timeout=30) as answer:
            address = json.loads(answer.read())["webSocketDebuggerUrl"]
        with connect(address, max_size=None, open_timeout=30, compression=None, ping_interval=None) as socket:
            yield Tab(socket)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=20)
