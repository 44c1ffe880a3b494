-- One row an event of the log. A known event_id with another body_sha is a dead letter.
CREATE TABLE events (
    event_id UUID PRIMARY KEY,
    topic VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    body_sha VARCHAR NOT NULL
);
CREATE TABLE exposures (
    event_id UUID, occurred_at TIMESTAMPTZ, message_id VARCHAR, conversation_id VARCHAR, "user" VARCHAR,
    experiment VARCHAR, arm VARCHAR, adapter VARCHAR
);
CREATE TABLE answers (
    event_id UUID, occurred_at TIMESTAMPTZ, message_id VARCHAR, conversation_id VARCHAR, "user" VARCHAR,
    experiment VARCHAR, arm VARCHAR, adapter VARCHAR, question VARCHAR, messages JSON, answer VARCHAR, source VARCHAR,
    citations JSON, policy_id VARCHAR, section VARCHAR, index_version VARCHAR, as_of TIMESTAMPTZ, prompt_version VARCHAR,
    sampling JSON, confidence DOUBLE, covered BOOLEAN, handoff BOOLEAN, latency_ms DOUBLE, prompt_tokens INTEGER, completion_tokens INTEGER
);
CREATE TABLE feedback (
    event_id UUID, occurred_at TIMESTAMPTZ, conversation_id VARCHAR, message_id VARCHAR, "user" VARCHAR, thumb VARCHAR, comment VARCHAR
);
CREATE TABLE bad_cases (
    event_id UUID, occurred_at TIMESTAMPTZ, conversation_id VARCHAR, message_id VARCHAR, reason VARCHAR,
    corrected_answer VARCHAR, reviewer VARCHAR
);
CREATE TABLE policies (
    event_id UUID, occurred_at TIMESTAMPTZ, policy_id VARCHAR, withdrawn BOOLEAN, version VARCHAR, title VARCHAR, body JSON
);
CREATE TABLE training_events (event_id UUID, occurred_at TIMESTAMPTZ, run_id VARCHAR, attempt INTEGER, type VARCHAR, body JSON);
CREATE TABLE decisions (event_id UUID, occurred_at TIMESTAMPTZ, experiment_id VARCHAR, type VARCHAR, body JSON);
CREATE TABLE deployments (
    event_id UUID, occurred_at TIMESTAMPTZ, revision BIGINT, champion VARCHAR, challenger VARCHAR, candidate VARCHAR,
    share DOUBLE, experiment VARCHAR, body JSON
);
-- Derived from answers and bad cases, rebuilt for every message that a batch touches.
CREATE TABLE pairs (
    pair_id VARCHAR PRIMARY KEY, message_id VARCHAR, policy_id VARCHAR, section VARCHAR, held_out BOOLEAN, question VARCHAR,
    prompt JSON, chosen VARCHAR, rejected VARCHAR, source VARCHAR, weight DOUBLE, adapter VARCHAR,
    answer_event_id UUID, evidence_event_id UUID, occurred_at TIMESTAMPTZ
);
