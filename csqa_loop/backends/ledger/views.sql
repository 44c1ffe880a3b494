-- What the ledger's queries share. Made anew at every start: views hold nothing.
CREATE OR REPLACE VIEW current_policies AS
SELECT policy_id, version, withdrawn FROM policies
QUALIFY row_number() OVER (PARTITION BY policy_id ORDER BY occurred_at DESC, event_id DESC) = 1;

CREATE OR REPLACE VIEW review_states AS
SELECT review_id, action, reviewer, event_id, occurred_at FROM reviews
QUALIFY row_number() OVER (PARTITION BY review_id ORDER BY occurred_at DESC, event_id DESC) = 1;

CREATE OR REPLACE VIEW claims AS
SELECT unnest(from_json(body -> 'pair_ids', '["VARCHAR"]')) AS pair_id, run_id FROM training_events WHERE type = 'TrainingRequested';

-- Where a claimed pair came from, as its request says: blame may be judged anew later, and the pair not be made any more.
CREATE OR REPLACE VIEW claimed_sources AS
SELECT s ->> 0 AS pair_id, (s ->> 1)::UUID AS answer_event_id, (s ->> 2)::UUID AS evidence_event_id
FROM (SELECT unnest(CAST(body -> 'sources' AS JSON[])) AS s FROM training_events WHERE type = 'TrainingRequested');

-- `outdated`: a policy that the prompt quoted has another version now, or is withdrawn. A policy never published here says nothing.
-- `withdrawn`: the review that made the pair was undone, or a review of the pair itself replaced or rejected it.
-- `unsettled`: it waits for a review; `approved` lets it pass.
CREATE OR REPLACE VIEW pair_states AS
WITH outdated AS (
    SELECT DISTINCT q.pair_id FROM (SELECT pair_id, unnest(quoted) AS quote FROM pairs) q
    JOIN current_policies c ON c.policy_id = q.quote[1] WHERE c.withdrawn OR c.version IS DISTINCT FROM q.quote[2]
), undone AS (
    SELECT r.event_id FROM reviews r JOIN review_states s USING (review_id) WHERE r.event_id <> s.event_id
), judged AS (
    SELECT p.*, p.pair_id IN (SELECT pair_id FROM claims) AS claimed, p.pair_id IN (FROM outdated) AS outdated,
        p.evidence_event_id IN (FROM undone) OR coalesce(r.action IN ('reject', 'correct'), false) AS withdrawn,
        coalesce(r.action = 'approve', false) AS approved, (len(p.held) > 0 OR p.rival IS NOT NULL) AND NOT approved AS unsettled
    FROM pairs p LEFT JOIN review_states r ON r.review_id = p.review_id
)
SELECT *, CASE
    WHEN withdrawn THEN 'withdrawn' WHEN outdated THEN 'quarantined' WHEN unsettled THEN 'held' WHEN held_out THEN 'held_out'
    WHEN claimed THEN 'claimed' ELSE 'fresh' END AS state
FROM judged;

-- One item for every answer that is known to be bad and has no better answer, and for every pair that waits.
CREATE OR REPLACE VIEW review_items AS
WITH answered AS (
    SELECT message_id FROM blames WHERE corrected UNION SELECT message_id FROM pairs
)
SELECT b.review_id, 'answer' AS kind, b.message_id AS subject, b.message_id, arg_min(b.conversation_id, b.occurred_at) AS conversation_id,
    min(b.occurred_at) AS opened_at, arg_min(b.event_id, b.occurred_at) AS event_id, arg_min(b.reason, b.occurred_at) AS reason,
    arg_min(b.fault, b.occurred_at) AS fault, arg_min(b.detail, b.occurred_at) AS detail, NULL AS pair_id
FROM blames b WHERE b.fault <> 'not_the_model' AND b.message_id NOT IN (FROM answered) GROUP BY b.review_id, b.message_id
UNION ALL
SELECT review_id, 'pair', pair_id, message_id, NULL, occurred_at, evidence_event_id, 'held', NULL,
    array_to_string(list_concat(held, CASE WHEN rival IS NULL THEN [] ELSE ['contradiction: ' || rival || ' states other numbers'] END), '; '), pair_id
FROM pair_states WHERE state = 'held';
