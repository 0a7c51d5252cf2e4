"""Whatever dies, the gateway stays up and says what is wrong, requests meanwhile do not hang, and service returns.

Each test kills with SIGKILL, watches as a client would that may not be answered outside, and leaves a service that
serves. (An engine that dies or hangs under load: `test_engine`.)
"""

import contextlib
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from tests.support.faults.aftermath import App, engine_after
from tests.support.faults.matrix import Matrix
from tests.support.faults.seen import Asking, Seen
from tests.support.local_stack import ENGINE_CORE, RECOVER_WITHIN_S, LocalStack, is_alive, status
from tests.support.polling import eventually

SERVER = r"-m vllm\.entrypoints\.openai\.api_server"
ACTOR = "ray::ServeReplica:engine-"
ALL_OF_RAY = r"ray::|/gcs_server |/raylet |ray\.scripts\.scripts start|ray/dashboard/|ray/_private/"
SEEN_WITHIN_S = 30.0
PAUSE_S = 0.1
LONG: dict[str, Any] = {"max_tokens": 1900, "n": 8, "ignore_eos": True}


class Watch:
    """A client that asks again and again, and remembers what it saw.

    Every request is answered, or refused with a reason and a time to retry after; GET /health answers beside each.
    """

    def __init__(self, stack: LocalStack, app: App, http: httpx.Client) -> None:
        self.seen: list[Seen] = []
        self._stack, self._app, self._http = stack, app, http

    def stream(self) -> Asking:
        """Begin a long answer."""
        asking = Asking(self._app.url, self._app.key, **LONG)
        asking.until_begun()
        self.seen.append(asking.seen)
        return asking

    def ask(self) -> bool:
        """Ask once; whether it was answered."""
        health = self._http.get("/health")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        seen = Asking(self._app.url, self._app.key, stream=False, max_tokens=4).done()
        self.seen.append(seen)
        assert seen.status in (200, 503), seen
        if seen.status == 503:
            assert seen.code == "model_not_ready"
            assert int(seen.retry_after or 0) >= 1
        return seen.is_whole

    def outage(self) -> str:
        """Ask until requests are refused, look at what the service says of itself, and ask until they are answered.

        Returns what the engine does then.
        """
        eventually(lambda: not self.ask(), SEEN_WITHIN_S, "the gateway to notice", every_s=PAUSE_S)
        ready = self._http.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        (state,) = ready.json()["models"].values()
        assert state["ready"] is False
        assert state["reason"], "it says why"
        assert self._http.get("/api/v1/chat/health").status_code == 503
        assert "bondhu" not in {model["id"] for model in self._http.get("/v1/models").json()["data"]}
        eventually(self.ask, RECOVER_WITHIN_S, "service to return", every_s=PAUSE_S)
        return engine_after(self._stack)


@pytest.fixture
def watch(stack: LocalStack, app: App, http: httpx.Client) -> Watch:
    """A client of an application of its own."""
    return Watch(stack, app, http)


def test_a_running_stack_tells_of_itself(stack: LocalStack) -> None:
    """`bondhu status --json` lists every process as running and the service as ready."""
    service_status = status(stack)
    assert service_status["running"] is True
    assert service_status["ready"] is True
    states = {name: process["state"] for name, process in service_status["processes"].items()}
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


def test_a_killed_server_is_restarted(stack: LocalStack, app: App, watch: Watch, matrix: Matrix) -> None:
    """An engine whose HTTP server dies takes its core along, refuses what was in flight, and restarts in place."""
    (before,) = stack.replicas()
    (core,) = stack.processes(ENGINE_CORE)
    stream = watch.stream()
    stack.kill(SERVER)
    assert stream.done().code == "engine_error"
    engine = watch.outage()
    assert not is_alive(core)
    (after,) = stack.replicas()
    assert (after["replica_id"], after["epoch"]) == (before["replica_id"], before["epoch"] + 1)
    app.conclude(matrix, "vLLM's server killed in mid-stream", watch.seen, f"{engine}, in the same replica")


@pytest.mark.slow  # for the time of make test; `make faults` runs it
def test_a_stopped_server_hands_out_no_half_answer_as_a_whole(
    stack: LocalStack, app: App, watch: Watch, matrix: Matrix
) -> None:
    """VLLM aborts what runs when it gets SIGTERM (its `--shutdown-timeout` is 0): streamed or not, clients are told."""
    stream = watch.stream()
    whole = Asking(app.url, app.key, stream=False, max_tokens=1900, ignore_eos=True)
    watch.seen.append(whole.seen)
    eventually(lambda: stack.unfinished() == LONG["n"] + 1, SEEN_WITHIN_S, "both to be in the engine", every_s=0.02)
    for process in (*stack.processes(SERVER), *stack.processes(ENGINE_CORE)):
        process.terminate()
    assert stream.done().code == "engine_error"
    assert whole.done().code in ("engine_error", "model_not_ready")
    engine = watch.outage()
    app.conclude(matrix, "vLLM's server stopped (SIGTERM) in mid-stream", watch.seen, f"{engine}, in the same replica")


@pytest.mark.slow  # for the time of make test; `make faults` runs it
def test_a_killed_replica_is_replaced(stack: LocalStack, app: App, watch: Watch, matrix: Matrix) -> None:
    """When the actor that supervises an engine dies, the engine dies with it and Ray makes another."""
    (before,) = stack.replicas()
    orphans = [*stack.processes(SERVER), *stack.processes(ENGINE_CORE)]
    stream = watch.stream()
    stack.kill(ACTOR)
    psutil.wait_procs(orphans, timeout=SEEN_WITHIN_S)
    assert not any(is_alive(process) for process in orphans)
    assert stream.done().code in ("engine_error", "engine_timeout")
    engine = watch.outage()
    (after,) = [replica for replica in stack.replicas() if replica["state"] == "ready"]
    assert after["replica_id"] != before["replica_id"]
    app.conclude(matrix, "Serve replica killed in mid-stream", watch.seen, f"{engine}, in another replica")


def test_a_killed_ray_head_is_restarted(stack: LocalStack, app: App, watch: Watch, matrix: Matrix) -> None:
    """When Ray's head dies, all of Ray and its engines end, and the supervisor brings back what was applied."""
    before = stack.processes(ALL_OF_RAY) + stack.processes(SERVER)
    stack.kill("/gcs_server ")
    engine = watch.outage()
    assert not any(is_alive(process) for process in before)
    assert len(stack.processes(ENGINE_CORE)) == 1
    app.conclude(matrix, "Ray head killed", watch.seen, f"{engine}; no process of the old Ray lives")


@pytest.mark.slow  # for the time of make test
def test_a_forced_stop_of_ray_leaves_no_engine(stack: LocalStack, watch: Watch) -> None:
    """When everything that `ray stop --force` would kill is killed, no engine survives it; then all comes back."""
    engines = [*stack.processes(SERVER), *stack.processes(ENGINE_CORE)]
    assert engines
    for process in stack.processes(ALL_OF_RAY):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another
            process.kill()
    psutil.wait_procs(engines, timeout=SEEN_WITHIN_S)
    assert not any(is_alive(process) for process in engines)
    watch.outage()


def test_a_killed_gateway_returns(stack: LocalStack, app: App, watch: Watch, matrix: Matrix) -> None:
    """When the gateway dies it is started again, with the same keys, and the engine has not noticed."""
    (before,) = stack.replicas()
    stream = watch.stream()
    victim = stack.kill(r"serving\.gateway\.process serving\.gateway\.app")
    psutil.wait_procs([victim], timeout=SEEN_WITHIN_S)  # until then the kernel takes connections that nobody will read
    stream.done()

    def answers() -> bool:
        seen = Asking(app.url, app.key, stream=False, max_tokens=4).done()
        watch.seen.append(seen)
        return seen.is_whole

    eventually(answers, RECOVER_WITHIN_S, "the gateway to return", every_s=PAUSE_S)
    (after,) = stack.replicas()
    assert (after["replica_id"], after["epoch"]) == (before["replica_id"], before["epoch"])
    app.conclude(matrix, "the only gateway killed in mid-stream", watch.seen, engine_after(stack))


@pytest.mark.parametrize(
    ("what", "part"),
    [
        ("Redis", "(valkey|redis)-server"),
        ("the Celery worker", r"jobs\.worker|\[cel"),
        ("the directory of engines", "ray::ServeReplica:directory"),
    ],
)
def test_a_bystander_may_die(stack: LocalStack, app: App, watch: Watch, matrix: Matrix, what: str, part: str) -> None:
    """Requests are answered throughout when Redis, the worker or the directory dies, and each comes back."""
    before = stack.processes(part)
    before[0].kill()

    def is_back() -> bool:
        assert watch.ask()
        return any(process not in before for process in stack.processes(part))

    eventually(is_back, RECOVER_WITHIN_S, f"{part} to be back", every_s=PAUSE_S)
    eventually(_directory_answers(stack), RECOVER_WITHIN_S, "the directory to know the engine")
    assert watch.ask()
    app.conclude(matrix, f"{what} killed, restarted by its supervisor", watch.seen, engine_after(stack))


def test_a_killed_embedder_takes_no_chat_along(
    stack: LocalStack, app: App, watch: Watch, http: httpx.Client, matrix: Matrix
) -> None:
    """While the embedder is away, embeddings are 503 or wait, and chats are answered; then it returns."""
    stack.kill("ray::ServeReplica:embedder")

    def embeds() -> int:
        assert watch.ask()
        try:
            answer = http.post("/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": "hi"}, timeout=1)
        except httpx.ReadTimeout:  # Ray keeps it for the replica to come, until the gateway has seen what is wrong
            return 0
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code

    eventually(lambda: embeds() != 200, SEEN_WITHIN_S, "embeddings not to be answered", every_s=PAUSE_S)
    eventually(lambda: embeds() == 200, RECOVER_WITHIN_S, "embeddings to return", every_s=PAUSE_S)
    fault = "embedder killed; chats meanwhile (embeddings: 503, then 200)"
    app.conclude(matrix, fault, watch.seen, engine_after(stack))


def _directory_answers(stack: LocalStack) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return len(stack.replicas()) == 1
        except (httpx.HTTPError, ValueError):
            return False

    return look
