"""Files of monthly return series: layouts, units and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.sources.factor_files import FactorFileError, content_hash, read_factor_returns

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "factors"


def percents(months: int = 24, seed: int = 1) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal(0.4, 3.0, (months, 2)), 2)


def frame(values: np.ndarray, first: str = "1963-07-01") -> pd.DataFrame:
    calendar = pd.date_range(first, periods=len(values), freq="MS")
    return pd.DataFrame({"yyyymm": calendar.strftime("%Y%m"), "SMB": values[:, 0], "Mom ": values[:, 1]})


def test_every_layout_of_the_month_gives_the_same_returns(tmp_path: Path) -> None:
    values = percents()
    table = frame(values)
    ends = pd.date_range("1963-07-01", periods=len(values), freq="ME")
    dated = table.drop(columns="yyyymm").assign(date=ends.strftime("%Y-%m-%d"))
    parts = table.drop(columns="yyyymm").assign(year=ends.year, month=ends.month)
    table.to_csv(tmp_path / "a.csv", index=False)
    dated.iloc[::-1].to_csv(tmp_path / "b.csv.gz", index=False)  # newest first is read as well
    parts.to_csv(tmp_path / "c.csv", index=False)
    dated.assign(date=ends).to_parquet(tmp_path / "d.parquet")
    table.rename(columns={"yyyymm": "when"}).to_csv(tmp_path / "e.csv", index=False)
    columns = {"SMB": "SMB", "Mom ": "MOM"}
    expected = pd.DataFrame(
        values / 100.0,
        pd.date_range("1963-07-01", periods=len(values), freq="MS", name="month"),
        pd.Index(["SMB", "MOM"]),
    )
    for name, column in (("a.csv", None), ("b.csv.gz", None), ("c.csv", None), ("d.parquet", None), ("e.csv", "when")):
        found = read_factor_returns(tmp_path / name, columns, "percent", column)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_freq=False)


def test_missing_codes_and_empty_cells_are_null_and_empty_ends_are_cut(tmp_path: Path) -> None:
    table = frame(percents())
    table.loc[[0, 1, 5], "SMB"] = [-99.99, np.nan, -999.0]
    table.loc[[0, 23], "Mom "] = np.nan
    table.loc[23, "SMB"] = np.nan
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read_factor_returns(tmp_path / "a.csv", {"SMB": "SMB", "Mom ": "MOM"}, "percent")
    assert found.index[0] == pd.Timestamp("1963-08-01")
    assert len(found) == 22
    assert found["SMB"].isna().sum() == 2
    assert np.isnan(found.loc[pd.Timestamp("1963-12-01"), "SMB"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="SMB"), "has no column SMB; it has yyyymm"),
        (lambda t: t.drop(columns="yyyymm"), "no column of months: yyyymm, date"),
        (lambda t: t.drop(index=4), "has no row of 1963-11"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "has 1963-10 twice"),
        (
            lambda t: t.assign(yyyymm=t["yyyymm"].where(t.index != 2, "Sept 63")),
            "row 3: yyyymm = 'Sept 63' is no month",
        ),
        (lambda t: t.assign(SMB=t["SMB"].astype(object).where(t.index != 2, "n/k")), "SMB of 1963-09 is 'n/k'"),
        (lambda t: t.assign(SMB=t["SMB"].where(t.index != 2, np.inf)), "SMB of 1963-09 is 'inf'"),
        (lambda t: t.assign(SMB=np.nan), "SMB hold no value"),
        (lambda t: t.assign(SMB=0.3), "the same in every month"),
        (lambda t: t.assign(SMB=t["SMB"] / 100.0), "its unit is probably fraction"),
    ],
)
def test_what_is_wrong_is_named(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    change(frame(percents())).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(FactorFileError, match=message):
        read_factor_returns(tmp_path / "a.csv", {"SMB": "SMB"}, "percent")


def test_a_wrong_unit_and_a_wrong_file_are_refused(tmp_path: Path) -> None:
    frame(percents()).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(FactorFileError, match="read as fraction, SMB has a monthly standard deviation of 2"):
        read_factor_returns(tmp_path / "a.csv", {"SMB": "SMB"}, "fraction")
    with pytest.raises(FactorFileError, match="does not exist"):
        read_factor_returns(tmp_path / "b.csv", {"SMB": "SMB"}, "percent")
    (tmp_path / "c.parquet").write_text("no table", encoding="utf-8")
    with pytest.raises(FactorFileError, match=r"c\.parquet is neither"):
        read_factor_returns(tmp_path / "c.parquet", {"SMB": "SMB"}, "percent")
    with pytest.raises(FactorFileError, match="cannot be read"):
        content_hash(tmp_path / "b.csv")
    assert content_hash(tmp_path / "a.csv") != content_hash(tmp_path / "c.parquet")


@pytest.mark.skipif(not REAL.is_dir(), reason="no public factor files beside the project (../shared/data/factors)")
@pytest.mark.parametrize(
    ("name", "column", "unit", "first", "months"),
    [
        ("us_ff5_monthly.csv", "HML", "percent", "1963-07-01", 738),
        ("us_q5_factors_monthly_1967_2023.csv", "R_EG", "percent", "1967-01-01", 684),
        ("china_ch4_monthly_2000_2021.csv", "VMG", "percent", "2000-01-01", 264),
        ("us_jkp_13themes_vwcap_monthly.csv", "value", "fraction", "1926-01-01", None),
    ],
)
def test_public_files_are_read(name: str, column: str, unit: str, first: str, months: int | None) -> None:
    found = read_factor_returns(REAL / name, {column: "x"}, unit)  # type: ignore[arg-type]  # a literal by construction
    assert found.index[0] >= pd.Timestamp(first)
    assert months is None or len(found) == months
    assert 0.01 < float(found["x"].std()) < 0.06
