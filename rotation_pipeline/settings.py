"""Every tunable of the pipeline in one typed object.

Sources, strongest first: arguments (the command line), environment (``ROTATION_SAMPLE__START=2015-01``), the file
``rotation.toml`` in the working folder (or the one ``ROTATION_CONFIG`` names), the defaults. The defaults of a stage
stand, each with its reason, in that stage's ``options.py``. An unknown key or a value out of range is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSource

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.backtest.stock_level.options import StockLevelOptions
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions, PanelOptions
from rotation_pipeline.forecasting.panels import PanelError
from rotation_pipeline.market.calendar import add_months, months_between, parse_month
from rotation_pipeline.market.options import SanityOptions
from rotation_pipeline.market.simulation.options import SimulationError, SimulationOptions
from rotation_pipeline.narratives.options import HOW_ASKED, LlmOptions, NarrativeOptions
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.options import ReconcileOptions
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.warehouse.errors import WarehouseError

PREFIX = "ROTATION_"
CONFIG_VARIABLE = "ROTATION_CONFIG"
CONFIG_FILE = "rotation.toml"
KEY_VARIABLES = ("ROTATION_LLM_API_KEY", "OPENAI_API_KEY")
"""Where the key of the model's endpoint may stand, the first one found counting: nowhere else, and in no setting."""

# The one place that says which settings shape nothing. A setting that is not named here shapes everything after the
# stage that reads it: another value is another run and another trial.
PLACES: tuple[str, ...] = ("database", "output")
"""Where things are kept; not even remembered with a run."""
WITHOUT_EFFECT: tuple[str, ...] = (
    *PLACES, "threads", "source.path", "source.mapping", "source.cache", "source.vendor", "reconcile", "network.workers", "universe.maximum_absent",
    *(f"llm.{name}" for name in HOW_ASKED),
)  # fmt: skip
"""No stored row depends on them. What a folder and its mapping deliver is in the source's version, and results are the same
for any number of threads and workers; how many members may lack a bar refuses months and changes none. Where and how a
language model is asked shows only in columns that say how it went."""
NO_PART_IN_BOOKS: tuple[str, ...] = (
    "narratives",
    "llm",
    "stock_level",
    "sample.end",
    "factors.weighting", "factors.ic_horizons",
    "regimes.bootstrap_resamples", "regimes.bootstrap_block", "regimes.permutations",
    "forecasts.interval_level", "forecasts.min_interval_errors", "forecasts.min_score_months",
    "forecasts.confidence_level", "forecasts.confidence_resamples", "forecasts.confidence_block", "forecasts.confidence_seed",
    "allocation.books", "allocation.rule_tilt", "allocation.momentum_months", "allocation.clone_threshold",
    *(f"backtest.{item.name}" for item in fields(BacktestOptions) if item.name != "cost_bp"),
)  # fmt: skip
"""They shape intervals, tests, baselines, tear sheets or sentences, but no weight and no net return of a strategy: trying
another value of them is no other trial."""


class SettingsError(ValueError):
    """A setting that is unknown, of the wrong type or out of range; the text names it."""


@dataclass(frozen=True)
class SourceSettings:
    """Where market data comes from."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    name: Literal["simulated", "files", "tushare", "baostock", "akshare", "tinysoft"] = "simulated"
    """The simulated market needs nothing and its truth is known; files is a folder in the canonical layout; the others are
    vendors, each an extra of the package."""
    path: Path | None = None
    """Folder of the ``files`` source; with a vendor, folder of the tables that vendor can't serve."""
    mapping: Path | None = None
    """TOML file with other file names, column names and units; by default mapping.toml in the folder, if there."""
    cache: Path | None = None
    """Folder of what a vendor has delivered, and of the ``files`` source's large CSV files as Parquet; by default vendors/NAME
    beside the database."""
    vendor: VendorOptions = field(default_factory=VendorOptions)
    """How a vendor is asked. Keys stand in the environment alone."""


@dataclass(frozen=True)
class SampleSettings:
    """Which months are researched, and how much history comes before them."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    start: str = "2014-01"
    """First month of the backtest: 121 months to 2024-01, the sample of the specification."""
    end: str = "2024-01"
    """Last month of the backtest."""
    history_months: Annotated[int, Ge(26), Le(240)] = 36
    """Months of market data before the start: a year fills the index features, a year more the regime detectors, and
    both must be there when the first exposures are."""
    style_history_months: Annotated[int, Ge(2), Le(120)] = 7
    """Months of exposures before the start: public SSE 50 membership is complete from 2013-06, seven before 2014-01. Two at
    least: a style's first return comes a month after its exposures, and the first weights are set a month before the start."""

    @property
    def first(self) -> date:
        """First month of the backtest."""
        return parse_month(self.start)

    @property
    def last(self) -> date:
        """Last month of the backtest."""
        return parse_month(self.end)


@dataclass(frozen=True)
class UniverseSettings:
    """Which stocks are researched."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    index_id: Annotated[str, Field(pattern=r"^\d{6}\.(SH|SZ|BJ)$")] = "000016.SH"
    """The SSE 50: fifty large and liquid Shanghai stocks; past members included, never today's list."""
    members: Annotated[int, Ge(5), Le(6000)] = 50
    """Members the index must have at every month end; another number is a finding of the sanity rules."""
    industry_scheme: str | None = None
    """Classification the industries are taken from, as raw.industries.scheme names it. By default that which classifies
    most members at the month's last close (ties by name): industries of two schemes are never mixed."""
    maximum_absent: Annotated[float, Ge(0.0), Le(1.0)] = 0.05
    """Largest share of members without a bar at a month's last close (fraction); a month with more is refused, because those
    with bars are perhaps survivors only. A suspended member has a bar: a twentieth leaves room for gaps of a vendor."""


class _Environment(EnvSettingsSource):
    """The environment, with lists and tables inside a group written as JSON: pydantic decodes them at the top only."""

    def __call__(self) -> dict[str, Any]:
        """Settings by name; a text that begins like a list or table and is no JSON stays text and is refused later."""
        return {name: _decoded(value) for name, value in super().__call__().items()}


def _decoded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _decoded(inner) for name, inner in cast(dict[str, object], value).items()}
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


class Settings(BaseSettings):
    """All settings (see module docstring)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    database: Path | None = None
    """DuckDB file; by default one per source under ``data/``, so that simulated and real never share one. That of a folder is
    named after it and a hash of its whole path: two folders of one name have two files."""
    output: Path = Path("output")
    """Folder for reports and exports."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads of the database; fixed, because results must not depend on the machine."""
    source: SourceSettings = SourceSettings()
    sample: SampleSettings = SampleSettings()
    universe: UniverseSettings = UniverseSettings()
    simulation: SimulationOptions = SimulationOptions()
    sanity: SanityOptions = SanityOptions()
    reconcile: ReconcileOptions = ReconcileOptions()
    factors: FactorOptions = FactorOptions()
    regimes: RegimeOptions = RegimeOptions()
    forecasts: ForecastOptions = ForecastOptions()
    network: NetworkOptions = NetworkOptions()
    allocation: AllocationOptions = AllocationOptions()
    backtest: BacktestOptions = BacktestOptions()
    stock_level: StockLevelOptions = StockLevelOptions()
    narratives: NarrativeOptions = NarrativeOptions()
    llm: LlmOptions = LlmOptions()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        path = Path(os.environ.get(CONFIG_VARIABLE, CONFIG_FILE))
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, toml_file=path)

    @property
    def database_path(self) -> Path:
        """The database file in use."""
        if self.database is not None:
            return self.database
        name = self.source.name
        if name == "files" and self.source.path is not None:
            folder = self.source.path.resolve()
            readable = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name)
            name = f"{name}-{readable}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        return Path("data") / f"{name}.duckdb"

    @property
    def cache_path(self) -> Path:
        """Folder of what the vendor in use has delivered, or of the files source's large CSV files."""
        return self.source.cache or self.database_path.parent / "vendors" / self.source.name

    @property
    def history_start(self) -> date:
        """First month of market data."""
        return add_months(self.sample.first, -self.sample.history_months)

    @property
    def exposures_start(self) -> date:
        """First month of exposures."""
        return add_months(self.sample.first, -self.sample.style_history_months)

    def all_months(self) -> list[date]:
        """Every month from the first market data to the end of the sample."""
        return months_between(self.history_start, self.sample.last)

    def shaping(self) -> dict[str, Any]:
        """The settings a stored row may depend on, nested by group: what makes a run another run."""
        return shaping(self.model_dump(mode="json"))

    def shaping_books(self) -> dict[str, Any]:
        """The settings that shape the weights and net returns of the strategies: what makes a trial another trial."""
        return _without(self.shaping(), NO_PART_IN_BOOKS)


def shaping(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of all settings, nested by group as JSON has them, those a stored row may depend on.

    Left out: :data:`WITHOUT_EFFECT`, how far the sample goes (a month alone belongs to the run of its range), and the
    simulated market where another source is in use.
    """
    unused = () if values["source"]["name"] == "simulated" else ("simulation",)
    return _without(values, (*WITHOUT_EFFECT, "sample.end", *unused))


def _without(values: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Nested settings without those whose dotted name, or whose group's name, is among ``names``."""
    return {
        key: _without(cast(dict[str, Any], value), names, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in values.items()
        if f"{prefix}{key}" not in names
    }


class _Recorded(Settings):
    """Settings read from nothing but the arguments: neither the environment nor a file has a say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone."""
        return (init_settings,)


def _numbers(value: object, name: str) -> Iterator[tuple[str, float]]:
    """Every number in nested settings, by its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, float):
        yield name, value


def _checked(settings: Settings) -> Settings:
    for name, value in _numbers(settings.model_dump(), ""):
        if not math.isfinite(value):
            raise SettingsError(f"{name}: must be a finite number (given {value})")
    try:
        first, last = settings.sample.first, settings.sample.last
    except ValueError as error:
        raise SettingsError(f"sample.start, sample.end: {error}") from error
    if last < first:
        raise SettingsError(f"sample.end {settings.sample.end} is before sample.start {settings.sample.start}")
    needed = settings.sample.style_history_months + 25
    if settings.sample.history_months < needed:
        raise SettingsError(
            f"sample.history_months = {settings.sample.history_months} is too little for sample.style_history_months = "
            f"{settings.sample.style_history_months}: index features and regime detectors need 25 months before the first "
            f"exposures, so set it to {needed} at least"
        )
    if settings.source.name == "files" and settings.source.path is None:
        raise SettingsError("source.path is missing: the files source needs the folder it reads (--path FOLDER)")
    if settings.source.name == "simulated":
        _check_simulation(settings)
    return settings


def _with_panels(settings: Settings) -> Settings:
    """The same with the content of every extra training panel, so that it is recorded and another content is another run."""
    if not settings.forecasts.panels:
        return settings
    from rotation_pipeline.warehouse.training_panels import content_of, load_panel

    found: list[PanelOptions] = []
    for panel in settings.forecasts.panels:
        if Path(panel.path).resolve() == settings.database_path.resolve():
            raise SettingsError(f"forecasts.panels: {panel.path} is the database of this run; name another one")
        try:
            found.append(replace(panel, content=content_of(load_panel(panel))))
        except (WarehouseError, SourceError, PanelError) as error:
            raise SettingsError(f"forecasts.panels: {error}") from error
    return settings.model_copy(update={"forecasts": replace(settings.forecasts, panels=tuple(found))})


def _check_simulation(settings: Settings) -> None:
    try:
        _ = settings.simulation.first_month
    except SimulationError as error:
        raise SettingsError(f"simulation.start_month: {error}") from error
    if settings.simulation.index_id != settings.universe.index_id:
        raise SettingsError(
            f"universe.index_id = {settings.universe.index_id}, but the simulated market has only "
            f"simulation.index_id = {settings.simulation.index_id}; set both to the same index"
        )


def _check_llm(settings: Settings) -> None:
    """The address may hold no secret, for settings are stored and shown; none of its text is repeated."""
    options = settings.llm
    if (options.base_url is None) != (options.model is None):
        missing, given = ("llm.model", "llm.base_url") if options.model is None else ("llm.base_url", "llm.model")
        raise SettingsError(f"{missing} is missing: {given} is set, and a model is asked only where both are")
    if options.base_url is None:
        return
    try:
        parts = urlsplit(options.base_url)
        _ = parts.port
    except ValueError:
        raise SettingsError("llm.base_url is no web address; write it as http://localhost:8000/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not options.base_url.isascii():
        raise SettingsError("llm.base_url is no web address; write it as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            "llm.base_url must hold no user, password, query or fragment: settings are stored and shown. "
            f"The key belongs into the environment variable {KEY_VARIABLES[0]}"
        )


def _check_vendor(settings: Settings) -> None:
    """The address may hold no secret, for settings are stored and shown; none of its text is repeated."""
    address = settings.source.vendor.address
    if address is not None and ("@" in address or "?" in address or "#" in address):
        raise SettingsError(
            "source.vendor.address must hold no user, password, query or fragment: settings are stored and shown. A "
            "vendor's key belongs into the environment (docs/real-data.md names the variable)"
        )


def _stray_variables() -> Iterator[str]:
    """Environment variables with our prefix that pydantic would pass over in silence, each with what is wrong."""
    for variable in sorted(os.environ):
        if not variable.upper().startswith(PREFIX) or variable in (CONFIG_VARIABLE, *KEY_VARIABLES):
            continue
        name, *below = variable.upper().removeprefix(PREFIX).lower().split("__")
        if name not in Settings.model_fields:
            yield (
                f"environment variable {variable} is no setting; settings are {', '.join(sorted(Settings.model_fields))}, "
                f"and one inside a group is written {PREFIX}GROUP__NAME"
            )
        elif below and not is_dataclass(Settings.model_fields[name].annotation):
            yield f"environment variable {variable} is no setting: {name} has nothing inside; write {PREFIX}{name.upper()}"


def load_settings(**overrides: Any) -> Settings:  # nested dictionaries of settings
    """Settings from all sources, ``overrides`` strongest. Raises :class:`SettingsError` naming every wrong setting."""
    for problem in _stray_variables():
        raise SettingsError(problem)
    config = os.environ.get(CONFIG_VARIABLE)
    if config is not None and not Path(config).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {config}, which does not exist")
    try:
        settings = _with_panels(_checked(Settings(**overrides)))
        _check_llm(settings)
        _check_vendor(settings)
        return settings
    except ValidationError as error:
        raise SettingsError(_readable(error)) from error
    except UnreadableSource as error:
        raise SettingsError(
            f"{error}: it is a group; set its members, as {PREFIX}SAMPLE__START=2014-01, or write JSON"
        ) from error
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config or CONFIG_FILE} is no valid TOML file: {error}") from error


def stored_settings(text: str, **overrides: Any) -> Settings:  # nested dictionaries of settings
    """Settings as a run recorded them, ``overrides`` on top; nothing is taken from the environment or a file."""
    try:
        recorded = _Recorded(**{**json.loads(text), **overrides})
        values = {name: getattr(recorded, name) for name in Settings.model_fields}
        return _checked(Settings.model_construct(**values))
    except ValidationError as error:
        raise SettingsError(_readable(error)) from error


def _readable(error: ValidationError) -> str:
    lines: list[str] = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        given = item.get("input")
        shown = f" (given {given!r})" if item["type"] not in {"extra_forbidden", "unexpected_keyword_argument"} else ""
        kind = "is no setting" if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"} else item["msg"]
        lines.append(f"{name}: {kind}{shown}")
    return "; ".join(lines)
