"""What TinySoft answers: columns of its tables by number, codes, and days as whole numbers and OLE doubles."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from rotation_pipeline.market.calendar import FIRST_SESSION
from rotation_pipeline.sources.vendors.answers import Answer, Field
from rotation_pipeline.sources.vendors.errors import BadAnswer

OLE = date(1899, 12, 30)
"""Day 0 of an OLE date."""
CODE = Field("StockID", "asset", required=True)
FIELDS = ["date", "StockID", "open", "high", "low", "close", "vol", "amount"]
BARS: dict[str, Field] = {
    "ole": Field("date", "number", required=True), "asset_id": CODE,
    **{name: Field(name, "number", required=True) for name in ("open", "high", "low", "close")},
    "volume": Field("vol", "number", required=True), "amount": Field("amount", "number", required=True),  # shares, CNY
}  # fmt: skip
PREVIOUS = {"ole": Field("date", "number", required=True), "prev_close": Field("prev", "number", required=True)}
CALENDAR = {"day": Field("截止日", "number", required=True), "open": Field("是否交易日", "text", required=True)}
MEMBERS = {"asset_id": Field("value", "asset", required=True)}
CHANGES = {"asset_id": Field("代码", "asset", required=True), "since": Field("入选日期", "number"), "announced_on": Field("入选公布日", "number")}  # fmt: skip
WEIGHTS = {
    "asset_id": Field("代码", "asset", required=True),
    "weight": Field("比例(%)", "number", over=100, required=True),
}
LISTINGS = {"asset_id": CODE, "listed_on": Field("上市日", "number")}
STATES = {"asset_id": CODE, "state": Field("当前状态", "text")}
RENAMED = {
    "asset_id": CODE,
    "day": Field("变动日", "number", required=True),
    "after": Field("变更后名称", "text"),
}
HALTS = {
    "asset_id": CODE,
    "since": Field("停牌开始日", "number", required=True),
    "until": Field("停牌截止日", "number"),
}
CAPITAL = {
    "asset_id": CODE, "day": Field("变动日", "number", required=True), "announced_on": Field("公布日", "number"),
    "total": Field("总股本", "number"), "float": Field("已上市流通 A 股", "number"),
}  # fmt: skip
INDUSTRIES = {
    "asset_id": CODE, "industry": Field("属性名称", "text", required=True), "level": Field("级数", "number", required=True),
    "scheme": Field("所属属性名称", "text", required=True), "valid_from": Field("入选日期", "number", required=True),
    "valid_to": Field("剔除日期", "number"),
}  # fmt: skip
DIVIDENDS = {
    "asset_id": CODE, "ex_day": Field("除权除息日", "number"), "announced_on": Field("实施公布日", "number"),
    "cash": Field("红利比", "number"), "bonus": Field("红股比", "number"), "converted": Field("转增比", "number"),
}  # fmt: skip
_REPORT = {
    "asset_id": CODE,
    "report_period": Field("截止日", "number", required=True),
    "announced_on": Field("公布日", "number"),
}
_STATED = {**_REPORT, "stated_in": Field("数据报告期", "number")}
REPORTS: dict[str, tuple[int, dict[str, Field]]] = {
    "equity": (44, {**_STATED, "value": Field("归属母公司股东权益合计", "number")}),
    "profit": (46, {**_STATED, "value": Field("归属于母公司所有者净利润", "number")}),
    "roe": (42, {**_REPORT, "value": Field("净资产收益率(加权)(%)", "number", over=100)}),
}
"""Number of the table and columns of each item read."""
OPEN, SHUT = frozenset({"1", "1.0", "是"}), frozenset({"0", "0.0", "否"})


def asset(code: str) -> str:
    """``SH600519`` → ``600519.SH``. Raises ValueError for anything else."""
    if len(code) != 8 or code[:2] not in ("SH", "SZ", "BJ") or not code[2:].isdigit():
        raise ValueError("expected SH, SZ or BJ and six digits; the exchange is never guessed")
    return f"{code[2:]}.{code[:2]}"


def vendor_code(identifier: str) -> str:
    """``600519.SH`` → ``SH600519``."""
    return f"{identifier[7:]}{identifier[:6]}"


def number(day: date) -> int:
    """A day as tables hold it: 20220104."""
    return int(f"{day:%Y%m%d}")


def bare(answer: Answer, fields: Mapping[str, Field]) -> Answer:
    """An answer without rows comes without columns too: here they are."""
    return answer if answer.rows else Answer(answer.call, [field.column for field in fields.values()], [])


def dated(rows: pl.DataFrame, names: tuple[str, ...], answer: Answer) -> pl.DataFrame:
    """Whole-number days → dates, 0 → null. Raises :class:`BadAnswer` for a number that is no day."""
    for name in names:
        text = pl.when(pl.col(name) > 0).then(pl.col(name).cast(pl.Int64).cast(pl.String))
        read = rows.with_columns(text.str.to_date("%Y%m%d", strict=False).alias("read"))
        wrong = read.filter((pl.col(name) != 0) & pl.col("read").is_null())
        if wrong.height:
            raise BadAnswer(f"{answer.call}: {wrong[name][0]:.15g} in {name} is no day as 20220104. Nothing was stored")
        rows = read.with_columns(pl.col("read").alias(name)).drop("read")
    return rows


def from_ole(rows: pl.DataFrame, answer: Answer) -> pl.DataFrame:
    """OLE doubles in ``ole`` → ``day``. Raises :class:`BadAnswer` for one outside 1990 to 2100."""
    wrong = rows.filter(~pl.col("ole").is_between((FIRST_SESSION - OLE).days, 73_050))
    if wrong.height:
        raise BadAnswer(f"{answer.call}: {wrong['ole'][0]:g} is no OLE day of this market. Nothing was stored")
    return rows.with_columns((pl.lit(OLE) + pl.duration(days=pl.col("ole").floor().cast(pl.Int64))).alias("day")).drop(
        "ole"
    )
