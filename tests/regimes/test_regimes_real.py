"""The labels of the real SSE 50 at turning points everyone remembers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.regimes.features import index_features
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.walk_forward import detect

BARS = Path(__file__).resolve().parents[3] / "shared" / "data" / "sse50" / "index_bars.parquet"


@pytest.mark.parametrize("begins", ["2010-01", "2012-01"])
def test_sse50_regimes_at_turning_points(begins: str):
    if not BARS.exists():
        pytest.skip(f"{BARS} is not there: real data is not part of the project")
    bars = pd.read_parquet(BARS).query("index_id == '000016.SH'").sort_values("day", ignore_index=True)
    bars["day"] = pd.to_datetime(bars["day"])
    bars = bars[bars["day"] >= begins].reset_index(drop=True)
    index = bars[["day", "close", "amount"]].assign(ret=bars["close"].pct_change())
    months = list(pd.date_range(begins, "2024-01-01", freq="MS"))
    found = detect(index_features(index, months), months, RegimeOptions())
    hmm = found.regimes[found.regimes["detector"] == "hmm"].set_index("month")
    sample = hmm.loc["2014-01":"2024-01"]
    assert len(sample) == 121
    assert sample.loc["2014-09":"2015-05", "regime"].eq("slow_bull").all()
    assert sample.loc["2015-07":"2015-09", "regime"].eq("bear").all()
    assert sample.loc["2016-01":"2016-02", "regime"].eq("bear").all()
    assert not sample.loc["2018-06":"2018-12", "regime"].eq("slow_bull").any()
    assert not sample.loc["2020-03":"2020-04", "regime"].eq("slow_bull").any()
    assert sample.loc["2020-02":"2020-03", "p_bear"].max() > 0.3
    switches = int((sample["regime"] != sample["regime"].shift()).sum()) - 1
    assert 5 <= switches <= 25
    assert np.isfinite(sample[["p_slow_bull", "p_bear", "p_range"]].to_numpy()).all()
