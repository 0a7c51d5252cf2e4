"""Whatever dies, the gateway stays up and says what is wrong, requests meanwhile do not hang, and service returns.

Each test kills with SIGKILL, watches as a client would, and leaves a service that serves.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest
from client_load import SHORT
from local_stack import RECOVER_WITHIN_S, LocalStack, is_alive, status
from openai import APIConnectionError, APIError, InternalServerError, OpenAI
from polling import eventually

CORE = "VLLM::EngineCore"
SERVER = r"-m vllm\.entrypoints\.openai\.api_server"
ACTOR = "ray::ServeReplica:engine-"
ALL_OF_RAY = r"ray::|/gcs_server |/raylet |ray\.scripts\.scripts start|ray/dashboard/|ray/_private/"
REFUSED_WITHIN_S = 2.0  # the contract says one second; the other covers a machine that boots engines meanwhile
SEEN_WITHIN_S = 30.0
PAUSE_S = 0.1
HELLO: Any = [{"role": "user", "content": "Tell me everything."}]


def ask(stack: LocalStack, http: httpx.Client) -> httpx.Response:
    """One chat request, refused within the contract's time if it is refused; GET /health answers beside it."""
    health = http.get("/health")
    assert health.status_code == 200
    assert health.json() == {"status": "ok"}
    began = time.monotonic()
    answer = http.post("/v1/chat/completions", json=SHORT | {"model": "bondhu"})
    took_s = time.monotonic() - began
    assert answer.status_code in (200, 503), answer.text
    if answer.status_code == 503:
        assert took_s < REFUSED_WITHIN_S, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        error = answer.json()["error"]
        assert error["code"] == "model_not_ready"
        assert error["message"]
    return answer


def watch_outage(stack: LocalStack, http: httpx.Client) -> None:
    """Ask until requests are refused, look at what the service says of itself, and ask until they are answered."""

    def refuses() -> bool:
        return ask(stack, http).status_code == 503

    eventually(refuses, SEEN_WITHIN_S, "the gateway to notice", every_s=PAUSE_S)
    ready = http.get("/ready")
    assert ready.status_code == 503
    assert ready.json()["ready"] is False
    (state,) = ready.json()["models"].values()
    assert state["ready"] is False
    assert state["reason"], "it says why"
    assert http.get("/api/v1/chat/health").status_code == 503
    assert "bondhu" not in {model["id"] for model in http.get("/v1/models").json()["data"]}
    eventually(lambda: not refuses(), RECOVER_WITHIN_S, "service to return", every_s=PAUSE_S)
    stack.until_ready()


def test_a_running_stack_tells_of_itself(stack: LocalStack) -> None:
    """`bondhu status --json` lists every process as running and the service as ready."""
    said = status(stack)
    assert said["running"] is True
    assert said["ready"] is True
    states = {name: process["state"] for name, process in said["processes"].items()}
    assert {name: states[name] for name in ("redis", "ray", "worker", "gateway")} == dict.fromkeys(
        ("redis", "ray", "worker", "gateway"), "running"
    )


def test_a_second_start_says_that_one_runs(stack: LocalStack) -> None:
    """A second `bondhu up` ends with a status of its own, names the running one, and harms it not."""
    refused = stack.bondhu("up")
    assert refused.returncode == 3
    assert "already running" in refused.stderr
    assert stack.url in refused.stderr
    assert stack.is_ready()


def test_a_killed_core_ends_its_streams_with_an_error(stack: LocalStack, http: httpx.Client, client: OpenAI) -> None:
    """An engine whose core dies breaks its streams off with a typed error, restarts in place, and serves again."""
    (before,) = stack.replicas()
    stream = client.chat.completions.create(
        model="bondhu", messages=HELLO, n=8, max_tokens=1900, extra_body={"ignore_eos": True}, stream=True
    )
    next(iter(stream))
    stack.kill(CORE)
    with pytest.raises(APIError) as caught:
        list(stream)
    assert caught.value.code == "engine_error"
    watch_outage(stack, http)
    (after,) = stack.replicas()
    assert after["replica_id"] == before["replica_id"]
    assert after["epoch"] == before["epoch"] + 1


def test_a_killed_server_is_restarted(stack: LocalStack, http: httpx.Client, client: OpenAI) -> None:
    """An engine whose HTTP server dies takes its core along, refuses what was in flight, and restarts in place."""
    (core,) = stack.processes(CORE)
    stream = client.chat.completions.create(
        model="bondhu", messages=HELLO, n=8, max_tokens=1900, extra_body={"ignore_eos": True}, stream=True
    )
    next(iter(stream))
    stack.kill(SERVER)
    with pytest.raises(APIError):
        list(stream)
    watch_outage(stack, http)
    assert not is_alive(core)


def test_a_killed_replica_is_replaced(stack: LocalStack, http: httpx.Client) -> None:
    """When the actor that supervises an engine dies, the engine dies with it and Ray makes another."""
    (before,) = stack.replicas()
    orphans = [*stack.processes(SERVER), *stack.processes(CORE)]
    stack.kill(ACTOR)
    psutil.wait_procs(orphans, timeout=SEEN_WITHIN_S)
    assert not any(is_alive(process) for process in orphans)
    watch_outage(stack, http)
    (after,) = [replica for replica in stack.replicas() if replica["state"] == "ready"]
    assert after["replica_id"] != before["replica_id"]


def test_a_killed_ray_head_is_restarted(stack: LocalStack, http: httpx.Client) -> None:
    """When Ray's head dies, all of Ray and its engines end, and the supervisor brings back what was applied."""
    before = stack.processes(ALL_OF_RAY) + stack.processes(SERVER)
    stack.kill("/gcs_server ")
    watch_outage(stack, http)
    assert not any(is_alive(process) for process in before)
    assert len(stack.processes(CORE)) == 1


def test_a_forced_stop_of_ray_leaves_no_engine(stack: LocalStack, http: httpx.Client) -> None:
    """When everything that `ray stop --force` would kill is killed, no engine survives it; then all comes back."""
    engines = [*stack.processes(SERVER), *stack.processes(CORE)]
    assert engines
    for process in stack.processes(ALL_OF_RAY):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another
            process.kill()
    psutil.wait_procs(engines, timeout=SEEN_WITHIN_S)
    assert not any(is_alive(process) for process in engines)
    watch_outage(stack, http)


def test_a_killed_gateway_returns(stack: LocalStack, client: OpenAI) -> None:
    """When the gateway dies it is started again, with the same keys, and the engine has not noticed."""
    (before,) = stack.replicas()
    stack.kill(r"serving\.gateway serving\.app")

    def answers() -> bool:
        try:
            return bool(client.chat.completions.create(model="bondhu", messages=HELLO, max_tokens=4).choices)
        except (APIConnectionError, InternalServerError):  # nothing listens, or it does not know the engine yet
            return False

    eventually(answers, RECOVER_WITHIN_S, "the gateway to return", every_s=PAUSE_S)
    (after,) = stack.replicas()
    assert (after["replica_id"], after["epoch"]) == (before["replica_id"], before["epoch"])


@pytest.mark.parametrize("part", ["redis-server", r"jobs\.worker|\[cel", "ray::ServeReplica:directory"])
def test_a_bystander_may_die(stack: LocalStack, http: httpx.Client, part: str) -> None:
    """Requests are answered throughout when Redis, the worker or the directory dies, and each comes back."""
    before = stack.processes(part)
    before[0].kill()

    def is_back() -> bool:
        assert ask(stack, http).status_code == 200
        return any(process not in before for process in stack.processes(part))

    eventually(is_back, RECOVER_WITHIN_S, f"{part} to be back", every_s=PAUSE_S)
    eventually(_directory_answers(stack), RECOVER_WITHIN_S, "the directory to know the engine")
    assert ask(stack, http).status_code == 200


def test_a_killed_embedder_takes_no_chat_along(stack: LocalStack, http: httpx.Client) -> None:
    """While the embedder is away, embeddings are 503 and chats are answered; then it returns."""
    stack.kill("ray::ServeReplica:embedder")

    def embeds() -> int:
        assert ask(stack, http).status_code == 200
        try:
            answer = http.post("/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": "hi"}, timeout=1)
        except httpx.ReadTimeout:  # Ray keeps it for the replica to come, until the gateway has seen what is wrong
            return 0
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code

    eventually(lambda: embeds() == 503, SEEN_WITHIN_S, "embeddings to be refused", every_s=PAUSE_S)
    eventually(lambda: embeds() == 200, RECOVER_WITHIN_S, "embeddings to return", every_s=PAUSE_S)


def _directory_answers(stack: LocalStack) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return len(stack.replicas()) == 1
        except (httpx.HTTPError, ValueError):
            return False

    return look
