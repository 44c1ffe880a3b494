-- Better answers that come after the bad case: reviews, models' proposals, imported files.
CREATE TABLE reviews (
    event_id UUID, occurred_at TIMESTAMPTZ, conversation_id VARCHAR, review_id VARCHAR, kind VARCHAR, subject VARCHAR, message_id VARCHAR,
    action VARCHAR, corrected_answer VARCHAR, reviewer VARCHAR, note VARCHAR
);
CREATE TABLE proposals (
    event_id UUID, occurred_at TIMESTAMPTZ, conversation_id VARCHAR, message_id VARCHAR, method VARCHAR, answer VARCHAR, adapter VARCHAR,
    judge_model VARCHAR, judge_prompt_version VARCHAR
);
CREATE TABLE examples (
    event_id UUID, occurred_at TIMESTAMPTZ, conversation_id VARCHAR, messages JSON, answer VARCHAR, rejected VARCHAR, liked BOOLEAN,
    category VARCHAR, split VARCHAR, origin VARCHAR, generator VARCHAR, operator VARCHAR
);
-- Derived from the tables above and from policies; `derivation` says by which code and settings, so that a change of either derives them anew.
DROP TABLE pairs;
CREATE TABLE pairs (
    pair_id VARCHAR, message_id VARCHAR, policy_id VARCHAR, section VARCHAR, held_out BOOLEAN, question VARCHAR,
    prompt JSON, chosen VARCHAR, rejected VARCHAR, source VARCHAR, weight DOUBLE, adapter VARCHAR,
    answer_event_id UUID, evidence_event_id UUID, occurred_at TIMESTAMPTZ, "user" VARCHAR, contributor VARCHAR, category VARCHAR,
    quoted VARCHAR[][], question_key VARCHAR, numbers VARCHAR[], held VARCHAR[], signature BLOB, review_id VARCHAR, prompt_key VARCHAR, rival VARCHAR
);
CREATE TABLE blames (
    event_id UUID, occurred_at TIMESTAMPTZ, message_id VARCHAR, conversation_id VARCHAR, "user" VARCHAR, question VARCHAR, reason VARCHAR,
    answered_at TIMESTAMPTZ, fault VARCHAR, basis VARCHAR, detail VARCHAR, policy_id VARCHAR, version VARCHAR, section VARCHAR, category VARCHAR,
    prompt_support DOUBLE, best_support DOUBLE, missing_numbers VARCHAR[], corrected BOOLEAN, review_id VARCHAR
);
CREATE TABLE ratings (
    message_id VARCHAR, conversation_id VARCHAR, "user" VARCHAR, thumb VARCHAR, event_id UUID, occurred_at TIMESTAMPTZ,
    answer_event_id UUID, policy_id VARCHAR, section VARCHAR, prompt_key VARCHAR
);
CREATE TABLE derivation (sha VARCHAR);
