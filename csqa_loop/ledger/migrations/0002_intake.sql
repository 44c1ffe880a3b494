-- How far the log was taken. last_record_sha lets a restart notice that the broker came back with another log.
CREATE TABLE offsets (
    topic VARCHAR, partition INTEGER, next_offset BIGINT, last_record_sha VARCHAR,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, began_at TIMESTAMPTZ, reason VARCHAR, republished BOOLEAN DEFAULT false);
CREATE TABLE dead_letters (
    letter_id VARCHAR PRIMARY KEY, occurred_at TIMESTAMPTZ, topic VARCHAR, key VARCHAR, original_key BLOB, value BLOB, partition INTEGER,
    "offset" BIGINT, event_id VARCHAR, reason VARCHAR, published BOOLEAN DEFAULT false
);
