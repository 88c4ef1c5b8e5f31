"""The names of market regimes."""

from __future__ import annotations

REGIMES: tuple[str, ...] = ("slow_bull", "bear", "range")
"""Slow bull: low volatility, rising. Bear: high volatility, falling. Range: low volatility, flat."""
