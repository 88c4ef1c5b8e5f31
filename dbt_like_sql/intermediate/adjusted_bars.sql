/*
description: "Daily bars with the adjusted close and the close-to-close return of an investor who reinvests"
materialized: table
key: [asset_id, day]
minimum_rows: 1
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  day: {type: DATE, unit: date, meaning: "trading day"}
  asset_id: {type: ASSET, unit: identifier, meaning: "security"}
  close: {type: DOUBLE, unit: CNY, meaning: "close, unadjusted", minimum: 0}
  adj_close: {type: DOUBLE, unit: CNY, meaning: "close × cumulative factor", minimum: 0}
  ret: {type: DOUBLE, unit: fraction, meaning: "adjusted close / the one before − 1; on the day trading resumes it spans the suspension", missing: "suspended, or first day of the security", minimum: -1}
  is_suspended: {type: BOOLEAN, unit: flag, meaning: "no trade that day"}
  is_st: {type: BOOLEAN, unit: flag, meaning: "special treatment"}
  volume: {type: DOUBLE, unit: shares, meaning: "shares traded", minimum: 0}
  amount: {type: DOUBLE, unit: CNY, meaning: "money traded", minimum: 0}
  turnover_rate: {type: DOUBLE, unit: fraction, meaning: "volume / float shares", missing: "not given by the source", minimum: 0}
*/
-- A suspended day has a row that repeats the last close, so the row before is always a session before: one month back is enough.
WITH bars AS (
    SELECT
        b.month,
        b.day,
        b.asset_key,
        b.close,
        b.close * b.adj_factor AS adj_close,
        LAG(b.close * b.adj_factor) OVER (PARTITION BY b.asset_key ORDER BY b.day) AS last_adj_close,
        b.is_suspended,
        b.is_st,
        b.volume,
        b.amount
    FROM staging.daily_bars AS b
    WHERE b.month BETWEEN $month_from - INTERVAL 1 MONTH AND $month_to
)
SELECT
    b.month,
    b.day,
    b.asset_key,
    b.close,
    b.adj_close,
    CASE WHEN NOT b.is_suspended THEN b.adj_close / b.last_adj_close - 1 END AS ret,
    b.is_suspended,
    b.is_st,
    b.volume,
    b.amount,
    v.turnover_rate
FROM bars AS b
LEFT JOIN staging.daily_valuation AS v
    ON v.asset_key = b.asset_key AND v.day = b.day AND v.month = b.month
WHERE b.month BETWEEN $month_from AND $month_to
ORDER BY b.day, b.asset_key
