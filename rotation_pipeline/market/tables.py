"""Canonical raw tables: what every source must deliver, with units.

Units: prices and amounts CNY, volume shares, every rate, yield, growth, turnover and weight a fraction.
Tables of intervals (members, industries, listings) are kept as monthly snapshots: the partition of month t holds every
interval that touches t, with an end after t's last day hidden. So a partition depends on nothing later than its month
and a later change never rewrites an earlier one.
"""

from __future__ import annotations

from rotation_pipeline.market.schema import ASSET, MONTH, Column, Table

DAY = Column("day", "DATE", "date", "trading day of the Shanghai exchange")
INDEX_ID = Column("index_id", "VARCHAR", "identifier", "index, as 000016.SH")
BOARDS = ("main", "chinext", "star", "beijing")

_OHLC = tuple(
    Column(name, "DOUBLE", "CNY", f"{name} price, unadjusted", minimum=0.0) for name in ("open", "high", "low", "close")
)
_INDEX_OHLC = tuple(
    Column(name, "DOUBLE", "index points", f"{name} level", minimum=0.0) for name in ("open", "high", "low", "close")
)

TRADING_DAYS = Table(
    "raw",
    "trading_days",
    "sessions of the Shanghai exchange",
    ("day",),
    (MONTH, DAY, Column("is_month_end", "BOOLEAN", "flag", "last session of its calendar month")),
    tracked=False,
    minimum_rows=10,
)
INDEX_BARS = Table(
    "raw",
    "index_bars",
    "daily bars of indices (price indices: dividends are not reinvested)",
    ("index_id", "day"),
    (
        MONTH,
        INDEX_ID,
        DAY,
        *_INDEX_OHLC,
        Column("volume", "DOUBLE", "shares", "volume of the members", "not given by the source", minimum=0.0),
        Column("amount", "DOUBLE", "CNY", "turnover of the members", "not given by the source", minimum=0.0),
    ),
    tracked=False,
    minimum_rows=10,
)
DAILY_BARS = Table(
    "raw",
    "daily_bars",
    "daily bars, unadjusted, one row per listed security and session, suspended days included",
    ("asset_id", "day"),
    (
        MONTH,
        ASSET,
        DAY,
        *_OHLC,
        Column("prev_close", "DOUBLE", "CNY", "the exchange's previous close, ex-rights on ex-days", minimum=0.0),
        Column("volume", "DOUBLE", "shares", "shares traded", minimum=0.0),
        Column("amount", "DOUBLE", "CNY", "money traded", minimum=0.0),
        Column(
            "adj_factor", "DOUBLE", "ratio", "cumulative backward factor: adjusted price = price × factor", minimum=0.0
        ),
        Column("is_suspended", "BOOLEAN", "flag", "no trade that day; prices repeat the last close"),
        Column("is_st", "BOOLEAN", "flag", "under special treatment that day"),
        Column("board", "VARCHAR", "category", "listing board", allowed=BOARDS),
    ),
    tracked=False,
    minimum_rows=1,
)
DAILY_VALUATION = Table(
    "raw",
    "daily_valuation",
    "valuation ratios and sizes at each close",
    ("asset_id", "day"),
    (
        MONTH,
        ASSET,
        DAY,
        Column("pe_ttm", "DOUBLE", "ratio", "price / trailing twelve-month earnings; negative for a loss", "not given"),
        Column("pb", "DOUBLE", "ratio", "price / book value; negative for negative equity", "not given"),
        Column("ps_ttm", "DOUBLE", "ratio", "price / trailing twelve-month sales", "not given"),
        Column(
            "dividend_yield_ttm", "DOUBLE", "fraction", "cash of the last 12 months / price", "not given", minimum=0.0
        ),
        Column("turnover_rate", "DOUBLE", "fraction", "volume / float shares", "not given", minimum=0.0),
        Column("total_market_value", "DOUBLE", "CNY", "price × all shares", "not given", minimum=0.0),
        Column("float_market_value", "DOUBLE", "CNY", "price × tradable shares", "not given", minimum=0.0),
    ),
    tracked=False,
    minimum_rows=1,
)
FUNDAMENTALS = Table(
    "raw",
    "fundamentals",
    "reported items with the day they became public; month is that of the announcement",
    ("asset_id", "report_period", "announced_on", "item"),
    (
        MONTH,
        ASSET,
        Column("report_period", "DATE", "date", "last day of the reported period"),
        Column("announced_on", "DATE", "date", "day the value became public"),
        Column(
            "item", "VARCHAR", "category", "what is reported: roe_ttm, net_profit_ttm, net_profit_yoy, book_equity …"
        ),
        Column("value", "DOUBLE", "fraction or CNY, by item", "the value", "reported as missing"),
        Column("is_revision", "BOOLEAN", "flag", "not the first value announced for this asset, period and item"),
        Column(
            "announcement_is_deadline",
            "BOOLEAN",
            "flag",
            "the source has no announcement day: the legal deadline stands in",
        ),
    ),
    tracked=False,
)
DIVIDENDS = Table(
    "raw",
    "dividends",
    "cash and share distributions by ex-day",
    ("asset_id", "ex_day"),
    (
        MONTH,
        ASSET,
        Column("ex_day", "DATE", "date", "first day traded without the right"),
        Column("announced_on", "DATE", "date", "day the terms became public", "unknown"),
        Column("cash_per_share", "DOUBLE", "CNY per share", "cash before tax", minimum=0.0),
        Column("shares_per_share", "DOUBLE", "ratio", "new shares per share held", minimum=0.0),
    ),
    tracked=False,
)
INDEX_MEMBERS = Table(
    "raw",
    "index_members",
    "membership intervals touching the month",
    ("month", "index_id", "asset_id", "valid_from"),
    (
        MONTH,
        INDEX_ID,
        ASSET,
        Column("valid_from", "DATE", "date", "first day of membership"),
        Column("valid_to", "DATE", "date", "first day no longer a member", "still a member at the end of the month"),
        Column("announced_on", "DATE", "date", "day the change became public", "unknown"),
    ),
    tracked=False,
    minimum_rows=1,
)
INDEX_WEIGHTS = Table(
    "raw",
    "index_weights",
    "index weights on given days",
    ("index_id", "asset_id", "day"),
    (
        MONTH,
        INDEX_ID,
        ASSET,
        DAY,
        Column(
            "weight", "DOUBLE", "fraction", "weight at the close; sums to 1 per index and day", minimum=0.0, maximum=1.0
        ),
        Column("derivation", "VARCHAR", "text", "what the row was read or derived from", "not given"),
    ),
    tracked=False,
)
INDUSTRIES = Table(
    "raw",
    "industries",
    "industry membership intervals touching the month",
    ("month", "asset_id", "valid_from", "scheme"),
    (
        MONTH,
        ASSET,
        Column("valid_from", "DATE", "date", "first day of the classification"),
        Column("valid_to", "DATE", "date", "first day no longer valid", "valid at the end of the month"),
        Column("scheme", "VARCHAR", "category", "classification scheme"),
        Column("industry", "VARCHAR", "category", "industry name"),
    ),
    tracked=False,
    minimum_rows=1,
)
LISTINGS = Table(
    "raw",
    "listings",
    "securities listed during the month",
    ("month", "asset_id"),
    (
        MONTH,
        ASSET,
        Column("name", "VARCHAR", "text", "short name; untrusted text", "not given"),
        Column("board", "VARCHAR", "category", "listing board", allowed=BOARDS),
        Column("listed_on", "DATE", "date", "first trading day"),
        Column("delisted_on", "DATE", "date", "first day no longer listed", "listed at the end of the month"),
    ),
    tracked=False,
    minimum_rows=1,
)
QUARANTINE = Table(
    "raw",
    "quarantine",
    "rows that broke a sanity rule, kept out of the canonical tables, and warnings",
    ("month", "table_name", "rule", "row_key"),
    (
        MONTH,
        Column("table_name", "VARCHAR", "text", "canonical table the row was meant for"),
        Column("rule", "VARCHAR", "category", "the rule it broke"),
        Column("row_key", "VARCHAR", "JSON", "key of the row"),
        Column(
            "severity",
            "VARCHAR",
            "category",
            "quarantined: kept out; warning: let in and reported",
            allowed=("quarantined", "warning"),
        ),
        Column("detail", "VARCHAR", "text", "what was found and what was expected"),
        Column("row", "VARCHAR", "JSON", "the whole row as delivered"),
        Column("source", "VARCHAR", "text", "source that delivered it"),
        Column("ingestion", "VARCHAR", "text", "ingestion it came from: source, table, month and content hash"),
    ),
    tracked=False,
)
INGESTIONS = Table(
    "raw",
    "ingestions",
    "what was fetched, when, from where, with the hash of its content",
    ("source", "table_name", "month"),
    (
        MONTH,
        Column("source", "VARCHAR", "text", "source name"),
        Column("table_name", "VARCHAR", "text", "canonical table"),
        Column("fetched_at", "TIMESTAMP", "UTC", "when", volatile=True),
        Column("rows", "BIGINT", "count", "rows stored", minimum=0.0),
        Column("quarantined", "BIGINT", "count", "rows kept out", minimum=0.0),
        Column("warnings", "BIGINT", "count", "rows let in with a warning", minimum=0.0),
        Column("sha256", "VARCHAR", "hex", "hash of the canonical content"),
        Column("source_kind", "VARCHAR", "category", "simulated or real", allowed=("simulated", "real")),
        Column(
            "source_version",
            "VARCHAR",
            "text",
            "version of the source or of its settings when it was fetched",
            volatile=True,
        ),
    ),
    tracked=False,
)

INTERVAL_TABLES = {"index_members": "valid_from", "industries": "valid_from", "listings": "listed_on"}
"""Tables kept as monthly snapshots, with the column an interval starts in."""
INTERVAL_ENDS = {"index_members": "valid_to", "industries": "valid_to", "listings": "delisted_on"}
DATED_BY = {
    "trading_days": "day",
    "index_bars": "day",
    "daily_bars": "day",
    "daily_valuation": "day",
    "fundamentals": "announced_on",
    "dividends": "ex_day",
    "index_weights": "day",
}
"""The column whose month is the partition, for tables of dated rows."""

SOURCE_TABLES: tuple[Table, ...] = (
    TRADING_DAYS,
    INDEX_BARS,
    DAILY_BARS,
    DAILY_VALUATION,
    FUNDAMENTALS,
    DIVIDENDS,
    INDEX_MEMBERS,
    INDEX_WEIGHTS,
    INDUSTRIES,
    LISTINGS,
)
"""What a source delivers."""
TABLES: tuple[Table, ...] = (*SOURCE_TABLES, QUARANTINE, INGESTIONS)

TRUTH_REGIMES = Table(
    "truth",
    "regimes",
    "the simulated market's true state; no asset of the pipeline may read it",
    ("month",),
    (
        MONTH,
        Column("regime", "VARCHAR", "category", "true regime of the month", allowed=("slow_bull", "bear", "range")),
    ),
    tracked=False,
)
TRUTH_PREMIA = Table(
    "truth",
    "premia",
    "the simulated market's true expected style returns",
    ("month", "style"),
    (
        MONTH,
        Column("style", "VARCHAR", "category", "style"),
        Column("premium", "DOUBLE", "fraction per month", "expected return of one unit of exposure"),
    ),
    tracked=False,
)
TRUTH_BETAS = Table(
    "truth",
    "betas",
    "the simulated market's true betas",
    ("month", "asset_id"),
    (MONTH, ASSET, Column("beta", "DOUBLE", "ratio", "true loading on the market's return")),
    tracked=False,
)
TRUTH_TABLES: tuple[Table, ...] = (TRUTH_REGIMES, TRUTH_PREMIA, TRUTH_BETAS)
