"""TinySoft's own client, run in the child process (see ``worker.py``)."""

from __future__ import annotations

import os
from typing import Any, cast

from rotation_pipeline.sources.vendors.refusals import Refused

USER_VARIABLE, PASSWORD_VARIABLE = "TINYSOFT_USER", "TINYSOFT_PASSWORD"
HOST, PORT = "tsl.tinysoft.com.cn", 443
_LOGGED_OUT = (-1, -13)
"""Codes of a session that is over: asked again after a new login."""
_DENIED = ("denied", "invalid user", "password", "密码", "用户名", "权限", "过期")
"""What refusals say when asking again won't help."""


class TinysoftClient:
    """``Client`` of the package: ``query`` for bars, ``exec`` for programs in TinySoft's language."""

    def __init__(self, address: str | None, time_limit: float) -> None:
        user, password = (os.environ.get(name, "").strip() for name in (USER_VARIABLE, PASSWORD_VARIABLE))
        if not user or not password:
            raise Refused(
                "final",
                f"the environment variables {USER_VARIABLE} and {PASSWORD_VARIABLE} are not both set; tinysoft answers only to "
                "an account: put yours into them",
            )
        self.secrets = (user, password)
        try:
            import pyTSL  # type: ignore[import-not-found]  # pyright: ignore
        except ImportError as error:
            raise Refused(
                "final", f"the package tspytsl can't be imported ({error}): pip install 'rotation-pipeline[tinysoft]'"
            ) from error
        host, port = HOST, str(PORT)
        if address is not None:
            host, colon, port = address.rpartition(":")
            if not colon or not port.isdigit():
                raise Refused("final", "source.vendor.address of tinysoft is written HOST:PORT")
        package: Any = pyTSL
        self._client: Any = package.Client(user, password, host, int(port))
        self._limit = int(time_limit * 1000)
        self._in = False

    def call(self, method: str, params: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        """``query`` or ``exec``. Raises :class:`Refused`."""
        if not self._in:
            self._login()
        found = getattr(self._client, method)(**params, timeout=self._limit)
        code, said = int(found.error()), str(found.message())
        if code in _LOGGED_OUT:
            self._in = False
            raise Refused("busy", f"{said} (code {code})")
        if code != 0:
            raise Refused("final" if _denied(said) else "busy", f"{said} (code {code})")
        return _table(found.value())

    def _login(self) -> None:
        if int(self._client.login()) != 1:
            said = str(self._client.last_error())
            whose = f" (the account is what {USER_VARIABLE} and {PASSWORD_VARIABLE} hold)" if _denied(said) else ""
            raise Refused("final" if _denied(said) else "busy", f"the login failed: {said}{whose}")
        self._in = True


def _denied(said: str) -> bool:
    return any(word in said.lower() for word in _DENIED)


def _text(value: object) -> Any:
    """Text that came as bytes, in the encoding TinySoft uses; all else as it is."""
    return value.decode("gb18030") if isinstance(value, bytes) else value


def _table(value: object) -> tuple[list[str], list[list[Any]]]:
    """A TSL array: of rows with named columns, in the order they first appear, or of values, as one column ``value``."""
    if value is None:
        return [], []
    if not isinstance(value, list):
        raise Refused("bad", f"the answer is no table but {str(value)[:80]!r}")
    items = cast(list[Any], value)
    if not items or not isinstance(items[0], dict):
        return ["value"], [[_text(item)] for item in items]
    rows = [{str(_text(key)): _text(inner) for key, inner in cast(dict[Any, Any], item).items()} for item in items]
    names = list(dict.fromkeys(key for row in rows for key in row))
    return names, [[row.get(name) for name in names] for row in rows]


def connect(address: str | None, time_limit: float) -> TinysoftClient:
    """The client, not yet logged in. Raises Refused without account or package."""
    return TinysoftClient(address, time_limit)
