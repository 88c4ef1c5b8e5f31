/*
description: "what was fetched, when, from where, with the hash of its content (canonical view of raw.ingestions)"
materialized: view
key: [source, table_name, month]
columns:
  month: {type: DATE, unit: "date", meaning: "partition: first calendar day of the month the row belongs to"}
  source: {type: VARCHAR, unit: "text", meaning: "source name"}
  table_name: {type: VARCHAR, unit: "text", meaning: "canonical table"}
  fetched_at: {type: TIMESTAMP, unit: "UTC", meaning: "when", volatile: true}
  rows: {type: BIGINT, unit: "count", meaning: "rows stored"}
  quarantined: {type: BIGINT, unit: "count", meaning: "rows kept out"}
  warnings: {type: BIGINT, unit: "count", meaning: "rows let in with a warning"}
  sha256: {type: VARCHAR, unit: "hex", meaning: "hash of the canonical content"}
  source_kind: {type: VARCHAR, unit: "category", meaning: "simulated or real"}
  source_version: {type: VARCHAR, unit: "text", meaning: "version of the source or of its settings"}
*/
SELECT
    month,
    source,
    table_name,
    fetched_at,
    rows,
    quarantined,
    warnings,
    sha256,
    source_kind,
    source_version
FROM raw.ingestions
