"""The lexical stage: BM25 over what is served, in an index in memory that follows each change a moment later, in a thread of its own."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import opencc
import tantivy

from csqa_loop.knowledge.index import Hit
from csqa_loop.knowledge.stages.terms import terms_of

_log = logging.getLogger(__name__)
_WRITER_BYTES = 15_000_000
"""The least that tantivy takes."""
_MOST_TERMS = 200
"""Of a question: a customer who pastes a page asks for no term of it in particular."""


class LexicalIndex:
    """A `Listener` of the knowledge index. What it finds may be gone there already: whoever asks looks there again."""

    def __init__(self) -> None:
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
        self._analyzer = analyzer.filter(tantivy.Filter.stopword("english")).filter(tantivy.Filter.stemmer("english")).build()
        schema = tantivy.SchemaBuilder()
        schema.add_text_field("chunk", stored=True, tokenizer_name="raw", index_option="basic")
        schema.add_text_field("policy", tokenizer_name="raw", index_option="basic")
        schema.add_text_field("body", tokenizer_name="terms", index_option="freq")
        self._index = tantivy.Index(schema.build())
        self._index.register_tokenizer("terms", self._analyzer)
        self._writer = self._index.writer(_WRITER_BYTES, 1)
        # Traditional and simplified characters are one here.
        self._simplified = opencc.OpenCC("t2s")
        self._changes: deque[tuple[str, Sequence[Hit]]] = deque()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lexical")
        self._applied: Future[None] | None = None

    def served(self, policy_id: str, hits: Sequence[Hit]) -> None:
        """See `Listener`."""
        self._note(policy_id, hits)

    def unserved(self, policy_id: str) -> None:
        """See `Listener`."""
        self._note(policy_id, ())

    def search(self, question: str, most: int) -> list[tuple[str, float]]:
        """(chunk id, BM25 score above 0) of the `most` best chunks, best first."""
        terms = list(dict.fromkeys(self._analyzer.analyze(self._terms(question))))[:_MOST_TERMS]
        searcher = self._index.searcher()
        if not terms or not searcher.num_docs:
            return []
        schema = self._index.schema
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, tantivy.Query.term_query(schema, "body", term)) for term in terms])
        return [(str(searcher.doc(address)["chunk"][0]), float(score)) for score, address in searcher.search(query, most).hits]

    def settle(self, seconds: float) -> None:
        """Return once every change so far can be searched.

        Raises:
            TimeoutError: that takes longer than `seconds`.
        """
        with self._lock:
            applied = self._applied
        if applied:
            applied.result(seconds)

    def close(self) -> None:
        """Follow no further change."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _note(self, policy_id: str, hits: Sequence[Hit]) -> None:
        with self._lock:
            self._changes.append((policy_id, hits))
            if self._applied is None or self._applied.done() or len(self._changes) == 1:
                self._applied = self._thread.submit(self._apply)

    def _apply(self) -> None:
        """All changes up to now, with one commit: it costs about 10 ms however many they are."""
        with self._lock:
            changes = list(self._changes)
            self._changes.clear()
        if not changes:
            return
        try:
            for policy_id, hits in changes:
                self._writer.delete_documents_by_term("policy", policy_id)
                for hit in hits:
                    self._writer.add_document(tantivy.Document(chunk=hit.chunk_id, policy=policy_id, body=self._terms(hit.text)))
            self._writer.commit()
            self._index.reload()
        except Exception:  # the dense stage goes on without it
            _log.exception("the lexical index did not take %d change(s)", len(changes))
            raise

    def _terms(self, text: str) -> str:
        return " ".join(terms_of(self._simplified.convert(text)))
