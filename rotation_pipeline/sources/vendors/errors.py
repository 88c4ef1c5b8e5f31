"""What can go wrong with a vendor, by what to do about it."""

from __future__ import annotations

from typing import ClassVar

from rotation_pipeline.sources.base import SourceError


class VendorError(SourceError):
    """A vendor can't deliver; asking again would not help."""

    again: ClassVar[bool] = False


class VendorBusy(VendorError):
    """The vendor was silent, unreachable, refused for haste, or sent what can't be read: asking again may help."""

    again: ClassVar[bool] = True


class BadAnswer(VendorError):
    """The vendor answered with something else than what it documents."""
