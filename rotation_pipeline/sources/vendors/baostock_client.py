"""Baostock's own client, run in the child process (see ``worker.py``)."""

from __future__ import annotations

import os
from typing import Any

from rotation_pipeline.sources.vendors.refusals import Refused

KEY_VARIABLE = "BAOSTOCK_API_KEY"
"""Optional: the vendor serves accounts without a key too."""
_OK = "0"
_CONNECTION = ("10002", "10001001", "10001005")
"""Codes of a connection that failed, a login that lapsed and too many logins: ask again on a new connection."""


class BaostockClient:
    """The package's functions by name, logged in; rows are read one by one, for ``get_data`` fails beyond 2,000."""

    def __init__(self, address: str | None) -> None:
        try:
            import baostock  # type: ignore[import-untyped]
            import baostock.common.contants as constants  # type: ignore[import-untyped]
        except ImportError as error:
            raise Refused(
                "final",
                f"the package baostock can't be imported ({error}): pip install 'rotation-pipeline[baostock]'",
            ) from error
        self._package: Any = baostock
        key = os.environ.get(KEY_VARIABLE, "").strip()
        self.secrets = (key,)
        if key:
            self._package.set_API_key(key)
        if address is not None:
            host, colon, port = address.rpartition(":")
            if not colon or not port.isdigit():
                raise Refused("final", "source.vendor.address of baostock is written HOST:PORT")
            settings: Any = constants
            settings.BAOSTOCK_SERVER_IP = settings.BAOSTOCK_VIP_SERVER_IP = host
            settings.BAOSTOCK_SERVER_PORT = int(port)
        self._in = False

    def call(self, method: str, params: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        """One call by its name, all its pages. Raises :class:`Refused`."""
        if not self._in:
            self._check(self._package.login())
            self._in = True
        try:
            found = getattr(self._package, method)(**params)
            self._check(found)
            rows: list[list[Any]] = []
            while found.next():
                rows.append(list(found.get_row_data()))
            self._check(found)  # a page that failed ends the loop like the last one
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            self._in = False
            raise Refused("bad", f"the answer can't be read ({type(error).__name__}: {error})") from error
        return list(found.fields), rows

    def _check(self, found: Any) -> None:
        if found is None:
            raise Refused("final", "the client refused the call without a word: a date is wrong")
        if found.error_code == _OK:
            return
        if not str(found.error_code).isdigit():
            self._in = False
            raise Refused(
                "bad", f"the answer can't be read: {str(found.error_code)[:80]!r} stands where its code should"
            )
        said = f"{found.error_msg} (code {found.error_code})"
        if str(found.error_code).startswith(_CONNECTION):
            self._in = False
            raise Refused("busy", said)
        raise Refused("final", said)


def connect(address: str | None, time_limit: float) -> BaostockClient:
    """The client, not yet logged in; a call without an answer is ended by the parent. Raises Refused without package."""
    del time_limit
    return BaostockClient(address)
