"""Vendors of real market data: what they all share (cache, calls with a limit, parsing) and one adapter each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotation_pipeline.sources.vendors.options import VendorOptions
    from rotation_pipeline.sources.vendors.source import VendorSource

VENDORS = ("tushare", "baostock")


def vendor_source(name: str, folder: Path, index_ids: tuple[str, ...], options: VendorOptions) -> VendorSource:
    """The vendor ``name`` over its ``folder``. Nothing is asked of it yet. Raises :class:`SourceError` for another name."""
    # imported here: the child process of every call imports this package and needs none of it
    from rotation_pipeline.sources.base import SourceError
    from rotation_pipeline.sources.vendors.source import VendorSource

    if name == "tushare":
        from rotation_pipeline.sources.vendors.tushare import TushareAdapter

        return VendorSource(TushareAdapter(index_ids, options), folder, options)
    if name == "baostock":
        from rotation_pipeline.sources.vendors.baostock import BaostockAdapter

        return VendorSource(BaostockAdapter(index_ids, options), folder, options)
    raise SourceError(f"{name!r} is no vendor; vendors are {', '.join(VENDORS)}")
