-- What is asked about a dead letter without reading its value, which may have megabytes. `attempts` counts the places at which these bytes came.
ALTER TABLE dead_letters ADD COLUMN value_bytes BIGINT;
ALTER TABLE dead_letters ADD COLUMN value_sha VARCHAR;
ALTER TABLE dead_letters ADD COLUMN attempts INTEGER DEFAULT 1;
ALTER TABLE dead_letters ADD COLUMN last_seen TIMESTAMPTZ;
-- Whether `value` and `original_key` are but the beginning of what lies at the letter's place in the log.
ALTER TABLE dead_letters ADD COLUMN cut BOOLEAN DEFAULT false;
UPDATE dead_letters SET value_bytes = coalesce(octet_length(value), 0), value_sha = sha256(coalesce(value, ''::BLOB)), last_seen = occurred_at;
