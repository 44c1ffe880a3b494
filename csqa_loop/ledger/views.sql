-- What the ledger's queries and the analysts' share: no schema is named, so that it holds wherever the tables are. Made anew at every start:
-- views and macros hold nothing.

-- The order of the log, within a key: (epoch, "offset", event_id). Everything that has a current version goes by it, and by no clock; the last
-- part only orders what keys of other partitions, or ledgers from before places were kept, leave open.

-- Where a message was answered or rated twice, the first answer counts, and the last thumb. For `QUALIFY`: DuckDB takes no list of names and
-- no join through the window of a view, so whoever asks about few messages of many narrows the rows first and then says which one counts.
CREATE OR REPLACE MACRO is_first_answer(message_id, occurred_at, event_id) AS
row_number() OVER (PARTITION BY message_id ORDER BY occurred_at, event_id) = 1;

CREATE OR REPLACE MACRO is_last_thumb(message_id, epoch, place, event_id) AS
row_number() OVER (PARTITION BY message_id ORDER BY epoch DESC, place DESC, event_id DESC) = 1;

CREATE OR REPLACE VIEW first_answers AS SELECT * FROM answers QUALIFY is_first_answer(message_id, occurred_at, event_id);

CREATE OR REPLACE VIEW last_thumbs AS SELECT * FROM feedback QUALIFY is_last_thumb(message_id, epoch, "offset", event_id);

-- The same for a list of message ids. By row: else all prompts of the ledger would be decompressed to find these.
CREATE OR REPLACE MACRO first_answers_of(message_ids) AS TABLE
SELECT * FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE message_id IN (SELECT unnest(message_ids)))
QUALIFY is_first_answer(message_id, occurred_at, event_id);

CREATE OR REPLACE MACRO last_thumbs_of(message_ids) AS TABLE
SELECT * FROM feedback WHERE message_id IN (SELECT unnest(message_ids)) QUALIFY is_last_thumb(message_id, epoch, "offset", event_id);

-- The last word on each policy, a withdrawal's too.
CREATE OR REPLACE VIEW current_policies AS
SELECT policy_id, version, withdrawn, event_id, occurred_at, recorded_at, body FROM policies
QUALIFY row_number() OVER (PARTITION BY policy_id ORDER BY epoch DESC, "offset" DESC, event_id DESC) = 1;

-- An experiment is opened once and judged once: what a second decision says does not count.
CREATE OR REPLACE VIEW openings AS
SELECT experiment_id, occurred_at, body FROM decisions WHERE type = 'ExperimentOpened'
QUALIFY row_number() OVER (PARTITION BY experiment_id ORDER BY epoch, "offset", event_id) = 1;

CREATE OR REPLACE VIEW verdicts AS
SELECT experiment_id, occurred_at, body FROM decisions WHERE type = 'VerdictReached'
QUALIFY row_number() OVER (PARTITION BY experiment_id ORDER BY epoch, "offset", event_id) = 1;

CREATE OR REPLACE VIEW review_states AS
SELECT review_id, action, reviewer, event_id, occurred_at FROM reviews
QUALIFY row_number() OVER (PARTITION BY review_id ORDER BY epoch DESC, "offset" DESC, event_id DESC) = 1;

-- Whether a review leaves nothing to train on of the pair that it is about.
CREATE OR REPLACE MACRO turns_down(action) AS action IN ('reject', 'correct');

CREATE OR REPLACE VIEW undone_reviews AS
SELECT r.event_id FROM reviews r JOIN review_states s USING (review_id) WHERE r.event_id <> s.event_id;

-- One row an answer that somebody complained about: opened by the first complaint, blamed by the newest of those that say what was right.
CREATE OR REPLACE VIEW blamed_answers AS
SELECT *, min(occurred_at) OVER (PARTITION BY message_id) AS opened_at,
    arg_min(reason, (occurred_at, event_id)) OVER (PARTITION BY message_id) AS first_reason
FROM blames WHERE event_id NOT IN (FROM undone_reviews)
QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY corrected DESC, occurred_at DESC, event_id DESC) = 1;

CREATE OR REPLACE VIEW claims AS
SELECT unnest(from_json(body -> 'pair_ids', '["VARCHAR"]')) AS pair_id, run_id FROM training_events WHERE type = 'TrainingRequested';

CREATE OR REPLACE VIEW claimed_examples AS
SELECT unnest(from_json(body -> 'example_ids', '["VARCHAR"]')) AS example_id, run_id FROM training_events WHERE type = 'TrainingRequested';

-- Runs whose newest attempt failed. While another attempt may follow, no other run is planned.
CREATE OR REPLACE VIEW failed_runs AS
SELECT run_id FROM training_events GROUP BY run_id HAVING NOT bool_or(type = 'AdapterEvaluated')
    AND max(attempt) FILTER (type = 'TrainingFailed') = max(attempt) FILTER (type = 'TrainingRequested');

-- What no other run takes: a failed run gives back what it claimed, but what was in three of them may be why.
CREATE OR REPLACE VIEW taken AS
SELECT id FROM (SELECT pair_id AS id, run_id FROM claims UNION ALL FROM claimed_examples) GROUP BY id
HAVING bool_or(run_id NOT IN (FROM failed_runs)) OR count(DISTINCT run_id) >= 3;

-- What a trainer found too long.
CREATE OR REPLACE VIEW unfit AS
SELECT DISTINCT unnest(from_json(body -> 'unfit', '["VARCHAR"]')) AS id FROM training_events WHERE type = 'TrainingFailed';

-- What each adapter was trained on beside its parent: new pairs and repeated ones.
CREATE OR REPLACE VIEW lessons AS
SELECT DISTINCT t.body ->> 'adapter' AS adapter, t.body ->> 'parent' AS parent, r.pair_id FROM training_events t JOIN (
    FROM claims UNION ALL
    SELECT unnest(from_json(body -> 'replay_pair_ids', '["VARCHAR"]')), run_id FROM training_events WHERE type = 'TrainingRequested'
) r USING (run_id) WHERE t.type = 'AdapterTrained';

-- Where a claimed pair came from, as its request says: blame may be judged anew later, and the pair not be made any more.
CREATE OR REPLACE VIEW claimed_sources AS
SELECT s ->> 0 AS pair_id, TRY_CAST(s ->> 1 AS UUID) AS answer_event_id, TRY_CAST(s ->> 2 AS UUID) AS evidence_event_id
FROM (SELECT unnest(CAST(body -> 'sources' AS JSON[])) AS s FROM training_events WHERE type = 'TrainingRequested');

-- Sections of former versions whose text the current version still has, be it under another heading.
CREATE OR REPLACE VIEW standing_sections AS
SELECT DISTINCT s.policy_id, s.version, s.section FROM policy_sections s JOIN current_policies c USING (policy_id)
JOIN policy_sections n ON n.policy_id = c.policy_id AND n.version = c.version AND n.digest = s.digest WHERE NOT c.withdrawn;

-- `outdated`: a section that the prompt quoted says something else in the current version of its policy, or the policy is withdrawn. A policy never
-- published here says nothing; of a version or section that was never seen here nothing can be compared, so any other version counts.
-- `withdrawn`: the review that made the pair was undone, or a review of the pair itself replaced or rejected it.
-- `unsettled`: it waits for a review; `approved` lets it pass, unless it is `too_long`, by the estimate or by a trainer's count, or `masked`:
-- its better answer has a label where personal data stood.
CREATE OR REPLACE VIEW pair_states AS
WITH outdated AS (
    SELECT DISTINCT q.pair_id FROM (SELECT pair_id, unnest(quoted) AS quote FROM pairs) q
    JOIN current_policies c ON c.policy_id = q.quote[1]
    LEFT JOIN standing_sections s ON s.policy_id = q.quote[1] AND s.version = q.quote[2] AND s.section = q.quote[3]
    WHERE c.withdrawn OR c.version IS DISTINCT FROM q.quote[2] AND s.policy_id IS NULL
), judged AS (
    SELECT p.*, p.pair_id IN (FROM taken) AS claimed, p.pair_id IN (FROM outdated) AS outdated,
        p.evidence_event_id IN (FROM undone_reviews) OR coalesce(turns_down(r.action), false) AS withdrawn,
        coalesce(r.action = 'approve', false) AS approved,
        p.pair_id IN (FROM unfit) OR contains(chr(10) || array_to_string(p.held, chr(10)), chr(10) || 'too_long:') AS too_long,
        contains(chr(10) || array_to_string(p.held, chr(10)), chr(10) || 'masked:') AS masked
    FROM pairs p LEFT JOIN review_states r ON r.review_id = p.review_id
)
SELECT *, too_long OR masked OR (len(held) > 0 OR rival IS NOT NULL) AND NOT approved AS unsettled, CASE
    WHEN withdrawn THEN 'withdrawn' WHEN outdated THEN 'quarantined' WHEN unsettled THEN 'held' WHEN held_out THEN 'held_out'
    WHEN claimed THEN 'claimed' ELSE 'fresh' END AS state
FROM judged;

CREATE OR REPLACE VIEW untrainable AS
SELECT message_id FROM held_examples UNION ALL FROM unfit;

-- Thumbs on what the model wrote that no pair uses, and liked or disliked answers of imported files: for training without pairs.
-- A thumb up on an answer that somebody complained about says nothing; a thumb down only counts where the model is to blame, and not where the
-- prompt says what the answer says. What a review rejected teaches nothing, whichever pair or answer it was about, and nor does what is held, nor
-- a vote on a prompt whose votes made a pair that is held, nor one on a section that only ever evaluates.
CREATE OR REPLACE VIEW unpaired AS
WITH outdated AS (
    SELECT DISTINCT message_id FROM (
        SELECT message_id, unnest(from_json(citations, '[{"policy_id": "VARCHAR", "version": "VARCHAR", "section": "VARCHAR"}]')) AS quote
        FROM first_answers
    ) q JOIN current_policies c ON c.policy_id = q.quote.policy_id
    LEFT JOIN standing_sections s ON s.policy_id = q.quote.policy_id AND s.version = q.quote.version AND s.section = q.quote.section
    WHERE c.withdrawn OR c.version IS DISTINCT FROM q.quote.version AND s.policy_id IS NULL
), turned_down AS (
    SELECT review_id FROM review_states WHERE turns_down(action)
), paired AS (
    SELECT message_id, evidence_event_id FROM pair_states WHERE NOT withdrawn OR review_id IN (FROM turned_down)
), disputed AS (
    SELECT prompt_key FROM pair_states WHERE source = 'rated' AND (unsettled OR review_id IN (FROM turned_down))
), blamed AS (
    SELECT message_id, bool_and(fault = 'generation' AND basis <> 'answer') AS generation, any_value(category) AS category FROM blames
    WHERE event_id NOT IN (FROM undone_reviews) GROUP BY message_id
)
SELECT r.message_id, t.messages AS prompt, t.answer, r.thumb = 'up' AS liked, r.policy_id, r.section, t.citations -> 0 ->> 'version' AS version,
    b.category, t.question, t."user", r.occurred_at, r.answer_event_id, r.event_id AS evidence_event_id
FROM ratings r JOIN first_answers t USING (message_id) LEFT JOIN blamed b USING (message_id)
WHERE r.message_id NOT IN (SELECT message_id FROM paired) AND r.event_id NOT IN (SELECT evidence_event_id FROM paired)
    AND r.prompt_key NOT IN (FROM disputed) AND r.message_id NOT IN (FROM outdated) AND r.message_id NOT IN (FROM untrainable)
    AND r.message_id NOT IN (SELECT message_id FROM reviews JOIN review_states s USING (review_id) WHERE s.action = 'reject')
    AND CASE r.thumb WHEN 'up' THEN b.message_id IS NULL ELSE coalesce(b.generation, false) END
    AND NOT is_held_out(r.policy_id, r.section)
UNION ALL
SELECT conversation_id, messages, answer, liked, '', '', NULL, category, messages -> -1 ->> 'content', '', occurred_at, event_id, event_id FROM examples
WHERE liked IS NOT NULL AND rejected IS NULL AND split = 'train' AND conversation_id NOT IN (FROM untrainable);

-- Rated answers and demonstrations, as far as they may be trained on.
CREATE OR REPLACE VIEW training_examples AS
SELECT u.message_id AS example_id, u.question, u.prompt, u.answer, u.liked, u.occurred_at, u."user", coalesce(e.operator, '') AS contributor,
    coalesce(u.category, u.policy_id) AS category, u.message_id, u.answer_event_id, u.evidence_event_id
FROM unpaired u LEFT JOIN examples e ON e.event_id = u.evidence_event_id
UNION ALL
SELECT conversation_id, messages -> -1 ->> 'content', messages, answer, NULL, occurred_at, '', operator, category, conversation_id, event_id, event_id
FROM examples WHERE liked IS NULL AND rejected IS NULL AND split = 'train' AND conversation_id NOT IN (FROM untrainable);

-- What a person decides or has decided: answers known to be bad, and pairs that wait. `open`: there is no better answer yet (one that was
-- undone is none), or the pair is held. `decided`: somebody decided and nobody undid it. An item that is neither is left out.
CREATE OR REPLACE VIEW review_queue AS
WITH answered AS (
    SELECT message_id FROM blames WHERE corrected AND event_id NOT IN (FROM undone_reviews) UNION SELECT message_id FROM pair_states WHERE NOT withdrawn
), complaints AS (
    SELECT *, row(reason = 'review', occurred_at, event_id) AS place FROM blames WHERE fault <> 'not_the_model'
), conversations AS (
    SELECT message_id, min(conversation_id) AS conversation_id FROM answers GROUP BY message_id
), matters AS (
    SELECT review_id, 'answer' AS kind, message_id AS subject, message_id, arg_min(conversation_id, place) AS conversation_id,
        arg_min(occurred_at, place) AS opened_at, arg_min(event_id, place) AS event_id, arg_min(reason, place) AS reason,
        arg_min(fault, place) AS fault, arg_min(detail, place) AS detail, NULL AS pair_id, arg_min(policy_id, place) AS policy_id,
        arg_min(question, place) AS question, message_id NOT IN (FROM answered) AND bool_or(reason <> 'review') AS waits
    FROM complaints GROUP BY review_id, message_id
    UNION ALL
    SELECT p.review_id, 'pair', p.pair_id, p.message_id, coalesce(c.conversation_id, p.message_id), p.occurred_at, p.evidence_event_id, 'held', NULL,
        concat_ws('; ', nullif(array_to_string(p.held, '; '), ''), 'contradiction: ' || p.rival || ' states other numbers',
            CASE WHEN p.pair_id IN (FROM unfit) THEN 'too_long: by the count of a trainer' END),
        p.pair_id, p.policy_id, p.question, p.state = 'held'
    FROM pair_states p LEFT JOIN conversations c USING (message_id)
)
SELECT m.* EXCLUDE (waits), CASE WHEN s.action <> 'reopen' THEN 'decided' ELSE 'open' END AS state,
    CASE reason WHEN 'held' THEN 2 WHEN 'thumb' THEN 1 ELSE 0 END AS rank
FROM matters m LEFT JOIN review_states s USING (review_id) WHERE s.action <> 'reopen' OR waits;

CREATE OR REPLACE VIEW review_items AS
SELECT review_id, kind, subject, message_id, conversation_id, opened_at, event_id, reason, fault, detail, pair_id FROM review_queue WHERE state = 'open';
