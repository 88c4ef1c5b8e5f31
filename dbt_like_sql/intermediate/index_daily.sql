/*
description: "Close and return of the benchmark index"
materialized: table
key: [index_id, day]
minimum_rows: 1
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  day: {type: DATE, unit: date, meaning: "trading day"}
  index_id: {type: VARCHAR, unit: identifier, meaning: "benchmark index"}
  close: {type: DOUBLE, unit: "index points", meaning: "close", minimum: 0}
  ret: {type: DOUBLE, unit: fraction, meaning: "close / the one before − 1", missing: "first day stored", minimum: -1}
  amount: {type: DOUBLE, unit: CNY, meaning: "turnover of the members", missing: "not given by the source", minimum: 0}
*/
WITH bars AS (
    SELECT
        b.month,
        b.day,
        b.index_id,
        b.close,
        b.close / LAG(b.close) OVER (PARTITION BY b.index_id ORDER BY b.day) - 1 AS ret,
        b.amount
    FROM staging.index_bars AS b
    WHERE b.index_id = $index_id AND b.month BETWEEN $month_from - INTERVAL 1 MONTH AND $month_to
)
SELECT
    month,
    day,
    index_id,
    close,
    ret,
    amount
FROM bars
WHERE month BETWEEN $month_from AND $month_to
ORDER BY day
