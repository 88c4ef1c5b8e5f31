/*
description: "membership intervals touching the month (canonical view of raw.index_members)"
materialized: view
key: [month, index_id, asset_id, valid_from]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  index_id: {type: VARCHAR, unit: "identifier", meaning: "index, as 000016.SH"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  valid_from: {type: DATE, unit: "date", meaning: "first day of membership"}
  valid_to: {type: DATE, unit: "date", meaning: "first day no longer a member", missing: "still a member at the end of the month"}
  announced_on: {type: DATE, unit: "date", meaning: "day the change became public", missing: "unknown"}
*/
SELECT
    month,
    index_id,
    asset_key,
    asset_id,
    valid_from,
    valid_to,
    announced_on
FROM raw.index_members
