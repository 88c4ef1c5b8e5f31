"""Index features against pandas, and their independence of what lies outside the window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from regimes_market import months_from, simulate_index

from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.features import index_features
from rotation_pipeline.regimes.tables import FEATURE_COLUMNS, FEATURES


def reference(index: pd.DataFrame) -> pd.DataFrame:
    """The definitions of the table, in pandas."""
    close, ret, amount = index["close"], index["ret"], index["amount"]
    return pd.DataFrame(
        {
            "index_return": close / close.shift(21) - 1,
            "volatility": ret.rolling(21).std() * np.sqrt(244),
            "downside_deviation": np.sqrt(ret.clip(upper=0).pow(2).rolling(21).mean() * 244),
            "turnover_ratio": amount.rolling(21).mean() / amount.rolling(244).mean(),
            "drawdown": close / close.rolling(244).max() - 1,
            "trend": close / close.rolling(244).mean() - 1,
            "half_year_trend": close / close.rolling(122).mean() - 1,
        }
    )


def test_features_equal_pandas():
    _, index = simulate_index(1, months=20)
    found = index_features(index, months_from("2012-01", 20))
    assert list(found.columns) == FEATURES.stored_names
    expected = reference(index)
    assert tuple(expected.columns) == FEATURE_COLUMNS
    for name in FEATURE_COLUMNS:
        assert found[name].isna().tolist() == expected[name].isna().tolist(), name
        assert found[name].to_numpy() == pytest.approx(expected[name].to_numpy(), rel=1e-9, abs=1e-12, nan_ok=True)


def test_rows_do_not_depend_on_other_months_or_on_the_future():
    _, index = simulate_index(2, months=20)
    everything = index_features(index, months_from("2012-01", 20))
    month = pd.Timestamp("2013-05-01")
    wanted = everything[everything["month"] == month].reset_index(drop=True)
    cut = index[index["month"] <= month]
    pd.testing.assert_frame_equal(index_features(cut, [month]), wanted, check_exact=True)
    # nor on where the history begins, once the windows are full
    last = int(np.flatnonzero(index["month"] == month)[0])
    late = index.iloc[last - 244 :].reset_index(drop=True)
    pd.testing.assert_frame_equal(index_features(late, [month]), wanted, check_exact=True)


def test_missing_amounts_make_turnover_null_and_nothing_else():
    _, index = simulate_index(3, months=16)
    index.loc[300, "amount"] = np.nan
    rows = index_features(index, months_from("2012-01", 16)).iloc[300:]
    assert rows["turnover_ratio"].isna().all()
    assert rows["volatility"].notna().all()
    assert rows["trend"].notna().all()


def test_bad_input_is_refused_by_name():
    _, index = simulate_index(4, months=3)
    day = index["day"][25].date()
    for column, value in (("close", 0.0), ("close", np.nan), ("ret", np.nan)):
        broken = index.copy()
        broken.loc[25, column] = value
        with pytest.raises(RegimeInputError, match=f"{column} of {day}"):
            index_features(broken, months_from("2012-01", 3))
    with pytest.raises(RegimeInputError, match="ascending"):
        index_features(index.iloc[::-1], months_from("2012-01", 3))
    with pytest.raises(RegimeInputError, match="no session in 2019-01"):
        index_features(index, [pd.Timestamp("2019-01-01")])
    with pytest.raises(RegimeInputError, match="amount is missing"):
        index_features(index.drop(columns="amount"), months_from("2012-01", 3))
