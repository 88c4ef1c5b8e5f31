"""Names of the styles, the raw factors and the long-short series they make; all of it follows from the definitions."""

from __future__ import annotations

from rotation_pipeline.factors.definitions import RAW_FACTORS, STYLES, RawFactor

__all__ = ["RAW_FACTORS", "RAW_FACTOR_NAMES", "SERIES", "STYLES", "RawFactor"]

RAW_FACTOR_NAMES: tuple[str, ...] = tuple(factor.name for factor in RAW_FACTORS)
SERIES: tuple[str, ...] = (*STYLES, *RAW_FACTOR_NAMES)
"""Every long-short series: styles first, then raw factors."""
if len(set(SERIES)) != len(SERIES):
    raise ValueError(f"raw factors need names of their own, got {SERIES}")
