"""Akshare, a collection of scrapers, run in the child process (see ``worker.py``).

Four of its habits are mended from outside. It reads a page whatever its HTTP status, so the status is looked at here.
It hands Sina's answer to ``eval``, which would run whatever stands in it as a program: that name is bound to the JSON
reader. Some functions remember their first answer for good: they are made to forget it. And where a site says that it has
nothing, some fail over the missing rows: the last answer is kept to tell the two apart.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from rotation_pipeline.sources.vendors.refusals import Refused

NOTHING: dict[str, list[str]] = {
    "stock_dividend_cninfo": ["实施方案公告日期", "送股比例", "转增比例", "派息比例", "除权日"],
    "stock_value_em": ["数据日期", "总市值", "流通市值", "PE(TTM)", "市净率", "市销率"],
    "stock_tfp_em": ["代码", "停牌时间", "停牌截止时间"],
}
"""Functions that fail where the site has nothing, and the columns of nothing."""
_NO_DATA = 9201
"""Code of an answer without rows at Eastmoney's data centre."""


class AkshareClient:
    """The package's functions by name. ``address``: a gateway asked for ADDRESS/HOST/PATH in place of https://HOST/PATH."""

    def __init__(self, address: str | None) -> None:
        try:
            import akshare  # type: ignore[import-untyped]
            from akshare import exceptions  # type: ignore[import-untyped]
            from akshare.stock import stock_zh_a_sina  # type: ignore[import-untyped]
        except ImportError as error:
            raise Refused(
                "final",
                f"the package akshare can't be imported ({error}): pip install 'rotation-pipeline[akshare]'",
            ) from error
        self.secrets: tuple[str, ...] = ()
        self._package: Any = akshare
        self._errors: Any = exceptions
        self._last: Any = None
        sina: Any = stock_zh_a_sina
        sina.eval = json.loads
        self._watch(address)

    def _watch(self, address: str | None) -> None:
        """Send every request of the process through the gateway, if any; refuse errors; keep the last answer."""
        from requests.adapters import HTTPAdapter

        adapter: Any = HTTPAdapter
        plain = adapter.send

        def send(transport: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if address is not None:
                asked = urlsplit(request.url)
                query = f"?{asked.query}" if asked.query else ""
                request.url = f"{address.rstrip('/')}/{asked.netloc}{asked.path}{query}"
                request.headers.pop("Host", None)  # some functions write the site's own
            self._last = plain(transport, request, *args, **kwargs)
            self._last.raise_for_status()
            return self._last

        adapter.send = send

    def call(self, method: str, params: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        """One function by its name. Raises :class:`Refused`."""
        import requests

        self._last = None
        function = getattr(self._package, method, None)
        if function is None:
            raise Refused("final", f"the installed akshare has no function {method}; it has changed")
        getattr(function, "cache_clear", lambda: None)()  # some remember their answer, a cut one too
        try:
            found = function(**params)
        except requests.exceptions.JSONDecodeError as error:
            raise Refused("bad", f"the answer is no JSON but something else, perhaps a web page ({error})") from error
        except requests.exceptions.HTTPError as error:
            status = "an error" if error.response is None else error.response.status_code
            raise Refused("busy", f"the site answered with HTTP {status}") from error
        except (requests.exceptions.RequestException, self._errors.NetworkError, self._errors.RateLimitError) as error:
            raise Refused("busy", f"the connection failed: {type(error).__name__}") from error
        except (self._errors.APIError, self._errors.DataParsingError) as error:
            raise Refused("bad", f"the answer can't be read ({error})") from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            if method in NOTHING and self._says_nothing():
                return NOTHING[method], []
            raise Refused("bad", f"the answer can't be read ({type(error).__name__}: {error})") from error
        plain = found.astype(object).where(found.notna(), None)
        return [str(name) for name in found.columns], plain.to_numpy().tolist()

    def _says_nothing(self) -> bool:
        """Whether the site's last answer is a sound one without rows."""
        try:
            said = self._last.json()
        except (AttributeError, ValueError):
            return False
        if not isinstance(said, dict):
            return False
        return said.get("records") == [] or (said.get("code") == _NO_DATA and said.get("result") is None)


def connect(address: str | None, time_limit: float) -> AkshareClient:
    """The package, ready to call; a call without an answer is ended by the parent. Raises Refused without package."""
    del time_limit
    return AkshareClient(address)
