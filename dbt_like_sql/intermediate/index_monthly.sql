/*
description: "Month-end close and return of the benchmark index"
materialized: table
key: [month, index_id]
minimum_rows: 1
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  index_id: {type: VARCHAR, unit: identifier, meaning: "benchmark index"}
  close: {type: DOUBLE, unit: "index points", meaning: "last close of the month", minimum: 0}
  ret: {type: DOUBLE, unit: fraction, meaning: "last close / that of the month before − 1", missing: "first month stored", minimum: -1}
*/
WITH month_ends AS (
    SELECT month, index_id, ARG_MAX(close, day) AS close
    FROM staging.index_bars
    WHERE index_id = $index_id AND month BETWEEN $month_from - INTERVAL 1 MONTH AND $month_to
    GROUP BY month, index_id
),
returns AS (
    SELECT
        month,
        index_id,
        close,
        close / LAG(close) OVER (PARTITION BY index_id ORDER BY month) - 1 AS ret
    FROM month_ends
)
SELECT
    month,
    index_id,
    close,
    ret
FROM returns
WHERE month BETWEEN $month_from AND $month_to
ORDER BY month
