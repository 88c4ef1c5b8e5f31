/*
description: "securities listed during the month (canonical view of raw.listings)"
materialized: view
key: [month, asset_id]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  name: {type: VARCHAR, unit: "text", meaning: "short name; untrusted text", missing: "not given"}
  board: {type: VARCHAR, unit: "category", meaning: "listing board"}
  listed_on: {type: DATE, unit: "date", meaning: "first trading day"}
  delisted_on: {type: DATE, unit: "date", meaning: "first day no longer listed", missing: "listed at the end of the month"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    name,
    board,
    listed_on,
    delisted_on
FROM raw.listings
