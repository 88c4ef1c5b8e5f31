/*
description: "valuation ratios and sizes at each close (canonical view of raw.daily_valuation)"
materialized: view
key: [asset_id, day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  day: {type: DATE, unit: "date", meaning: "trading day of the Shanghai exchange"}
  pe_ttm: {type: DOUBLE, unit: "ratio", meaning: "price / trailing twelve-month earnings; negative for a loss", missing: "not given"}
  pb: {type: DOUBLE, unit: "ratio", meaning: "price / book value; negative for negative equity", missing: "not given"}
  ps_ttm: {type: DOUBLE, unit: "ratio", meaning: "price / trailing twelve-month sales", missing: "not given"}
  dividend_yield_ttm: {type: DOUBLE, unit: "fraction", meaning: "cash of the last 12 months / price", missing: "not given"}
  turnover_rate: {type: DOUBLE, unit: "fraction", meaning: "volume / float shares", missing: "not given"}
  total_market_value: {type: DOUBLE, unit: "CNY", meaning: "price × all shares", missing: "not given"}
  float_market_value: {type: DOUBLE, unit: "CNY", meaning: "price × tradable shares", missing: "not given"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    day,
    pe_ttm,
    pb,
    ps_ttm,
    dividend_yield_ttm,
    turnover_rate,
    total_market_value,
    float_market_value
FROM raw.daily_valuation
