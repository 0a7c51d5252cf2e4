"""The cross-encoder: real loading and scoring of a tiny random one, and the gateway's client over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from memory.recall.rerank import RerankerAway
from serving.deployments.cross_encoder import Scorer
from serving.engines.reranker import RETRY_S, RerankerClient
from tests.support.models.cross_encoder import make_model

KEY = "the-key-of-the-cluster"
QUESTION, TEXTS = "Where is my dog?", ["on the sofa", "the rain", "jazz is on", "the dog on my sofa"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return where a model is."""
    return make_model(tmp_path_factory.mktemp("cross") / "model")


def test_scores_are_the_models_own(path: str) -> None:
    """Each is the logit that transformers computes for the pair alone, whatever else is in the batch."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    scores = Scorer(path, 1).score([(QUESTION, text) for text in TEXTS])
    assert scores.dtype == np.dtype("<f4")
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    with torch.no_grad():
        expected = [float(model(**tokenizer(QUESTION, text, return_tensors="pt")).logits) for text in TEXTS]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert len({round(score, 3) for score in expected}) == len(TEXTS)


def test_a_long_pair_is_cut(path: str) -> None:
    """A text longer than the model's window gets a score all the same."""
    long, longer = (" ".join(["dog on the sofa"] * times) for times in (50, 100))
    scores = Scorer(path, 1).score([(QUESTION, long), (QUESTION, longer)])
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    """A model of several labels ranks nothing: it does not load."""
    with pytest.raises(ValueError, match="2 labels"):
        Scorer(make_model(tmp_path / "model", labels=2), 1)


Answer = Callable[[web.Request], Awaitable[web.Response]]


class Environment:
    """A server on loopback that speaks as it is told, and the client of it, whose clock stands still."""

    def __init__(self, client: RerankerClient) -> None:
        self.client = client
        self.requests = 0
        self.now_s = 0.0
        self.answer: Answer


@pytest.fixture
async def environment() -> AsyncIterator[Environment]:
    """Return a server and a client of it."""

    async def handle(request: web.Request) -> web.Response:
        world.requests += 1
        assert request.headers["x-bondhu-cluster-key"] == KEY
        return await world.answer(request)

    app = web.Application()
    app.router.add_post("/reranker", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/reranker"
    async with aiohttp.ClientSession() as session:
        world = Environment(
            RerankerClient(
                url=url, cluster_key=KEY, session=session, max_candidates=30, timeout_s=0.5, clock=lambda: world.now_s
            )
        )
        yield world
    await runner.cleanup()


async def of_length(request: web.Request) -> web.Response:
    """Answer as the deployment does, with the lengths of the texts."""
    texts = (await request.json())["texts"]
    return web.Response(body=np.array([len(text) for text in texts], dtype="<f4").tobytes())


async def never(request: web.Request) -> web.Response:
    """Do not answer in time."""
    await asyncio.sleep(60)
    return web.Response()


async def wrong_key(request: web.Request) -> web.Response:
    """Refuse."""
    return web.json_response({"error": "the cluster key is missing or wrong"}, status=401)


async def too_few(request: web.Request) -> web.Response:
    """Answer with one score."""
    return web.Response(body=b"\0" * 4)


async def not_numbers(request: web.Request) -> web.Response:
    """Answer with NaN."""
    return web.Response(body=np.full(len(TEXTS), np.nan, dtype="<f4").tobytes())


async def test_the_client_gets_a_score_for_each_text(environment: Environment) -> None:
    """In the order of the texts, as often as it is asked."""
    environment.answer = of_length
    for _ in range(2):
        assert await environment.client.score(QUESTION, TEXTS) == [float(len(text)) for text in TEXTS]
    assert environment.requests == 2


@pytest.mark.parametrize("answer", [never, wrong_key, too_few, not_numbers])
async def test_away_or_slow_it_is_left_alone_for_a_while(environment: Environment, answer: Answer) -> None:
    """One request learns of it; the next ones do not ask, until the time to try again has come."""
    environment.answer = answer
    for _ in range(3):
        with pytest.raises(RerankerAway):
            await environment.client.score(QUESTION, TEXTS)
    assert environment.requests == 1
    environment.now_s += RETRY_S
    environment.answer = of_length
    assert len(await environment.client.score(QUESTION, TEXTS)) == len(TEXTS)
