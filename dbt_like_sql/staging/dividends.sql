/*
description: "cash and share distributions by ex-day (canonical view of raw.dividends)"
materialized: view
key: [asset_id, ex_day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  ex_day: {type: DATE, unit: "date", meaning: "first day traded without the right"}
  announced_on: {type: DATE, unit: "date", meaning: "day the terms became public", missing: "unknown"}
  cash_per_share: {type: DOUBLE, unit: "CNY per share", meaning: "cash before tax"}
  shares_per_share: {type: DOUBLE, unit: "ratio", meaning: "new shares per share held"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    ex_day,
    announced_on,
    cash_per_share,
    shares_per_share
FROM raw.dividends
