/*
description: "daily bars of indices (price indices: dividends are not reinvested) (canonical view of raw.index_bars)"
materialized: view
key: [index_id, day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  index_id: {type: VARCHAR, unit: "identifier", meaning: "index, as 000016.SH"}
  day: {type: DATE, unit: "date", meaning: "trading day of the Shanghai exchange"}
  open: {type: DOUBLE, unit: "index points", meaning: "open level"}
  high: {type: DOUBLE, unit: "index points", meaning: "high level"}
  low: {type: DOUBLE, unit: "index points", meaning: "low level"}
  close: {type: DOUBLE, unit: "index points", meaning: "close level"}
  volume: {type: DOUBLE, unit: "shares", meaning: "volume of the members", missing: "not given by the source"}
  amount: {type: DOUBLE, unit: "CNY", meaning: "turnover of the members", missing: "not given by the source"}
*/
SELECT
    month,
    index_id,
    day,
    open,
    high,
    low,
    close,
    volume,
    amount
FROM raw.index_bars
