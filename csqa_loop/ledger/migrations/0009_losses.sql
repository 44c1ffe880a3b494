-- Records that the log deleted before they were read: what the ledger will never hold. `until_offset` is the first one that still existed.
CREATE TABLE losses (
    epoch INTEGER, topic VARCHAR, partition INTEGER, from_offset BIGINT, until_offset BIGINT, found_at TIMESTAMPTZ,
    acknowledged_at TIMESTAMPTZ, acknowledgement VARCHAR,
    PRIMARY KEY (epoch, topic, partition, from_offset)
);
