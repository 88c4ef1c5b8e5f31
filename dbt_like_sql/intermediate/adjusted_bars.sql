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
  ret: {type: DOUBLE, unit: fraction, meaning: "adjusted close / the one before − 1; on the day trading resumes it spans the suspension, however long and whether or not it has rows", missing: "suspended, or the first bar stored since the security was listed", minimum: -1}
  is_suspended: {type: BOOLEAN, unit: flag, meaning: "no trade that day"}
  is_st: {type: BOOLEAN, unit: flag, meaning: "special treatment"}
  volume: {type: DOUBLE, unit: shares, meaning: "shares traded", minimum: 0}
  amount: {type: DOUBLE, unit: CNY, meaning: "money traded", minimum: 0}
  turnover_rate: {type: DOUBLE, unit: fraction, meaning: "volume / float shares", missing: "not given by the source", minimum: 0}
*/
-- The bar before a security's first one in the range is looked up in all earlier months, so that a month alone gives the
-- rows of a range even after a suspension without rows. The month before has nearly all of them; the rest of the history
-- is searched only for those it lacks.
WITH bars AS (
    SELECT
        b.month,
        b.day,
        b.asset_key,
        b.close,
        b.close * b.adj_factor AS adj_close,
        LAG(b.close * b.adj_factor) OVER (PARTITION BY b.asset_key ORDER BY b.day) AS last_adj_close,
        LAG(b.day) OVER (PARTITION BY b.asset_key ORDER BY b.day) AS last_day,
        b.is_suspended,
        b.is_st,
        b.volume,
        b.amount
    FROM staging.daily_bars AS b
    WHERE b.month BETWEEN $month_from AND $month_to
),
previous AS (
    SELECT asset_key, ARG_MAX(close * adj_factor, day) AS adj_close, MAX(day) AS day
    FROM staging.daily_bars
    WHERE month = $month_from - INTERVAL 1 MONTH
    GROUP BY asset_key
),
lacking AS (
    SELECT DISTINCT b.asset_key
    FROM bars AS b
    WHERE b.asset_key NOT IN (SELECT p.asset_key FROM previous AS p)
),
older AS (
    SELECT o.asset_key, ARG_MAX(o.close * o.adj_factor, o.day) AS adj_close, MAX(o.day) AS day
    FROM staging.daily_bars AS o
    WHERE o.month < $month_from - INTERVAL 1 MONTH AND o.asset_key IN (SELECT l.asset_key FROM lacking AS l)
    GROUP BY o.asset_key
),
earlier AS (
    SELECT asset_key, adj_close, day FROM previous
    UNION ALL
    SELECT asset_key, adj_close, day FROM older
)
SELECT
    b.month,
    b.day,
    b.asset_key,
    b.close,
    b.adj_close,
    -- A code may be given to another company after a delisting: the bar before the day it was listed on is not its own.
    CASE
        WHEN NOT b.is_suspended AND NOT COALESCE(l.listed_on > COALESCE(b.last_day, e.day) AND l.listed_on <= b.day, FALSE)
            THEN b.adj_close / COALESCE(b.last_adj_close, e.adj_close) - 1
    END AS ret,
    b.is_suspended,
    b.is_st,
    b.volume,
    b.amount,
    v.turnover_rate
FROM bars AS b
LEFT JOIN earlier AS e ON e.asset_key = b.asset_key
LEFT JOIN staging.listings AS l ON l.asset_key = b.asset_key AND l.month = b.month
LEFT JOIN staging.daily_valuation AS v
    ON v.asset_key = b.asset_key AND v.day = b.day AND v.month = b.month
ORDER BY b.day, b.asset_key
