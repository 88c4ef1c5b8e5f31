"""Errors of the factor stage; every message names the table, the month and what to do."""

from __future__ import annotations


class FactorError(ValueError):
    """Something the factor stage cannot work with."""


class MissingInput(FactorError):
    """A table has no rows, or no column, for what was asked."""


class MissingExposures(MissingInput):
    """A month's return needs the exposures of the month before, and they are not there."""


class BadInput(FactorError):
    """Rows that contradict what the table promises: unsorted, twice, impossible."""


class TooFewNames(FactorError):
    """A cross-section too small for its statistics to mean anything."""
