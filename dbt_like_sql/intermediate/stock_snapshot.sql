/*
description: "Everything monthly that the factors need of a stock, as known at the month's last close"
materialized: table
key: [month, asset_id]
columns:
  month: {type: DATE, unit: date, meaning: "partition"}
  asset_id: {type: ASSET, unit: identifier, meaning: "security"}
  close: {type: DOUBLE, unit: CNY, meaning: "last close, unadjusted", minimum: 0}
  pb: {type: DOUBLE, unit: ratio, meaning: "price / book value", missing: "not given"}
  pe_ttm: {type: DOUBLE, unit: ratio, meaning: "price / trailing earnings; negative for a loss", missing: "not given"}
  dividend_yield: {type: DOUBLE, unit: fraction, meaning: "cash of the last 12 months by ex-day, restated for later bonus shares, / close: 0 where none was paid; that of the source where it serves no dividends for those months", missing: "the source serves neither dividends for those months nor a yield", minimum: 0}
  roe_ttm: {type: DOUBLE, unit: fraction, meaning: "return on equity, announced by then", missing: "not announced within 30 months"}
  net_profit_ttm: {type: DOUBLE, unit: CNY, meaning: "trailing net profit, announced by then", missing: "not announced within 30 months"}
  net_profit_ttm_year_ago: {type: DOUBLE, unit: CNY, meaning: "the same for the same period a year before", missing: "not announced"}
  total_market_value: {type: DOUBLE, unit: CNY, meaning: "close × all shares", missing: "not given", minimum: 0}
  float_market_value: {type: DOUBLE, unit: CNY, meaning: "close × tradable shares", missing: "not given", minimum: 0}
*/
WITH month_ends AS (
    SELECT month, MAX(day) AS last_day
    FROM staging.trading_days
    WHERE month BETWEEN $month_from AND $month_to
    GROUP BY month
),
-- Months of which the source served dividends, if only to say that there were none. Twelve months of cash need them all.
served AS (
    SELECT e.month
    FROM month_ends AS e
    INNER JOIN (
        SELECT DISTINCT i.month
        FROM staging.ingestions AS i
        WHERE i.table_name = 'dividends' AND i.month BETWEEN $month_from - INTERVAL 12 MONTH AND $month_to
    ) AS i
        ON i.month <= e.month AND i.month >= DATE_TRUNC('month', e.last_day - INTERVAL 12 MONTH + INTERVAL 1 DAY)
    GROUP BY e.month, e.last_day
    HAVING
        COUNT(*) = 1 + DATE_DIFF('month', DATE_TRUNC('month', e.last_day - INTERVAL 12 MONTH + INTERVAL 1 DAY), e.month)
),
-- First day of the company that has the code now, where another one had it within the months read.
taken_over AS (
    SELECT e.month, r.asset_key, MAX(r.listed_on) AS listed_on
    FROM month_ends AS e
    INNER JOIN staging.reused_codes AS r
        ON r.month <= e.month AND r.listed_on <= e.last_day AND r.earlier_month >= e.month - INTERVAL 12 MONTH
    WHERE r.month BETWEEN $month_from - INTERVAL 12 MONTH AND $month_to
    GROUP BY e.month, r.asset_key
),
paid AS (
    SELECT
        e.month,
        d.asset_key,
        d.ex_day,
        d.cash_per_share,
        -- shares a holder has at the month's end for each one held on the ex-day before later bonuses
        PRODUCT(1 + d.shares_per_share) OVER (
            PARTITION BY e.month, d.asset_key ORDER BY d.ex_day DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS shares_since
    FROM month_ends AS e
    INNER JOIN staging.dividends AS d
        ON d.ex_day <= e.last_day AND d.ex_day > e.last_day - INTERVAL 12 MONTH
    LEFT JOIN taken_over AS t ON t.month = e.month AND t.asset_key = d.asset_key
    WHERE d.month BETWEEN $month_from - INTERVAL 12 MONTH AND $month_to
        AND (t.listed_on IS NULL OR d.ex_day >= t.listed_on)
),
cash AS (
    SELECT month, asset_key, SUM(cash_per_share / shares_since ORDER BY ex_day) AS cash
    FROM paid
    GROUP BY month, asset_key
)
SELECT
    b.month,
    b.asset_key,
    b.close,
    v.pb,
    v.pe_ttm,
    CASE WHEN s.month IS NULL THEN v.dividend_yield_ttm ELSE COALESCE(c.cash, 0) / b.close END AS dividend_yield,
    r.value AS roe_ttm,
    p.value AS net_profit_ttm,
    p.value_year_ago AS net_profit_ttm_year_ago,
    v.total_market_value,
    v.float_market_value
FROM month_ends AS e
INNER JOIN staging.daily_bars AS b ON b.month = e.month AND b.day = e.last_day
LEFT JOIN staging.daily_valuation AS v ON v.month = e.month AND v.asset_key = b.asset_key AND v.day = b.day
LEFT JOIN served AS s ON s.month = e.month
LEFT JOIN cash AS c ON c.month = e.month AND c.asset_key = b.asset_key
LEFT JOIN intermediate.fundamentals_as_of AS r ON r.month = e.month AND r.asset_key = b.asset_key AND r.item = 'roe_ttm'
LEFT JOIN intermediate.fundamentals_as_of AS p ON p.month = e.month AND p.asset_key = b.asset_key AND p.item = 'net_profit_ttm'
ORDER BY b.month, b.asset_key
