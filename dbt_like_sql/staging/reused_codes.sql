/*
description: "companies that were given a code another one had had before, in the month each was listed"
materialized: view
key: [month, asset_id]
columns:
  month: {type: DATE, unit: date, meaning: "month the company was listed in; it is known from then on"}
  asset_id: {type: ASSET, unit: identifier, meaning: "security, as 600519.SH"}
  listed_on: {type: DATE, unit: date, meaning: "first trading day of the company"}
  earlier_month: {type: DATE, unit: date, meaning: "latest month before in which the code stood for a company listed earlier"}
*/
-- An announced day may move until it has come, and one corrected in a later month makes no other company: what counts is a
-- listing known in the month it began in. As in market/reused_codes.py. The earlier month lies anywhere in the past: a model
-- that reads this view bounds it by the months it declares to look back on.
SELECT
    l.month,
    l.asset_key,
    l.asset_id,
    l.listed_on,
    MAX(o.month) AS earlier_month
FROM raw.listings AS l
INNER JOIN raw.listings AS o ON o.asset_key = l.asset_key AND o.listed_on < l.listed_on AND o.month < l.month
WHERE l.listed_on BETWEEN l.month AND LAST_DAY(l.month)
GROUP BY l.month, l.asset_key, l.asset_id, l.listed_on
