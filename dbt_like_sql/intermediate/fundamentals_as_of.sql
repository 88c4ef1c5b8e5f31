/*
description: "Reported items as they were public at the month's last close, the latest period and the latest announced version of it"
materialized: table
key: [month, asset_id, item]
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  asset_id: {type: ASSET, unit: identifier, meaning: "security"}
  item: {type: VARCHAR, unit: category, meaning: "what is reported"}
  report_period: {type: DATE, unit: date, meaning: "last day of the reported period"}
  announced_on: {type: DATE, unit: date, meaning: "day this value became public"}
  value: {type: DOUBLE, unit: "fraction or CNY, by item", meaning: "the value", missing: "reported as missing"}
  value_year_ago: {type: DOUBLE, unit: "fraction or CNY, by item", meaning: "the same item for the same period a year before, as public at the same close", missing: "not reported"}
*/
-- A report older than two years says nothing about a company; the bound keeps a month's work a month's.
WITH month_ends AS (
    SELECT month, MAX(day) AS last_day
    FROM staging.trading_days
    WHERE month BETWEEN $month_from AND $month_to
    GROUP BY month
),
-- First day of the company that has the code now, where another one had it within the months read.
taken_over AS (
    SELECT e.month, r.asset_key, MAX(r.listed_on) AS listed_on
    FROM month_ends AS e
    INNER JOIN staging.reused_codes AS r
        ON r.month <= e.month AND r.listed_on <= e.last_day AND r.earlier_month >= e.month - INTERVAL 30 MONTH
    WHERE r.month BETWEEN $month_from - INTERVAL 30 MONTH AND $month_to
    GROUP BY e.month, r.asset_key
),
visible AS (
    SELECT
        e.month,
        f.asset_key,
        f.item,
        f.report_period,
        f.announced_on,
        f.value
    FROM month_ends AS e
    INNER JOIN staging.fundamentals AS f
        ON f.announced_on <= e.last_day AND f.announced_on > e.last_day - INTERVAL 30 MONTH
    LEFT JOIN taken_over AS t ON t.month = e.month AND t.asset_key = f.asset_key
    WHERE f.month BETWEEN $month_from - INTERVAL 30 MONTH AND $month_to
        AND (t.listed_on IS NULL OR f.announced_on >= t.listed_on)
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY e.month, f.asset_key, f.item, f.report_period ORDER BY f.announced_on DESC
    ) = 1
),
latest AS (
    SELECT month, asset_key, item, report_period, announced_on, value
    FROM visible
    QUALIFY ROW_NUMBER() OVER (PARTITION BY month, asset_key, item ORDER BY report_period DESC) = 1
)
SELECT
    l.month,
    l.asset_key,
    l.item,
    l.report_period,
    l.announced_on,
    l.value,
    y.value AS value_year_ago
FROM latest AS l
LEFT JOIN visible AS y
    ON y.month = l.month
    AND y.asset_key = l.asset_key
    AND y.item = l.item
    AND y.report_period = LAST_DAY(l.report_period - INTERVAL 12 MONTH)
ORDER BY l.month, l.asset_key, l.item
