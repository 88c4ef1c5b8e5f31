/*
description: "index weights on given days (canonical view of raw.index_weights)"
materialized: view
key: [index_id, asset_id, day]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  index_id: {type: VARCHAR, unit: "identifier", meaning: "index, as 000016.SH"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  day: {type: DATE, unit: "date", meaning: "trading day of the Shanghai exchange"}
  weight: {type: DOUBLE, unit: "fraction", meaning: "weight at the close; sums to 1 per index and day"}
  derivation: {type: VARCHAR, unit: "text", meaning: "what the row was read or derived from", missing: "not given"}
*/
SELECT
    month,
    index_id,
    asset_key,
    asset_id,
    day,
    weight,
    derivation
FROM raw.index_weights
