/*
description: "daily bars, unadjusted, one row per listed security and session, suspended days included (canonical view of raw.daily_bars)"
materialized: view
key: [asset_id, day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  day: {type: DATE, unit: "date", meaning: "trading day of the Shanghai exchange"}
  open: {type: DOUBLE, unit: "CNY", meaning: "open price, unadjusted"}
  high: {type: DOUBLE, unit: "CNY", meaning: "high price, unadjusted"}
  low: {type: DOUBLE, unit: "CNY", meaning: "low price, unadjusted"}
  close: {type: DOUBLE, unit: "CNY", meaning: "close price, unadjusted"}
  prev_close: {type: DOUBLE, unit: "CNY", meaning: "the exchange's previous close, ex-rights on ex-days"}
  volume: {type: DOUBLE, unit: "shares", meaning: "shares traded"}
  amount: {type: DOUBLE, unit: "CNY", meaning: "money traded"}
  adj_factor: {type: DOUBLE, unit: "ratio", meaning: "cumulative backward factor: adjusted price = price × factor"}
  is_suspended: {type: BOOLEAN, unit: "flag", meaning: "no trade that day; prices repeat the last close"}
  is_st: {type: BOOLEAN, unit: "flag", meaning: "under special treatment that day"}
  board: {type: VARCHAR, unit: "category", meaning: "listing board"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    day,
    open,
    high,
    low,
    close,
    prev_close,
    volume,
    amount,
    adj_factor,
    is_suspended,
    is_st,
    board
FROM raw.daily_bars
