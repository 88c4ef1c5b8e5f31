/*
description: "sessions of the Shanghai exchange (canonical view of raw.trading_days)"
materialized: view
key: [day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  day: {type: DATE, unit: "date", meaning: "trading day of the Shanghai exchange"}
  is_month_end: {type: BOOLEAN, unit: "flag", meaning: "last session of its calendar month"}
*/
SELECT
    month,
    day,
    is_month_end
FROM raw.trading_days
