/*
description: "reported items with the day they became public; month is that of the announcement (canonical view of raw.fundamentals)"
materialized: view
key: [asset_id, report_period, announced_on, item]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  report_period: {type: DATE, unit: "date", meaning: "last day of the reported period"}
  announced_on: {type: DATE, unit: "date", meaning: "day the value became public"}
  item: {type: VARCHAR, unit: "category", meaning: "what is reported: roe_ttm, net_profit_ttm, net_profit_yoy, book_equity …"}
  value: {type: DOUBLE, unit: "fraction or CNY, by item", meaning: "the value", missing: "reported as missing"}
  is_revision: {type: BOOLEAN, unit: "flag", meaning: "not the first value announced for this asset, period and item"}
  announcement_is_deadline: {type: BOOLEAN, unit: "flag", meaning: "the source has no announcement day: the legal deadline stands in"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    report_period,
    announced_on,
    item,
    value,
    is_revision,
    announcement_is_deadline
FROM raw.fundamentals
