"""Training panels as settings name them: roles, signs, units, and a content that is recorded and held to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.options import PanelOptions
from rotation_pipeline.forecasting.series import market_state
from rotation_pipeline.forecasting.tables import MARKET_FEATURES
from rotation_pipeline.settings import SettingsError, load_settings, stored_settings
from rotation_pipeline.sources.factor_files import FactorFileError
from rotation_pipeline.warehouse.store import Execution, open_warehouse
from rotation_pipeline.warehouse.training_panels import content_of, load_panel

COLUMNS = {"Mkt": "MARKET", "HML": "VAL", "SMB": "-SIZE"}


def write_file(path: Path, months: int = 30, seed: int = 1) -> Path:
    values = np.round(np.random.default_rng(seed).normal(0.3, 3.0, (months, 3)), 2)
    stamps = pd.date_range("2000-01-01", periods=months, freq="MS").strftime("%Y%m")
    pd.DataFrame({"yyyymm": stamps, **dict(zip(("Mkt", "HML", "SMB"), values.T, strict=True))}).to_csv(
        path, index=False
    )
    return path


def test_a_file_gives_styles_with_their_signs_and_the_market(tmp_path: Path) -> None:
    path = write_file(tmp_path / "us.csv")
    panel = load_panel(PanelOptions(str(path), COLUMNS, "percent"))
    text = pd.read_csv(path)
    assert (panel.name, panel.months[0], len(panel.months)) == ("us", 2000 * 12, 30)
    np.testing.assert_allclose(panel.styles[:, STYLES.index("VAL")], text["HML"] / 100.0, rtol=1e-15)
    np.testing.assert_allclose(panel.styles[:, STYLES.index("SIZE")], -text["SMB"] / 100.0, rtol=1e-15)
    assert np.isnan(panel.styles[:, STYLES.index("MOM")]).all()
    state = market_state(text["Mkt"].to_numpy() / 100.0)
    for name, column in (("index_return", 0), ("volatility", 1), ("drawdown", 3)):
        np.testing.assert_array_equal(panel.market[:, MARKET_FEATURES.index(name)], state[:, column])
    assert np.isnan(panel.market[:, MARKET_FEATURES.index("p_bear")]).all()


@pytest.mark.parametrize(
    ("columns", "unit", "message"),
    [
        ({"HML": "VALUE"}, "percent", "VALUE is no role; columns = .* MOM, VAL, QLTY, VOL, SIZE, MARKET"),
        ({"HML": "VAL", "SMB": "-VAL"}, "percent", "VAL is named twice"),
        ({"Mkt": "MARKET"}, "percent", "no column is a style"),
        ({}, "percent", "no column is a style"),
        ({"UMD": "MOM"}, "percent", "has no column UMD"),
        ({"HML": "VAL"}, "fraction", "its unit is probably percent"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_named(
    columns: dict[str, str], unit: str, message: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path / "us.csv")
    with pytest.raises(FactorFileError, match=message):
        load_panel(PanelOptions(str(path), columns, unit))  # type: ignore[arg-type]  # one of its two values
    with pytest.raises(SettingsError, match=f"forecasts.panels: .*{message}"):
        load_settings(forecasts={"panels": [{"path": str(path), "columns": columns, "unit": unit}]})


def test_the_content_is_recorded_held_to_and_part_of_the_run(tmp_path: Path) -> None:
    path = write_file(tmp_path / "us.csv")
    given = {"path": str(path), "columns": COLUMNS, "unit": "percent"}
    settings = load_settings(forecasts={"panels": [given]})
    (panel,) = settings.forecasts.panels
    assert panel.content == content_of(load_panel(panel))
    assert settings.shaping()["forecasts"]["panels"][0]["content"] == panel.content
    assert settings.shaping_books()["forecasts"]["panels"]
    recorded = stored_settings(json.dumps(settings.model_dump(mode="json")))
    assert recorded.forecasts == settings.forecasts
    # a percent more in one month is other content; what was recorded does not take it
    text = pd.read_csv(path)
    text.loc[7, "HML"] += 1.0
    text.to_csv(path, index=False)
    assert load_settings(forecasts={"panels": [given]}).forecasts.panels[0].content != panel.content
    with pytest.raises(FactorFileError, match="holds other values"):
        load_panel(recorded.forecasts.panels[0])
    with pytest.raises(SettingsError, match="holds other values"):
        load_settings(forecasts={"panels": [{**given, "content": panel.content}]})
    # the same values elsewhere, with a column more, are the same content
    write_file(tmp_path / "other.csv")
    both = pd.read_csv(tmp_path / "other.csv").assign(RF=0.1)
    both.to_csv(tmp_path / "other.csv", index=False)
    assert load_panel(replace(panel, path=str(tmp_path / "other.csv"))).months[0] == 2000 * 12


def test_wrong_panels_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"forecasts\.panels\.0\.unit"):
        load_settings(forecasts={"panels": [{"path": "a.csv", "unit": "bp"}]})
    with pytest.raises(SettingsError, match=r"forecasts\.panels\.0\.paths: is no setting"):
        load_settings(forecasts={"panels": [{"paths": "a.csv"}]})
    with pytest.raises(SettingsError, match="a panel has no path"):
        load_settings(forecasts={"panels": [{"columns": {"HML": "VAL"}}]})
    with pytest.raises(SettingsError, match=r"absent\.csv does not exist"):
        load_settings(forecasts={"panels": [{"path": str(tmp_path / "absent.csv"), "columns": {"HML": "VAL"}}]})
    with pytest.raises(SettingsError, match=r"there is no such database; `rotation run"):
        load_settings(forecasts={"panels": [{"path": str(tmp_path / "absent.duckdb")}]})
    with pytest.raises(SettingsError, match="is the database of this run"):
        load_settings(database=tmp_path / "own.duckdb", forecasts={"panels": [{"path": str(tmp_path / "own.duckdb")}]})


def write_database(path: Path, months: int = 14) -> dict[str, np.ndarray]:
    """The three tables a panel is made of, as a run stores them."""
    from datetime import date

    from rotation_pipeline.market.calendar import add_months
    from rotation_pipeline.warehouse.catalog import table_named
    from rotation_pipeline.warehouse.schemas import polars_schema

    rng = np.random.default_rng(3)
    calendar = [add_months(date(2015, 1, 1), k) for k in range(months)]
    returns = rng.normal(0.0, 0.03, (months, len(STYLES)))
    features = rng.random((months, len(MARKET_FEATURES)))

    def filled(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
        schema = polars_schema(table_named(name))
        usual = {
            key: "" if kind == pl.String else kind.to_python()() for key, kind in schema.items() if kind != pl.Date
        }
        return pl.DataFrame([{**usual, **row} for row in rows], schema=schema)

    style_rows = [
        {
            "month": month,
            "factor": style,
            "kind": "style",
            "long_short": returns[t, k],
            "n_long": 1,
            "n_short": 1,
            "n_members": 5,
        }
        for t, month in enumerate(calendar)
        for k, style in enumerate(STYLES)
        if not (style == "MOM" and t == 0)  # a style that begins later
    ]
    own = {name: features[:, k] for k, name in enumerate(MARKET_FEATURES)}
    daily = [
        {
            "month": month,
            "day": month.replace(day=day),
            **{name: own[name][t] + (day == 5) for name in own if name[:2] != "p_"},
        }
        for t, month in enumerate(calendar)
        for day in (5, 20)  # the month's last session counts
    ]
    regimes = [
        {
            "month": month,
            "detector": detector,
            "regime": "bear",
            "months_in_regime": 1,
            **{name: own[name][t] * share for name in own if name[:2] == "p_"},
        }
        for t, month in enumerate(calendar)
        for detector, share in (("rules", 1.0), ("hmm", 0.5))
    ]
    with open_warehouse(path, threads=1) as warehouse:
        settings = load_settings(regimes={"active": "rules", "detectors": ["rules"]}).model_dump(mode="json")
        facts = {"settings": json.dumps(settings)}
        names = ("code_version", "seeds", "packages", "source", "source_kind", "source_version")
        warehouse.record_run("run", {**facts, **dict.fromkeys(names, "{}"), "source_kind": "simulated"})
        frames = {
            "marts.factor_longshort": filled("marts.factor_longshort", style_rows),
            "intermediate.index_features": filled("intermediate.index_features", daily),
            "marts.regimes": filled("marts.regimes", regimes),
        }
        warehouse.write(frames, calendar, "run", Execution("factor_returns", calendar[0], 0.0))
    return {"returns": returns, "features": features}


def test_another_database_gives_its_styles_and_its_market(tmp_path: Path) -> None:
    path = tmp_path / "csi300.duckdb"
    made = write_database(path)
    panel = load_panel(PanelOptions(str(path)))
    assert (panel.name, panel.months[0], len(panel.months)) == ("csi300", 2015 * 12, 14)
    expected = made["returns"].copy()
    expected[0, STYLES.index("MOM")] = np.nan
    np.testing.assert_array_equal(panel.styles, expected)
    np.testing.assert_array_equal(panel.market, made["features"])
    settings = load_settings(forecasts={"panels": [{"path": str(path)}]})
    assert settings.forecasts.panels[0].content == content_of(panel)
    with pytest.raises(FactorFileError, match="leave columns out"):
        load_panel(PanelOptions(str(path), {"MOM": "MOM"}))
