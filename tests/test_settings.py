"""Settings: where they come from, which one wins, and that what is wrong is refused by name."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from conftest import small_settings

import rotation_pipeline
from rotation_pipeline.backtest.sharpe_tests import sharpe_test_hac
from rotation_pipeline.orchestration.stages import first_month
from rotation_pipeline.settings import (
    CONFIG_VARIABLE,
    NO_PART_IN_BOOKS,
    WITHOUT_EFFECT,
    Settings,
    SettingsError,
    load_settings,
    stored_settings,
)

PACKAGE = Path(rotation_pipeline.__file__).parent


def toml(text: str) -> None:
    Path("rotation.toml").write_text(text, encoding="utf-8")


# ---------------------------------------------------------------------- where settings come from


def test_defaults_are_complete_and_right_for_the_specification() -> None:
    settings = load_settings()
    assert (settings.sample.first, settings.sample.last) == (date(2014, 1, 1), date(2024, 1, 1))
    assert len(settings.all_months()) == 121 + settings.sample.history_months
    assert settings.all_months()[0] == settings.history_start == date(2011, 1, 1)
    assert settings.exposures_start == date(2013, 6, 1)
    assert settings.database_path == Path("data") / "simulated.duckdb"


def test_argument_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().threads == 2
    toml("threads = 3\n[sample]\nstart = '2015-01'\nend = '2015-12'\n[allocation]\ninertia = 0.25\n")
    assert load_settings().threads == 3
    monkeypatch.setenv("ROTATION_THREADS", "4")
    monkeypatch.setenv("ROTATION_SAMPLE__END", "2016-12")
    assert load_settings().threads == 4
    settings = load_settings(threads=5, sample={"history_months": 40})
    assert settings.threads == 5
    # a group is merged member by member: argument, environment, file and default all have their part in sample
    assert (settings.sample.start, settings.sample.end) == ("2015-01", "2016-12")
    assert (settings.sample.history_months, settings.sample.style_history_months) == (40, 7)
    assert settings.allocation.inertia == 0.25


def test_environment_reaches_every_kind_of_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_FORECASTS__MOMENTUM_SPANS", "[2, 4]")
    monkeypatch.setenv("ROTATION_ALLOCATION__TURNOVER_CAP", "0.3")
    monkeypatch.setenv("ROTATION_NETWORK__SCALE_TARGETS", "false")
    monkeypatch.setenv("ROTATION_SANITY__MEMBERS", '{"000016.SH": 40}')
    monkeypatch.setenv("ROTATION_DATABASE", "elsewhere/x.duckdb")
    monkeypatch.setenv("ROTATION_UNIVERSE", '{"members": 40}')
    settings = load_settings()
    assert settings.forecasts.momentum_spans == (2, 4)
    assert settings.allocation.turnover_cap == 0.3
    assert settings.network.scale_targets is False
    assert settings.sanity.members["000016.SH"] == 40
    assert settings.database_path == Path("elsewhere/x.duckdb")
    assert settings.universe.members == 40


def test_the_file_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toml("threads = 3\n")
    (tmp_path / "other.toml").write_text("threads = 7\n", encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "other.toml"))
    assert load_settings().threads == 7
    monkeypatch.setenv(CONFIG_VARIABLE, "absent.toml")
    with pytest.raises(SettingsError, match=r"ROTATION_CONFIG names absent\.toml, which does not exist"):
        load_settings()


def test_each_source_has_its_own_database(tmp_path: Path) -> None:
    simulated = load_settings().database_path
    first = load_settings(source={"name": "files", "path": tmp_path / "sse50"}).database_path
    second = load_settings(source={"name": "files", "path": tmp_path / "csi 300"}).database_path
    assert len({simulated, first, second}) == 3
    assert re.fullmatch(r"files-sse50-[0-9a-f]{8}\.duckdb", first.name)
    assert re.fullmatch(r"files-csi-300-[0-9a-f]{8}\.duckdb", second.name)


def test_folders_of_one_name_have_two_databases_and_one_folder_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(folder: Path) -> Path:
        return load_settings(source={"name": "files", "path": folder}).database_path

    (tmp_path / "a" / "data").mkdir(parents=True)
    assert chosen(tmp_path / "a" / "data") != chosen(tmp_path / "b" / "data")
    monkeypatch.chdir(tmp_path / "a")
    assert chosen(Path("data")) == chosen(tmp_path / "a" / "data") == chosen(tmp_path / "b" / ".." / "a" / "data")
    # a folder that is not read has no part in the name
    assert load_settings(source={"path": tmp_path / "a"}).database_path == Path("data/simulated.duckdb")


# ---------------------------------------------------------------------- what settings shape


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_settings_that_shape_nothing_are_declared_and_no_others_are_left_out() -> None:
    settings = load_settings()
    everything = set(leaves(settings.model_dump(mode="json")))
    rows, books = set(leaves(settings.shaping())), set(leaves(settings.shaping_books()))

    def named(names: tuple[str, ...], among: set[str]) -> set[str]:
        """The settings a list names, one by one or by their group."""
        return {name for name in among if name in names or name.startswith(tuple(f"{item}." for item in names))}

    assert everything - rows == named((*WITHOUT_EFFECT, "sample.end"), everything)
    assert rows - books == named(NO_PART_IN_BOOKS, rows)
    unknown = [item for item in (*WITHOUT_EFFECT, *NO_PART_IN_BOOKS) if not named((item,), everything)]
    assert unknown == [], "a name that is no setting leaves out nothing"
    for name in ("backtest.cost_bp", "allocation.tilt_cap", "network.seeds", "sample.start", "simulation.seed"):
        assert name in books


def test_the_simulated_market_shapes_nothing_made_of_files(tmp_path: Path) -> None:
    def shaped(folder: str, seed: int) -> dict[str, Any]:
        source = {"name": "files", "path": tmp_path / folder, "mapping": tmp_path / folder / "m.toml"}
        return load_settings(source=source, simulation={"seed": seed}, network={"workers": seed}).shaping()

    assert shaped("a", 1) == shaped("b", 2)
    assert load_settings(simulation={"seed": 1}).shaping() != load_settings(simulation={"seed": 2}).shaping()


# ---------------------------------------------------------------------- unknown names


def test_an_unknown_key_is_refused_by_name_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^smaple: is no setting$"):
        load_settings(smaple={"start": "2014-01"})
    with pytest.raises(SettingsError, match=r"^allocation\.temprature: is no setting$"):
        load_settings(allocation={"temprature": 1.0})
    toml("[sample]\nstrat = '2014-01'\n")
    with pytest.raises(SettingsError, match=r"^sample\.strat: is no setting$"):
        load_settings()
    toml("")
    monkeypatch.setenv("ROTATION_REGIMES__N_STATE", "3")
    with pytest.raises(SettingsError, match=r"^regimes\.n_state: is no setting$"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("ROTATION_TEMPERATURE", "ROTATION_TEMPERATURE is no setting; settings are allocation, backtest"),
        ("ROTATION_SAMPLE_START", "ROTATION_GROUP__NAME"),
        ("rotation_sampel", "rotation_sampel is no setting"),
        ("ROTATION_THREADS__COUNT", "threads has nothing inside; write ROTATION_THREADS"),
    ],
)
def test_a_stray_environment_variable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, message: str
) -> None:
    monkeypatch.setenv(variable, "4")
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(threads=0, allocation={"inertia": 1.5}, network={"sedes": 3})
    for name in ("threads", "allocation.inertia", "network.sedes"):
        assert f"{name}: " in str(caught.value)


# ---------------------------------------------------------------------- wrong values


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("allocation", "temperature", 0.0, "greater than 0"),
        ("allocation", "inertia", 1.0, "less than 1"),
        ("allocation", "turnover_cap", -1, "greater than 0"),
        ("backtest", "cost_bp", -5, "greater than or equal to 0"),
        ("backtest", "cost_grid_bp", [0.0, 5000.0], "less than or equal to 1000"),
        ("factors", "n_groups", 1, "greater than or equal to 2"),
        ("factors", "weighting", "cap", "'equal' or 'value'"),
        ("forecasts", "experts", ["oracle"], "pooled_ridge"),
        ("forecasts", "experts", [], "at least 1 item"),
        ("narratives", "languages", ["fr"], "'zh' or 'en'"),
        ("network", "seeds", 0, "greater than or equal to 1"),
        ("regimes", "n_states", 5, "less than or equal to 4"),
        ("sample", "history_months", 3, "greater than or equal to 26"),
        ("sanity", "maximum_quarantined", 1.5, "less than or equal to 1"),
        ("simulation", "premium_strength", "strong", "valid number"),
        ("source", "name", "yahoo", "'simulated', 'files', 'tushare', 'baostock', 'akshare' or 'tinysoft'"),
        ("universe", "index_id", "SSE50", "pattern"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name_and_value(
    group: str, name: str, value: object, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**{group: {name: value}})
    text = str(caught.value)
    assert text.startswith(f"{group}.{name}")
    assert message in text
    given = value[-1] if isinstance(value, list) and value else value
    assert f"(given {given!r})" in text


def test_the_environment_is_held_to_the_same_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_NETWORK__SEEDS", "0")
    with pytest.raises(SettingsError, match=r"network\.seeds: .* \(given '0'\)"):
        load_settings()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    """JSON has no infinity: it would come back as null from the settings a run records."""
    with pytest.raises(SettingsError, match=rf"allocation\.temperature: .*\(given {value}\)"):
        load_settings(allocation={"temperature": value})


def test_a_group_written_as_a_value_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_SAMPLE", "2015-01")
    with pytest.raises(SettingsError, match=r'"sample".*ROTATION_SAMPLE__START=2014-01'):
        load_settings()


@pytest.mark.parametrize("content", [b"[sample\nstart = 1", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(content: bytes) -> None:
    Path("rotation.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"rotation\.toml is no valid TOML file"):
        load_settings()


@pytest.mark.parametrize("text", ["2014", "2014-13", "2014/01", "January 2014", ""])
@pytest.mark.parametrize("name", ["start", "end"])
def test_a_malformed_month_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"sample\.start, sample\.end: '{text}' is no month; write it as 2014-01"):
        load_settings(sample={name: text})


def test_bounds_are_what_the_stages_behind_them_need() -> None:
    """One month of exposures leaves the first weights without forecasts; a Sharpe test of four months divides by n − 4."""
    with pytest.raises(SettingsError, match=r"sample\.style_history_months: .* greater than or equal to 2 \(given 1\)"):
        load_settings(sample={"style_history_months": 1})
    with pytest.raises(SettingsError, match=r"backtest\.minimum_months: .* greater than or equal to 5 \(given 4\)"):
        load_settings(backtest={"minimum_months": 4})
    least = load_settings(sample={"style_history_months": 2, "history_months": 27}, backtest={"minimum_months": 5})
    assert first_month(least, "styles") <= first_month(least, "weights")
    returns = np.array([0.01, -0.02, 0.03, 0.0, 0.015])
    assert math.isfinite(sharpe_test_hac(returns, None, 0.95).standard_error)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"sample\.end 2014-01 is before sample\.start 2015-01"):
        load_settings(sample={"start": "2015-01", "end": "2014-01"})
    with pytest.raises(SettingsError, match=r"sample\.history_months = 30 is too little .* set it to 32 at least"):
        load_settings(sample={"history_months": 30, "style_history_months": 7})
    assert load_settings(sample={"history_months": 32, "style_history_months": 7}).sample.history_months == 32
    with pytest.raises(SettingsError, match=r"source\.path is missing.*--path"):
        load_settings(source={"name": "files"})
    with pytest.raises(
        SettingsError, match="lookback_days = 40 must exceed share_count_return_days = 38 by at least 5"
    ):
        load_settings(sanity={"lookback_days": 40, "share_count_return_days": 38})
    with pytest.raises(SettingsError, match=r"universe\.index_id = 000300\.SH.*simulation\.index_id = 000016\.SH"):
        load_settings(universe={"index_id": "000300.SH"})
    with pytest.raises(SettingsError, match=r"simulation\.start_month: .*'soon' is no month"):
        load_settings(simulation={"start_month": "soon"})


# ---------------------------------------------------------------------- settings a run recorded


def recorded(settings: Settings) -> str:
    return json.dumps(settings.model_dump(mode="json", exclude={"database", "output"}), sort_keys=True)


def test_recorded_settings_come_back_equal(tmp_path: Path) -> None:
    chosen = small_settings(tmp_path, allocation={"turnover_cap": 0.25}, sanity={"members": {"000016.SH": 30}})
    again = stored_settings(recorded(chosen), database=chosen.database, output=chosen.output)
    assert again == chosen
    assert recorded(again) == recorded(chosen)
    assert isinstance(again.forecasts.experts, tuple)


def test_recorded_settings_are_taken_from_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = small_settings(tmp_path)
    incomplete = json.loads(recorded(chosen))
    del incomplete["allocation"], incomplete["sample"]["style_history_months"]
    monkeypatch.setenv("ROTATION_SAMPLE__END", "2020-01")
    monkeypatch.setenv("ROTATION_SAMPLE__STYLE_HISTORY_MONTHS", "9")
    monkeypatch.setenv("ROTATION_ALLOCATION__INERTIA", "0.9")
    monkeypatch.setenv("ROTATION_SANITY__MEMBERS", '{"000905.SH": 7, "999999.SH": 1}')
    toml("threads = 9\nno_such_setting = 1\n")
    again = stored_settings(json.dumps(incomplete))
    assert (again.sample.end, again.sample.style_history_months) == ("2015-06", 7)
    assert again.allocation.inertia == 0.5
    assert again.sanity.members == chosen.sanity.members
    assert again.threads == chosen.threads


def test_recorded_settings_of_another_version_are_refused_by_name() -> None:
    other = json.loads(recorded(load_settings()))
    other["factors"]["quantiles"] = 5
    with pytest.raises(SettingsError, match=r"factors\.quantiles: is no setting"):
        stored_settings(json.dumps(other))


# ---------------------------------------------------------------------- every default is justified and bounded


def option_classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in [*sorted(PACKAGE.rglob("options.py")), PACKAGE / "settings.py"]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(item) for item in node.decorator_list):
                yield path, node


def test_every_default_has_a_reason_under_it() -> None:
    silent: list[str] = []
    names: set[str] = set()
    for path, node in option_classes():
        names.add(node.name)
        for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or "ClassVar" in ast.unparse(statement.annotation):
                continue
            reason = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            if statement.value is None or not isinstance(reason, str) or len(reason.split()) < 3:
                silent.append(f"{path.parent.name}/{path.name}: {node.name}.{ast.unparse(statement.target)}")
    assert silent == []
    groups = {type(value).__name__ for value in dict(load_settings()).values() if is_dataclass(value)}
    assert groups <= names


def is_number(kind: object) -> bool:
    return kind in (int, float)


def unbounded(kind: Any) -> bool:
    """Whether a number of this type may have any value."""
    if is_number(kind):
        return True
    if get_origin(kind) is Annotated:
        inner, *bounds = get_args(kind)
        return False if is_number(inner) else not bounds or unbounded(inner)
    return any(unbounded(inner) for inner in get_args(kind)) if get_origin(kind) is not dict else False


def test_every_number_has_a_range() -> None:
    free: list[str] = []
    for group, value in dict(load_settings()).items():
        if not is_dataclass(value):
            continue
        hints = get_type_hints(type(value), include_extras=True)
        for item in fields(value):
            assert item.default is not MISSING or item.default_factory is not MISSING, f"{group}.{item.name}"
            if unbounded(hints[item.name]):
                free.append(f"{group}.{item.name}")
    assert free == []


def test_defaults_lie_within_their_own_ranges() -> None:
    plain = load_settings().model_dump(mode="json")
    assert load_settings(**plain) == load_settings()
