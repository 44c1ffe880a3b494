-- What analysts read. Times are UTC; days are cut with epoch_us, so that no session's time zone moves a row to another day.
-- Raw facts stand beside the views in schema `facts`, and the ledger's own views with them: its rules decide here too.

CREATE VIEW answers AS
WITH reported AS (
    SELECT message_id, count(*) AS bad_cases FROM facts.bad_cases GROUP BY message_id
)
SELECT t.message_id, t.conversation_id, t."user", t.occurred_at AS answered_at, t.experiment, t.arm, t.adapter, t.question, t.answer, t.source,
    t.messages, t.citations, t.retrieval, t.policy_id, t.section, t.index_version, t.prompt_version, t.sampling, t.confidence, t.covered, t.handoff,
    t.latency_ms, t.prompt_tokens, t.completion_tokens, r.thumb, r.comment, r.occurred_at AS rated_at, coalesce(b.bad_cases, 0) AS bad_cases
FROM facts.first_answers t LEFT JOIN facts.last_thumbs r USING (message_id) LEFT JOIN reported b USING (message_id);

CREATE VIEW conversations AS
SELECT conversation_id, arg_min("user", answered_at) AS "user", min(answered_at) AS started_at, max(answered_at) AS last_at, count(*) AS turns,
    arg_min(question, answered_at) AS first_question, arg_max(experiment, answered_at) AS experiment, arg_max(arm, answered_at) AS arm,
    arg_max(adapter, answered_at) AS adapter, count(*) FILTER (thumb = 'up') AS thumbs_up, count(*) FILTER (thumb = 'down') AS thumbs_down,
    sum(bad_cases)::BIGINT AS bad_cases, count(*) FILTER (handoff) AS handoffs, count(*) FILTER (NOT covered) AS uncovered,
    avg(latency_ms) AS mean_latency_ms
FROM answers GROUP BY conversation_id;

CREATE VIEW feedback AS
SELECT f.event_id, f.occurred_at, f.conversation_id, f.message_id, f."user", f.thumb, f.comment, a.experiment, a.arm, a.adapter, a.question, a.answer,
    a.policy_id, a.section, a.message_id IS NOT NULL AS answer_known
FROM facts.feedback f LEFT JOIN answers a USING (message_id);

-- `policy_id` and `section` are what the prompt quoted first; the nearest ones are what blame found to be about the matter.
CREATE VIEW bad_cases AS
SELECT b.event_id, b.occurred_at, b.conversation_id, b.message_id, b.reason, b.corrected_answer, b.reviewer, a.adapter, a.question, a.answer, a.source,
    a.policy_id, a.section, f.fault, f.detail, f.policy_id AS nearest_policy, f.section AS nearest_section, f.category, f.missing_numbers,
    p.pair_id IS NOT NULL AS became_pair
FROM facts.bad_cases b LEFT JOIN answers a USING (message_id) LEFT JOIN facts.blames f USING (event_id)
    LEFT JOIN facts.pairs p ON p.evidence_event_id = b.event_id;

-- What no training mends. One row an answer.
CREATE VIEW knowledge_faults AS
SELECT occurred_at, fault, CASE fault
        WHEN 'missing_policy' THEN 'write it' WHEN 'stale_policy' THEN 'bring it up to date' ELSE 'word it so that it is found' END AS to_do,
    policy_id, section, category, detail, missing_numbers, question, message_id, event_id
FROM facts.blamed_answers WHERE fault IN ('missing_policy', 'stale_policy', 'retrieval_miss');

CREATE VIEW pairs AS
SELECT s.* EXCLUDE (signature, prompt_key, question_key), coalesce(c.runs, []) AS runs
FROM facts.pair_states s LEFT JOIN (SELECT pair_id, list_sort(list_distinct(list(run_id))) AS runs FROM facts.claims GROUP BY pair_id) c USING (pair_id);

CREATE VIEW unpaired AS SELECT * EXCLUDE (version, answer_event_id, evidence_event_id) FROM facts.unpaired;

-- `seconds_to_decide`: since the first complaint about the answer, or since the pair was made.
CREATE VIEW reviews AS
WITH opened AS (
    SELECT review_id, min(occurred_at) AS opened_at FROM facts.blames WHERE reason <> 'review' GROUP BY review_id
    UNION ALL
    SELECT review_id, min(occurred_at) FROM facts.pairs GROUP BY review_id
)
SELECT r.event_id, r.occurred_at, r.review_id, r.kind, r.subject, r.message_id, r.action, r.corrected_answer, r.reviewer, r.note,
    r.event_id IN (FROM facts.undone_reviews) AS undone, o.opened_at, epoch(r.occurred_at) - epoch(o.opened_at) AS seconds_to_decide,
    p.pair_id IS NOT NULL AS became_pair
FROM facts.reviews r LEFT JOIN opened o USING (review_id) LEFT JOIN facts.pairs p ON p.evidence_event_id = r.event_id;

-- Whether the gate is asking already is of no matter here: until it has answered, a run is `trained`.
CREATE VIEW runs AS
WITH last_attempt AS (SELECT run_id, max(attempt) AS attempt FROM facts.training_events GROUP BY run_id),
said AS (SELECT e.* FROM facts.training_events e JOIN last_attempt USING (run_id, attempt)),
started AS (SELECT run_id, min(occurred_at) AS requested_at FROM facts.training_events WHERE type = 'TrainingRequested' GROUP BY run_id),
asked AS (SELECT run_id, attempt, occurred_at, body FROM said WHERE type = 'TrainingRequested'),
trained AS (SELECT run_id, arg_max(body, (epoch, "offset")) AS body FROM said WHERE type = 'AdapterTrained' GROUP BY run_id),
failed AS (SELECT run_id, arg_max(body, (epoch, "offset")) AS body FROM said WHERE type = 'TrainingFailed' GROUP BY run_id),
gated AS (SELECT run_id, arg_max(body, (epoch, "offset")) AS body FROM said WHERE type = 'AdapterEvaluated' GROUP BY run_id),
given_up AS (SELECT run_id, arg_max(body, (epoch, "offset")) AS body FROM said WHERE type = 'AdapterUnservable' GROUP BY run_id),
progress AS (SELECT run_id, arg_max(body, (epoch, "offset")) AS body FROM said WHERE type = 'TrainingProgress' GROUP BY run_id),
ended AS (SELECT run_id, max(occurred_at) AS last_event_at FROM said GROUP BY run_id)
SELECT asked.run_id, asked.attempt AS attempts, started.requested_at, ended.last_event_at,
    CASE s.state WHEN 'evaluating' THEN 'trained' ELSE s.state END AS state,
    asked.body ->> 'reason' AS cause, asked.body ->> 'champion' AS champion, json_array_length(asked.body, 'pair_ids')::BIGINT AS pairs,
    json_array_length(asked.body, 'holdout_pair_ids')::BIGINT AS holdout_pairs, asked.body ->> 'method' AS method,
    coalesce(json_array_length(asked.body, 'replay_pair_ids'), 0)::BIGINT AS replayed_pairs,
    coalesce(json_array_length(asked.body, 'example_ids'), 0)::BIGINT AS examples, trained.body ->> 'adapter' AS adapter,
    (trained.body ->> 'seconds')::DOUBLE AS train_seconds, (trained.body ->> 'first_loss')::DOUBLE AS first_loss,
    (progress.body ->> 'loss')::DOUBLE AS last_loss, (gated.body ->> 'passed')::BOOLEAN AS gate_passed, gated.body -> 'checks' AS gate_checks,
    failed.body ->> 'stage' AS failed_stage, coalesce(failed.body, given_up.body) ->> 'reason' AS failure, asked.body ->> 'data_hash' AS data_hash
FROM asked JOIN facts.run_states s USING (run_id) JOIN started USING (run_id) JOIN ended USING (run_id) LEFT JOIN trained USING (run_id) LEFT JOIN failed USING (run_id)
    LEFT JOIN gated USING (run_id) LEFT JOIN given_up USING (run_id) LEFT JOIN progress USING (run_id);

-- The last look at an open experiment comes from the loop; a finished one speaks through its verdict alone.
CREATE VIEW experiment_results AS
WITH rows_ AS (
    SELECT experiment_id, (body ->> 'as_of')::TIMESTAMPTZ AS as_of, body ->> 'verdict' AS verdict, unnest(CAST(body -> 'estimates' AS JSON[])) AS e FROM facts.verdicts
)
SELECT experiment_id, as_of, e ->> 'metric' AS metric, e ->> 'arm' AS arm, (e ->> 'users')::BIGINT AS users, (e ->> 'numerator')::DOUBLE AS numerator,
    (e ->> 'denominator')::DOUBLE AS denominator, (e ->> 'estimate')::DOUBLE AS estimate, (e ->> 'lower')::DOUBLE AS lower,
    (e ->> 'upper')::DOUBLE AS upper, verdict
FROM rows_
UNION ALL
SELECT experiment_id, as_of, metric, arm, users, numerator, denominator, estimate, lower, upper, verdict FROM facts.live_estimates
WHERE experiment_id NOT IN (SELECT experiment_id FROM facts.verdicts);

CREATE VIEW experiments AS
WITH raised AS (
    SELECT experiment_id, max((body ->> 'share')::DOUBLE) AS share FROM facts.decisions WHERE type = 'ShareRaised' GROUP BY experiment_id
), exposed AS (
    SELECT experiment AS experiment_id, count(*) FILTER (first_arm = 'challenger') AS challenger, count(*) FILTER (first_arm = 'control') AS control
    FROM (
        SELECT experiment, "user", arg_min(arm, recorded_at) AS first_arm FROM facts.exposures
        WHERE experiment IS NOT NULL AND arm IN ('challenger', 'control') GROUP BY ALL
    ) GROUP BY experiment
), primary_ AS (
    SELECT r.experiment_id, r.estimate, r.lower, r.upper, r.users FROM experiment_results r JOIN facts.openings o USING (experiment_id)
    WHERE r.arm = 'difference' AND r.metric = (o.body -> 'contract' ->> 'primary')
)
SELECT o.experiment_id, o.body ->> 'run_id' AS run_id, o.body ->> 'champion' AS champion, o.body ->> 'challenger' AS challenger,
    o.occurred_at AS opened_at, e.occurred_at AS ended_at, coalesce(e.body ->> 'verdict', 'CONTINUE') AS verdict, e.body ->> 'stopped_by' AS stopped_by,
    coalesce(r.share, (o.body ->> 'share')::DOUBLE) AS share, o.body -> 'contract' ->> 'primary' AS primary_metric,
    (o.body -> 'contract' ->> 'alpha')::DOUBLE AS alpha, coalesce(x.challenger, 0) AS exposed_challenger, coalesce(x.control, 0) AS exposed_control,
    p.users, p.estimate, p.lower, p.upper, o.body -> 'contract' AS contract
FROM facts.openings o LEFT JOIN facts.verdicts e USING (experiment_id) LEFT JOIN raised r USING (experiment_id) LEFT JOIN exposed x USING (experiment_id)
    LEFT JOIN primary_ p USING (experiment_id);

CREATE VIEW deployments AS
SELECT revision, occurred_at, champion, body ->> 'previous_champion' AS previous_champion, challenger, candidate, share, experiment, body ->> 'cause' AS cause
FROM facts.deployments;

-- `carried_out_at` is when a promotion or a roll-back took effect; the others have no deployment of their own.
CREATE VIEW operator_actions AS
WITH done AS (
    SELECT body ->> 'order' AS event_id, min(occurred_at) AS carried_out_at FROM facts.deployments WHERE body ->> 'order' IS NOT NULL GROUP BY ALL
)
SELECT d.event_id, d.occurred_at, d.body ->> 'action' AS action, d.body ->> 'operator' AS operator, d.body ->> 'reason' AS reason,
    nullif(d.body ->> 'target', '') AS target, nullif(d.experiment_id, 'none') AS experiment_id, nullif(d.body ->> 'overridden', '') AS overridden,
    done.carried_out_at
FROM facts.decisions d LEFT JOIN done ON done.event_id = d.event_id::VARCHAR WHERE d.type = 'OperatorActed';

CREATE VIEW policies AS
WITH published AS (
    SELECT policy_id, last(title ORDER BY epoch, "offset", event_id) AS title, last(body ORDER BY epoch, "offset", event_id) AS body,
        count(DISTINCT version) AS versions
    FROM facts.policies WHERE NOT withdrawn GROUP BY policy_id
)
SELECT policy_id, p.title, c.version, c.withdrawn, c.occurred_at AS changed_at, coalesce(p.versions, 0) AS versions, p.body ->> 'language' AS language,
    p.body ->> 'text' AS text
FROM facts.current_policies c LEFT JOIN published p USING (policy_id);

CREATE VIEW daily_satisfaction AS
SELECT make_timestamp(epoch_us(answered_at))::DATE AS day, adapter, count(*) AS answers, count(DISTINCT "user") AS users,
    count(thumb) AS rated, count(*) FILTER (thumb = 'up') AS thumbs_up, count(*) FILTER (thumb = 'down') AS thumbs_down,
    count(*) FILTER (thumb = 'up') / nullif(count(thumb), 0) AS satisfaction, count(*) FILTER (handoff) AS handoffs, sum(bad_cases)::BIGINT AS bad_cases,
    median(latency_ms) AS median_latency_ms
FROM answers GROUP BY day, adapter;

CREATE VIEW dead_letters AS SELECT * FROM facts.dead_letters;
