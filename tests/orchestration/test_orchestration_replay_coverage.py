"""No stored table escapes the proof that nothing looks ahead without a reason that is shown."""

from __future__ import annotations

from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.replay import EXEMPT
from rotation_pipeline.warehouse.catalog import catalog


def test_every_stored_table_is_replayed_or_exempt_with_a_reason() -> None:
    replayed = {name for stage in stages() for name in stage.tables}
    stored = {name for name, table in catalog().items() if not table.view}
    assert stored - replayed == set(EXEMPT)
    assert all(len(why) > 20 for why in EXEMPT.values())
    for name in ("marts.selection", "marts.stock_significance", "marts.forecast_confidence_set", "marts.trials"):
        assert name in replayed, name
