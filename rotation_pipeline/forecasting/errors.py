"""Errors of the forecasting stage."""

from __future__ import annotations


class ForecastInputError(ValueError):
    """Input of the forecasting stage that cannot be used; the message names the series, month or option."""
