"""Errors of the regime stage."""

from __future__ import annotations


class RegimeInputError(ValueError):
    """Input the regime stage cannot work on; the message names the table, month or option and what to do."""
