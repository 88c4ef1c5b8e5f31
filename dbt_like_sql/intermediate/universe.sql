/*
description: "Who was a member of the index at the month's last close, and who may be estimated on and held"
materialized: table
key: [month, asset_id]
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  asset_id: {type: ASSET, unit: identifier, meaning: "member"}
  in_estimation: {type: BOOLEAN, unit: flag, meaning: "has a bar at the month's last close: statistics are estimated on it"}
  in_tradable: {type: BOOLEAN, unit: flag, meaning: "and is not suspended at that close: may be held from the next day on"}
  industry: {type: VARCHAR, unit: category, meaning: "industry as of the last close, of one classification scheme for all members", missing: "not classified in that scheme"}
  is_st: {type: BOOLEAN, unit: flag, meaning: "special treatment at the last close"}
  is_suspended: {type: BOOLEAN, unit: flag, meaning: "suspended at the last close"}
*/
WITH month_ends AS (
    SELECT month, MAX(day) AS last_day
    FROM staging.trading_days
    WHERE month BETWEEN $month_from AND $month_to
    GROUP BY month
),
members AS (
    SELECT DISTINCT m.month, e.last_day, m.asset_key
    FROM staging.index_members AS m
    INNER JOIN month_ends AS e ON e.month = m.month
    WHERE m.index_id = $index_id
        AND m.valid_from <= e.last_day
        AND (m.valid_to IS NULL OR m.valid_to > e.last_day)
),
-- Industries of two schemes never stand side by side: the one asked for, or else the one that classifies most members.
classified AS (
    SELECT
        m.month,
        m.asset_key,
        i.scheme,
        ARG_MAX(i.industry, i.valid_from) AS industry
    FROM members AS m
    INNER JOIN staging.industries AS i
        ON i.month = m.month
        AND i.asset_key = m.asset_key
        AND i.valid_from <= m.last_day
        AND (i.valid_to IS NULL OR i.valid_to > m.last_day)
    WHERE $industry_scheme IS NULL OR i.scheme = $industry_scheme
    GROUP BY m.month, m.asset_key, i.scheme
),
-- A list of members that ends before the bars, or bars of those who survived only, shows as members without a bar.
absent AS (
    SELECT m.month, COUNT(*) - COUNT(b.asset_key) AS absent, COUNT(*) AS members
    FROM members AS m
    LEFT JOIN staging.daily_bars AS b
        ON b.asset_key = m.asset_key AND b.day = m.last_day AND b.month = m.month
    GROUP BY m.month
),
chosen AS (
    SELECT month, scheme
    FROM classified
    GROUP BY month, scheme
    QUALIFY ROW_NUMBER() OVER (PARTITION BY month ORDER BY COUNT(*) DESC, scheme) = 1
)
SELECT
    m.month,
    m.asset_key,
    CASE
        WHEN a.absent > $maximum_absent * a.members
            THEN ERROR(a.absent || ' of ' || a.members || ' members of ' || $index_id || ' have no bar at the last close of ' || STRFTIME(m.month, '%Y-%m') || ', so what is left are perhaps survivors only: end the sample before that month (--to), bring the bars of all members, or raise universe.maximum_absent')
        ELSE b.asset_key IS NOT NULL
    END AS in_estimation,
    b.asset_key IS NOT NULL AND NOT b.is_suspended AS in_tradable,
    CASE
        WHEN $industry_scheme IS NOT NULL AND s.scheme IS NULL
            THEN ERROR('no member of ' || STRFTIME(m.month, '%Y-%m') || ' has an industry of the scheme ' || $industry_scheme || '; see raw.industries for the schemes there are, or leave universe.industry_scheme out')
        ELSE c.industry
    END AS industry,
    COALESCE(b.is_st, FALSE) AS is_st,
    COALESCE(b.is_suspended, FALSE) AS is_suspended
FROM members AS m
LEFT JOIN staging.daily_bars AS b
    ON b.asset_key = m.asset_key AND b.day = m.last_day AND b.month = m.month
INNER JOIN absent AS a ON a.month = m.month
LEFT JOIN chosen AS s ON s.month = m.month
LEFT JOIN classified AS c ON c.asset_key = m.asset_key AND c.month = m.month AND c.scheme = s.scheme
ORDER BY m.month, m.asset_key
