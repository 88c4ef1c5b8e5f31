CREATE SCHEMA IF NOT EXISTS meta;
CREATE TABLE IF NOT EXISTS meta.layout (table_name VARCHAR, definition VARCHAR);
CREATE TABLE IF NOT EXISTS meta.runs (
    run_id VARCHAR, code_version VARCHAR, settings VARCHAR, seeds VARCHAR, packages VARCHAR,
    source VARCHAR, source_kind VARCHAR, source_version VARCHAR, first_seen_at TIMESTAMP
);
CREATE TABLE IF NOT EXISTS meta.run_inputs (run_id VARCHAR, table_name VARCHAR, month DATE, sha256 VARCHAR);
CREATE TABLE IF NOT EXISTS meta.executions (
    run_id VARCHAR, stage VARCHAR, table_name VARCHAR, first_month DATE, last_month DATE, row_count BIGINT,
    seconds DOUBLE, finished_at TIMESTAMP
);
-- texts of language models by what they were asked; kept when months are computed again
CREATE TABLE IF NOT EXISTS meta.drafts (cache_key VARCHAR PRIMARY KEY, draft VARCHAR, stored_at TIMESTAMP);
-- what a source restated and was taken over: partitions of raw tables with the fingerprints before and after
CREATE TABLE IF NOT EXISTS meta.restatements (
    restatement_id VARCHAR, taken_at TIMESTAMP, table_name VARCHAR, month DATE, old_sha256 VARCHAR, new_sha256 VARCHAR,
    added BIGINT, removed BIGINT, changed BIGINT
);
-- computed partitions that were made of rows restated since; the write that computes one again takes it off
CREATE TABLE IF NOT EXISTS meta.stale (table_name VARCHAR, month DATE, restatement_id VARCHAR);
-- partitions as they were before a restatement, or made of what stood before it; their rows are in the schema replaced
CREATE TABLE IF NOT EXISTS meta.replaced (table_name VARCHAR, month DATE, replaced_at TIMESTAMP, restatement_id VARCHAR);
