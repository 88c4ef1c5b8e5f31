"""Sanity rules every source must pass on the way in (market-data, "Sanity that every source must pass")."""

from rotation_pipeline.market.sanity.check import SanityContext, check_table
from rotation_pipeline.market.sanity.findings import FINDING_SCHEMA, PartitionRejected, SanityError, SanityResult
from rotation_pipeline.market.sanity.shape import POLARS_TYPES, SchemaMismatch, conform

__all__ = [
    "FINDING_SCHEMA", "POLARS_TYPES", "PartitionRejected", "SanityContext", "SanityError", "SanityResult",
    "SchemaMismatch", "check_table", "conform",
]  # fmt: skip
