/*
description: "Monthly long-short return of the five styles, a column each"
materialized: view
key: [month]
columns:
  month: {type: DATE, unit: date, meaning: "month"}
  mom: {type: DOUBLE, unit: fraction per month, meaning: "momentum", missing: "a group without names"}
  val: {type: DOUBLE, unit: fraction per month, meaning: "value", missing: "a group without names"}
  qlty: {type: DOUBLE, unit: fraction per month, meaning: "quality", missing: "a group without names"}
  vol: {type: DOUBLE, unit: fraction per month, meaning: "low volatility", missing: "a group without names"}
  size: {type: DOUBLE, unit: fraction per month, meaning: "small size", missing: "a group without names"}
*/
SELECT
    month,
    MAX(CASE WHEN factor = 'MOM' THEN long_short END) AS mom,
    MAX(CASE WHEN factor = 'VAL' THEN long_short END) AS val,
    MAX(CASE WHEN factor = 'QLTY' THEN long_short END) AS qlty,
    MAX(CASE WHEN factor = 'VOL' THEN long_short END) AS vol,
    MAX(CASE WHEN factor = 'SIZE' THEN long_short END) AS size
FROM marts.factor_longshort
WHERE kind = 'style'
GROUP BY month
