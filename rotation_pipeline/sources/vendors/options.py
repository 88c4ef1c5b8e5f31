"""How vendors are asked: patience, politeness and what to leave out. No key is ever a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class VendorOptions:
    """Tunables of the vendor sources; ``members_from``, ``assets``, ``leave_out`` and ``industry_scheme`` shape what is
    stored, all others only how it is fetched."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    address: str | None = None
    """Where the vendor's service is, if not where its client looks: a mirror or a local stand-in. It may hold no user, password or key."""
    pause: Annotated[float, Ge(0), Le(60)] = 0.35
    """Seconds between two calls: under the 200 a minute of tushare's smallest account that may fetch daily bars."""
    time_limit: Annotated[float, Gt(0), Le(3600)] = 60.0
    """Seconds after which a call that has not answered is killed: a full-market day takes a few."""
    attempts: Annotated[int, Ge(1), Le(20)] = 6
    """Tries of one call before the download ends: with a first wait of 2 s they last a minute, after which a limit per
    minute is over."""
    first_wait: Annotated[float, Ge(0), Le(600)] = 2.0
    """Seconds before the second try; each further wait is twice as long, up to two minutes, plus up to half of it by chance."""
    seed: Annotated[int, Ge(0)] = 20140101
    """Of the random part of the waits; no stored row depends on it."""
    page_rows: Annotated[int, Ge(1), Le(100_000)] = 5000
    """Rows asked for at once where a call is paged: below the 6,000 that tushare sends at most."""
    answer_days: Annotated[float, Gt(0), Le(365)] = 7.0
    """Days for which an answer to `rotation ingest --restated` waits for `--accept`: a vendor that restates does so within the
    week, and what it said longer ago may not be what it says."""
    members_from: str = "2010-01"
    """First month of membership history: intervals are the same whatever months are asked for, so it is read from here on."""
    assets: tuple[str, ...] = ()
    """Only these securities (600519.SH); none named means the whole market. Choosing them by what became of them is
    look-ahead: name all that were ever members."""
    leave_out: tuple[str, ...] = ()
    """Canonical tables not to fetch, for accounts without the right to them; factors that need them are null."""
    industry_scheme: str = "SW2021"
    """Classification asked for where the vendor has several: Shenwan's of 2021, level 1."""
