"""Vendors of real market data: what they all share (cache, calls with a limit, parsing) and one adapter each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotation_pipeline.sources.vendors.options import VendorOptions
    from rotation_pipeline.sources.vendors.source import VendorSource

VENDORS = ("tushare", "baostock", "akshare", "tinysoft")
ONE_BY_ONE = ("akshare", "tinysoft")
"""Vendors that have securities one by one."""


def vendor_source(
    name: str,
    folder: Path,
    index_ids: tuple[str, ...],
    options: VendorOptions,
    *,
    beside: Path | None = None,
    mapping: Path | None = None,
) -> VendorSource:
    """The vendor ``name`` over its ``folder``. Nothing is asked of it yet.

    ``beside``: a folder in the layout of the ``files`` source (``mapping`` as there) for tables the vendor can't serve.
    Vendors that have securities one by one ask for ``options.assets``, else for all that folder names as ever members of
    the indices. Raises :class:`SourceError` for another name, and for such a vendor without either.
    """
    # imported here: the child process of every call imports this package and needs none of it
    from rotation_pipeline.sources.base import SourceError
    from rotation_pipeline.sources.vendors.source import VendorSource

    files = None
    if beside is not None:
        from rotation_pipeline.sources.files import FilesSource

        files = FilesSource(beside, mapping)
        if name in ONE_BY_ONE and not options.assets and files.serves("index_members"):
            from dataclasses import replace
            from datetime import date

            import polars as pl

            rows = files.fetch("index_members", date.min, date.max).filter(pl.col("index_id").is_in(list(index_ids)))
            options = replace(options, assets=tuple(rows["asset_id"].unique().sort()))
    if name == "tushare":
        from rotation_pipeline.sources.vendors.tushare import TushareAdapter as Adapter
    elif name == "baostock":
        from rotation_pipeline.sources.vendors.baostock import BaostockAdapter as Adapter
    elif name == "akshare":
        from rotation_pipeline.sources.vendors.akshare import AkshareAdapter as Adapter
    elif name == "tinysoft":
        from rotation_pipeline.sources.vendors.tinysoft import TinysoftAdapter as Adapter
    else:
        raise SourceError(f"{name!r} is no vendor; vendors are {', '.join(VENDORS)}")
    return VendorSource(Adapter(index_ids, options), folder, options, beside=files)
