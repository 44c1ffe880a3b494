"""Pairs, blames and ratings out of the facts: rebuilt for whatever a batch touches, so that they never depend on the order of arrival."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from csqa_loop.evidence import sections
from csqa_loop.evidence import statements as evidence
from csqa_loop.evidence.rules.blame import Blame, Case, Fault, blame, outvoted, supporting
from csqa_loop.evidence.rules.examples import reservations
from csqa_loop.evidence.rules.pairs import Answer, Better, Pair, PairPolicy, pair_from, review_id_of
from csqa_loop.evidence.rules.ratings import Claim, Rating, contradictions, pair_of_rated
from csqa_loop.evidence.statements import Complaint, DatedAnswer, Proposal, utc
from csqa_loop.evidence.timeline import Change, Timeline
from csqa_loop.ledger.derived import Append, Derive
from csqa_loop.ledger.facts import DERIVED_TABLES
from csqa_loop.text.similarity import signatures

_VERSION = 6
"""Raised when the same events must make other rows than before."""
_PART = 5_000
"""Messages that are derived at once when everything is."""
_STATEMENTS = (
    ("feedback", "message_id"),
    ("bad_cases", "message_id"),
    ("reviews", "message_id"),
    ("proposals", "message_id"),
    ("examples", "conversation_id"),
)
"""(table, column that names the message) of all statements about answers."""
_Row = dict[str, Any]

_RATINGS = """
INSERT INTO ratings BY NAME
SELECT a.message_id, a.conversation_id, f."user", f.thumb, f.event_id, f.occurred_at, a.event_id AS answer_event_id, a.policy_id, a.section,
    left(md5(a.messages), 16) AS prompt_key
FROM first_answers_of($1) a JOIN last_thumbs_of($1) f USING (message_id) WHERE a.source = 'model'
"""


def deriving(policy: PairPolicy) -> Derive:
    """Pairs, blames and ratings as `policy` wants them."""
    return lambda connection, append: Derivation(connection, policy, append)


class Derivation:
    """Keeps the derived tables of one connection; everything happens in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, policy: PairPolicy, append: Append) -> None:
        self._connection = connection
        self._policy = policy
        self._append = append
        self._timeline = Timeline(policy.chunk_characters)
        self._timeline.load(connection)

    def is_current(self) -> bool:
        """Whether the tables were made by this code with these settings."""
        row = self._connection.execute("SELECT sha FROM derivation").fetchone()
        return row is not None and row[0] == self._sha()

    def rebuild(self) -> None:
        """Make everything anew from the facts."""
        for table in (*DERIVED_TABLES, "policy_sections", "underived", "derivation"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        query = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in _STATEMENTS)  # noqa: S608 - our own names
        rows = self._connection.execute(f"{query} ORDER BY 1").fetchall()
        names = [name for (name,) in rows]
        for start in range(0, len(names), _PART):
            self._derive(names[start : start + _PART])
        sections.note(self._connection, self._append)
        self._connection.execute("INSERT INTO derivation VALUES (?)", [self._sha()])

    def follow(self, fresh: Mapping[str, pa.Table], *, later: bool = False) -> None:
        """Bring the tables up to what `fresh` adds to the facts (rows a table), which are inserted already; `later`: note what is to be done."""
        touched: set[str] = set()
        for table, column in _STATEMENTS:
            if table in fresh:
                touched.update(fresh[table][column].to_pylist())
        if "answers" in fresh:
            touched |= self._waiting(fresh["answers"].select(["message_id"]))
        since = self._timeline.take(_changes(fresh["policies"])) if "policies" in fresh else None
        if since is not None:
            sections.note(self._connection, self._append)
            rows = self._connection.execute(
                "SELECT message_id FROM blames WHERE judged_at >= $1 UNION SELECT conversation_id FROM examples WHERE recorded_at >= $1",
                [since],
            ).fetchall()
            touched |= {name for (name,) in rows}
        if touched and later:
            self._append("underived", [{"message_id": name} for name in touched])
        elif touched:
            self._derive(sorted(touched))

    def is_behind(self) -> bool:
        """Whether messages are left whose rows `follow` put off."""
        return self._connection.execute("SELECT 1 FROM underived LIMIT 1").fetchone() is not None

    def catch_up(self, most: int | None = None) -> None:
        """Derive a part of what was put off: `most` messages, or as many as go well together."""
        names = self._put_off(most or _PART)
        self._derive(names)
        self._done(names)

    def pass_over(self) -> str:
        """Leave the message that `catch_up(1)` would derive next without pairs, blames and ratings; its name."""
        names = self._put_off(1)
        self._done(names)
        return names[0]

    def _put_off(self, most: int) -> list[str]:
        rows = self._connection.execute("SELECT DISTINCT message_id FROM underived ORDER BY 1 LIMIT $1", [most]).fetchall()
        return [name for (name,) in rows]

    def _done(self, names: list[str]) -> None:
        self._connection.execute("DELETE FROM underived WHERE message_id IN (SELECT unnest($1))", [names])

    # --- deriving a set of messages ----------------------------------------------------------------------------------

    def _waiting(self, answered: pa.Table) -> set[str]:
        """Of the messages in `answered`, those about which there were statements before."""
        self._connection.register("answered", answered)
        try:
            query = " UNION ".join(
                f"SELECT {column} FROM {table} WHERE {column} IN (SELECT message_id FROM answered)"  # noqa: S608 - our own names
                for table, column in _STATEMENTS
                if column == "message_id"
            )
            return {name for (name,) in self._connection.execute(query).fetchall()}
        finally:
            self._connection.unregister("answered")

    def _derive(self, names: list[str]) -> None:
        prompts_before, questions_before = self._keys("ratings", "prompt_key", names), self._keys("pairs", "question_key", names)
        for table in ("ratings", "blames", "held_examples"):
            self._connection.execute(f"DELETE FROM {table} WHERE message_id IN (SELECT unnest($1))", [names])  # noqa: S608 - our own names
        self._connection.execute("DELETE FROM pairs WHERE source <> 'rated' AND message_id IN (SELECT unnest($1))", [names])
        self._connection.execute(_RATINGS, [names])
        complaints, proposals = evidence.complaints(self._connection, names), evidence.proposals(self._connection, names)
        # Most thumbs are up, and their answers need not be read.
        answers = evidence.answers(
            self._connection, sorted({complaint.message_id for complaint in complaints} | {proposal.message_id for proposal in proposals})
        )
        blames, pairs = self._judge(answers, complaints)
        pairs += self._proposed(answers, proposals) + self._imported(names)
        if blames:
            self._append("blames", blames)
        if held_rows := self._held_examples(names):
            self._append("held_examples", held_rows)
        if pairs:
            self._append("pairs", _pair_rows(pairs, [None] * len(pairs)))
        questions = questions_before | {pair.question_key for pair in pairs}
        questions |= self._rate(prompts_before | self._keys("ratings", "prompt_key", names))
        if questions:
            self._contradict(questions)

    def _judge(self, answers: dict[str, DatedAnswer], complaints: list[Complaint]) -> tuple[list[_Row], list[Pair]]:
        """Blame for every complaint about a known answer, and the pairs that follow from it."""
        blames: list[_Row] = []
        pairs: list[Pair | None] = []
        for complaint in complaints:
            dated = answers.get(complaint.message_id)
            if dated is None:
                continue
            answer = dated.answer
            quoted = sections.versions_of(answer.quoted)
            case = Case(answer.question, answer.answer, complaint.better, complaint.reason, answer.source, answer.system_text, quoted)
            verdict = blame(case, self._timeline.at(dated.recorded_at))
            category = verdict.category or self._category(answer)
            blames.append(_blame_row(dated, complaint, verdict, category))
            if complaint.source != "thumb" and (verdict.fault is Fault.GENERATION or not self._policy.grounding):
                better = Better(complaint.event_id, complaint.better, complaint.source, complaint.contributor, complaint.occurred_at)
                pairs.append(pair_from(answer, better, self._policy, category=category))
        return blames, [pair for pair in pairs if pair is not None]

    def _proposed(self, answers: dict[str, DatedAnswer], proposals: Sequence[Proposal]) -> list[Pair]:
        proposed = ((answers[proposal.message_id].answer, proposal.better) for proposal in proposals if proposal.message_id in answers)
        pairs = [pair_from(answer, better, self._policy, category=self._category(answer)) for answer, better in proposed]
        return [pair for pair in pairs if pair is not None]

    def _imported(self, names: list[str]) -> list[Pair]:
        pairs = []
        for example in evidence.examples(self._connection, names):
            pair = pair_from(example.answer, example.better, self._policy, category=example.category)
            if pair is not None:
                pairs.append(self._grounded(replace(pair, held_out=example.held_out), example.recorded_at))
        return pairs

    def _grounded(self, pair: Pair, recorded_at: datetime) -> Pair:
        """An imported pair with the policy version that it rests on: the best that was current when it was imported. Held where none says it."""
        corpus = self._timeline.at(recorded_at)
        if not self._policy.grounding or not corpus.passages:
            return pair
        source = supporting(pair.question, pair.chosen, corpus)
        if source is None:
            return replace(pair, held=(*pair.held, "unsupported: no policy that was current when it was imported says this"))
        return replace(pair, quoted=((source.policy_id, source.version, source.section),))

    def _held_examples(self, names: list[str]) -> list[_Row]:
        """Examples that are not trained on. There is no review of one: an imported one is mended in its file, a liked answer by a correction."""
        rows = []
        for single in evidence.singles(self._connection, names):
            reasons = reservations(
                single.question, single.prompt, single.answer, self._policy.quality, liked=single.liked, imported=single.imported
            )
            if reasons:
                rows.append({"event_id": single.event_id, "message_id": single.message_id, "held": list(reasons)})
        return rows

    def _rate(self, keys: set[str]) -> set[str]:
        """Pairs of answers to the very same messages; the questions that are touched by them."""
        if not keys:
            return set()
        removed = self._connection.execute(
            "DELETE FROM pairs WHERE source = 'rated' AND prompt_key IN (SELECT unnest($1)) RETURNING question_key", [list(keys)]
        ).fetchall()
        rows = self._connection.execute(
            'SELECT prompt_key, message_id, "user", thumb, event_id::VARCHAR, occurred_at FROM ratings WHERE prompt_key IN ('
            "SELECT prompt_key FROM ratings WHERE prompt_key IN (SELECT unnest($1)) GROUP BY prompt_key HAVING count(DISTINCT thumb) > 1)",
            [list(keys)],
        ).fetchall()
        answers = evidence.answers(self._connection, sorted({row[1] for row in rows}))
        groups: dict[str, list[Rating]] = {}
        for key, message, user, thumb, event_id, moment in rows:
            groups.setdefault(key, []).append(Rating(message, user, thumb, answers[message].answer, event_id, utc(moment)))
        pairs = {key: pair for key, group in groups.items() if (pair := self._rated(group, answers)) is not None}
        if pairs:
            self._append("pairs", _pair_rows([*pairs.values()], [*pairs]))
        return {question for (question,) in removed} | {pair.question_key for pair in pairs.values()}

    def _rated(self, group: Sequence[Rating], answers: dict[str, DatedAnswer]) -> Pair | None:
        rated = pair_of_rated(group, self._policy)
        pair = rated and pair_from(*rated, self._policy, category=self._category(rated[0]))
        if not rated or not pair or pair.held or not self._policy.grounding:
            return pair
        corpus = self._timeline.at(answers[pair.message_id].recorded_at)
        disputed = outvoted(pair.question, pair.chosen, pair.rejected, rated[0].system_text, corpus)
        return replace(pair, held=(disputed,)) if disputed else pair

    def _contradict(self, questions: set[str]) -> None:
        """Find anew which pairs for these questions state different numbers. A pair that a review rejected, or that is held anyway, contradicts no other."""
        names = list(questions)
        self._connection.execute("UPDATE pairs SET rival = NULL WHERE rival IS NOT NULL AND question_key IN (SELECT unnest($1))", [names])
        rows = self._connection.execute(
            "SELECT pair_id, question_key, quoted, numbers FROM pair_states WHERE NOT withdrawn AND (len(held) = 0 OR approved) AND question_key IN ("
            "SELECT question_key FROM pairs WHERE question_key IN (SELECT unnest($1)) GROUP BY question_key HAVING count(DISTINCT numbers) > 1)",
            [names],
        ).fetchall()
        claims = [Claim(pair_id, key, sections.versions_of(quoted), tuple(numbers)) for pair_id, key, quoted, numbers in rows]
        for pair_id, rival in contradictions(claims).items():
            self._connection.execute("UPDATE pairs SET rival = ? WHERE pair_id = ?", [rival, pair_id])

    # --- reading ----------------------------------------------------------------------------------------------------

    def _keys(self, table: str, column: str, names: list[str]) -> set[str]:
        rows = self._connection.execute(
            f"SELECT DISTINCT {column} FROM {table} WHERE message_id IN (SELECT unnest($1))",  # noqa: S608 - our own names
            [names],
        ).fetchall()
        return {key for (key,) in rows}

    def _category(self, answer: Answer) -> str:
        return self._timeline.category(*answer.quoted[0][:2]) if answer.quoted else answer.policy_id

    def _sha(self) -> str:
        return hashlib.sha256(f"{_VERSION}\n{self._policy}".encode()).hexdigest()[:16]


def _changes(policies: pa.Table) -> list[Change]:
    columns = ("epoch", "offset", "event_id", "recorded_at", "withdrawn", "body")
    return [Change.of(*row) for row in zip(*(policies[name].to_pylist() for name in columns), strict=True)]


def _pair_rows(pairs: Sequence[Pair], prompt_keys: Sequence[str | None]) -> list[_Row]:
    signed = signatures([pair.matter for pair in pairs])
    return [
        vars(pair) | {"quoted": [list(quote) for quote in pair.quoted], "signature": signature, "prompt_key": key, "rival": None}
        for pair, signature, key in zip(pairs, signed, prompt_keys, strict=True)
    ]


def _blame_row(dated: DatedAnswer, complaint: Complaint, verdict: Blame, category: str) -> _Row:
    answer = dated.answer
    return {
        "event_id": complaint.event_id, "occurred_at": complaint.occurred_at, "message_id": answer.message_id,
        "conversation_id": answer.conversation_id, "user": answer.user, "question": answer.question, "reason": complaint.reason,
        "answered_at": dated.occurred_at, "judged_at": dated.recorded_at, "fault": str(verdict.fault), "basis": verdict.basis, "detail": verdict.detail, "policy_id": verdict.policy_id,
        "version": verdict.version, "section": verdict.section, "category": category, "prompt_support": verdict.prompt_support,
        "best_support": verdict.best_support, "missing_numbers": list(verdict.missing_numbers), "corrected": bool(complaint.better.strip()),
        "review_id": review_id_of("answer", answer.message_id),
    }  # fmt: skip
