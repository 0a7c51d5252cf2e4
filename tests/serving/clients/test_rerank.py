"""POST /v1/rerank: recall's cross-encoder for clients, with access, limits and a row; without one a clear 404."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.protocol.token_estimate import tokens_of
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.script import ScriptServer

PATH = "/v1/rerank"
QUERY = "a walk on the beach"
TEXTS = ["rain", "a walk on the beach", "the beach"]


@pytest.fixture(scope="module")
def ranking(
    gateway: GatewayProcess, running_engine: ScriptServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Return a gateway beside the shared one, with a cross-encoder that counts common words."""
    environ = {
        "BONDHU_VAR_DIR": str(gateway.var_dir),
        "BONDHU__RUNTIME_DIR": str(gateway.run_dir),
        "BONDHU__RERANKER__PATH": "hub/common-words",
        "BONDHU__RERANKER__MAX_CANDIDATES": "2",
        "BONDHU__TIERS": gateway.environ["BONDHU__TIERS"],
    }
    with GatewayProcess(tmp_path_factory.mktemp("ranking"), beside=gateway, **environ) as process:
        yield process


@pytest.fixture
def http(ranking: GatewayProcess, key: str) -> Iterator[httpx.Client]:
    """Return plain HTTP with a key."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=ranking.url, headers=headers, timeout=DEADLINE_S) as client:
        yield client


def test_documents_are_ordered_by_the_query(http: httpx.Client) -> None:
    """Best first, with their places in the request; objects as well as strings; as many as asked for."""
    answer = http.post(
        PATH, json={"model": "common-words", "query": QUERY, "documents": [*TEXTS[:2], {"text": TEXTS[2]}]}
    )
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [each["index"] for each in results] == [1, 2, 0]
    assert [each["document"] for each in results] == [{"text": TEXTS[index]} for index in (1, 2, 0)]
    scores = [each["relevance_score"] for each in results]
    assert 1 > scores[0] > scores[1] > scores[2] == 0.5
    assert answer.headers["x-bondhu-model"] == answer.json()["model"] == "common-words"
    few = http.post(PATH, json={"query": QUERY, "documents": TEXTS, "top_n": 1, "return_documents": False}).json()
    assert [set(each) for each in few["results"]] == [{"index", "relevance_score"}]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"documents": TEXTS}, 400, "query"),
        ({"query": QUERY, "documents": []}, 400, "documents"),
        ({"query": QUERY, "documents": [{"title": "x"}]}, 400, "documents"),
        ({"query": QUERY, "documents": TEXTS, "top_n": -1}, 400, "top_n"),
        ({"query": QUERY, "documents": TEXTS, "model": "bondhu-demo"}, 404, "model"),
    ],
)
def test_what_is_wrong_is_refused(http: httpx.Client, body: dict[str, Any], status: int, field: str) -> None:
    """By name."""
    answer = http.post(PATH, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"].startswith(field)


def test_it_needs_a_key_counts_and_has_a_row(ranking: GatewayProcess) -> None:
    """Its tokens are an estimate, the same in the answer, the row and the limits."""
    body = {"query": QUERY, "documents": TEXTS, "user": "maya"}
    assert httpx.post(f"{ranking.url}{PATH}", json=body).status_code == 401
    headers = {"authorization": f"Bearer {ranking.make_key('limited-ranking', tier='few')}"}
    with httpx.Client(base_url=ranking.url, headers=headers) as http:
        first = http.post(PATH, json=body)
        assert first.headers["x-ratelimit-limit-requests"] == "3"
        assert [http.post(PATH, json=body).status_code for _ in range(4)][-1] == 429
        path = f"/v1/usage/{first.headers['x-request-id']}"
        row = eventually(lambda: (found := http.get(path)).status_code == 200 and found.json(), 15, "the row")
    tokens = 3 * tokens_of(QUERY) + sum(map(tokens_of, TEXTS))
    assert first.json()["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (row["endpoint"], row["outcome"], row["prompt_tokens"], row["model"]) == (PATH, "ok", tokens, "common-words")
    assert row["user"] == "maya"


def test_without_a_cross_encoder_the_answer_is_clear(gateway: GatewayProcess, key: str) -> None:
    """It says what there is instead, and the document does not name the path."""
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{gateway.url}{PATH}", json={"query": "x", "documents": ["y"]}, headers=headers)
    assert answer.status_code == 404
    assert "/api/v1/recall" in answer.json()["error"]["message"]
    assert PATH not in httpx.get(f"{gateway.url}/openapi.json").json()["paths"]
