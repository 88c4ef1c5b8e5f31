"""Tushare's own client, run in the child process (see ``worker.py``)."""

from __future__ import annotations

import os
from typing import Any

from rotation_pipeline.sources.vendors.refusals import Refused

TOKEN_VARIABLE = "TUSHARE_TOKEN"
_FINAL = ("权限", "token", "每天最多", "请指定", "参数", "积分", "接口名")
"""What tushare's refusals say when asking again won't help: no right, wrong token, the day's calls used up, wrong call."""
_HASTE = ("每分钟", "频率", "过快")
"""What they say when it was too fast: these texts point to the page on rights too, so they are looked for first."""


class TushareClient:
    """``DataApi`` of the package, given the token itself: its ``set_token`` would write it to the home folder."""

    def __init__(self, address: str | None, time_limit: float) -> None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise Refused(
                "final",
                f"the environment variable {TOKEN_VARIABLE} is not set; tushare answers only with a token: put yours into it",
            )
        self.secrets = (token,)
        try:
            from tushare.pro import client  # type: ignore[import-untyped]  # pyright: ignore
        except ImportError as error:
            raise Refused(
                "final",
                f"the package tushare can't be imported ({error}): pip install 'rotation-pipeline[tushare]'",
            ) from error
        api: Any = client.DataApi
        if address is not None:
            api._DataApi__http_url = address  # the client has no other way to name its server
        self._api = api(token, timeout=time_limit)

    def call(self, method: str, params: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        """One call of the HTTP interface, by its name. Raises :class:`Refused`."""
        import requests

        try:
            found = self._api.query(method, **params)
        except requests.exceptions.JSONDecodeError as error:
            raise Refused("bad", f"the answer is no JSON but something else, perhaps a web page ({error})") from error
        except requests.exceptions.RequestException as error:
            raise Refused("busy", f"the connection failed: {type(error).__name__}") from error
        except ValueError as error:  # json.JSONDecodeError and UnicodeDecodeError among them
            raise Refused("bad", f"the answer can't be read ({error}); it may be a web page") from error
        except (KeyError, TypeError) as error:
            raise Refused("bad", f"the answer lacks a part of tushare's form ({error})") from error
        except Exception as error:  # the client raises bare Exception with the server's text
            said = str(error)
            whose = f" (the token is what {TOKEN_VARIABLE} holds)" if "token" in said.lower() else ""
            raise Refused(_kind(said), said + whose) from error
        if not len(found.columns):  # what the client makes of any HTTP error; an answer without rows has its columns
            raise Refused("busy", "the server answered with an HTTP error")
        plain = found.astype(object).where(found.notna(), None)
        return [str(name) for name in found.columns], plain.to_numpy().tolist()


def _kind(said: str) -> str:
    """``busy`` or ``final``, from the server's text: the client hides its code."""
    if any(word in said for word in _HASTE):
        return "busy"
    return "final" if any(word in said.lower() for word in _FINAL) else "busy"


def connect(address: str | None, time_limit: float) -> TushareClient:
    """The client, ready to call. Raises Refused without token or package."""
    return TushareClient(address, time_limit)
