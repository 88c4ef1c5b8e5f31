/*
description: "industry membership intervals touching the month (canonical view of raw.industries)"
materialized: view
key: [month, asset_id, valid_from, scheme]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  asset_id: {type: ASSET, unit: "identifier", meaning: "security, as 600519.SH"}
  valid_from: {type: DATE, unit: "date", meaning: "first day of the classification"}
  valid_to: {type: DATE, unit: "date", meaning: "first day no longer valid", missing: "valid at the end of the month"}
  scheme: {type: VARCHAR, unit: "category", meaning: "classification scheme"}
  industry: {type: VARCHAR, unit: "category", meaning: "industry name"}
*/
SELECT
    month,
    asset_key,
    asset_id,
    valid_from,
    valid_to,
    scheme,
    industry
FROM raw.industries
