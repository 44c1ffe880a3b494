-- What is asked about a dead letter without reading its value, which may have megabytes. `attempts` counts the places at which these bytes came.
ALTER TABLE dead_letters ADD COLUMN value_bytes BIGINT;
ALTER TABLE dead_letters ADD COLUMN value_sha VARCHAR;
ALTER TABLE dead_letters ADD COLUMN attempts INTEGER DEFAULT 1;
ALTER TABLE dead_letters ADD COLUMN last_seen TIMESTAMPTZ;
UPDATE dead_letters SET value_bytes = coalesce(octet_length(value), 0), value_sha = sha256(coalesce(value, ''::BLOB)), last_seen = occurred_at;
