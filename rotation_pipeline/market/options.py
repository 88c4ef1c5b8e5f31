"""Tunables of the market stage: the thresholds of the sanity rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le


def _members() -> dict[str, int]:
    return {"000016.SH": 50, "000300.SH": 300, "000905.SH": 500, "000852.SH": 1000}


@dataclass(frozen=True, slots=True)
class SanityOptions:
    """Thresholds of the rules every delivered row must pass; fractions unless said otherwise."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    maximum_quarantined: Annotated[float, Ge(0), Le(1)] = 0.01
    """Largest share of a partition's rows that may be kept out; more means the delivery is wrong, not a row (1 %)."""
    lookback_days: Annotated[int, Ge(35), Le(366)] = 45
    """Calendar days before a month that its rules may look at: 30 for share counts plus the longest holiday (11)."""
    average_price_slack: Annotated[float, Ge(0), Le(0.1)] = 0.005
    """Rule 1: amount / volume may leave [low, high] by this much (prices are rounded to 0.01, vendors round volumes)."""
    share_count_jump: Annotated[float, Gt(0), Le(10)] = 0.2
    """Rule 3: a larger daily change of the share count is reported; placements rarely exceed it."""
    share_count_return_days: Annotated[int, Ge(1), Le(366)] = 30
    """Rule 3: a jump that is undone within this many calendar days is the vendor's glitch."""
    share_count_return: Annotated[float, Ge(0), Le(0.2)] = 0.01
    """Rule 3: how near the former count is "undone"; rounding of printed market values is below 0.1 %."""
    float_above_total: Annotated[float, Ge(0), Le(1)] = 0.001
    """Rule 3: float may exceed total market value by rounding only."""
    weight_sum: Annotated[float, Ge(0), Le(1)] = 0.005
    """Rule 4: |Σ weights − 1|; published weights have 2 or 3 decimals in percent."""
    members: dict[str, int] = field(default_factory=_members, hash=False)
    """Rule 4: members an index has at each month's last close; indices not named here are not counted."""
    adjustment: Annotated[float, Gt(0), Le(0.1)] = 1e-4
    """Rule 6: |adjusted return − (close / prev_close − 1)|; factors are printed with 4 to 6 decimals."""
    factor_decrease: Annotated[float, Ge(0), Le(0.1)] = 1e-6
    """Rule 6: the cumulative factor may fall by rounding only, relative to itself."""

    def __post_init__(self) -> None:
        if self.lookback_days < self.share_count_return_days + 5:
            raise ValueError(
                f"lookback_days = {self.lookback_days} must exceed share_count_return_days = "
                f"{self.share_count_return_days} by at least 5, or a glitch that began before the month is not seen"
            )
        wrong = {index: count for index, count in self.members.items() if count < 1}
        if wrong:
            raise ValueError(f"members must be positive counts, got {wrong}")
