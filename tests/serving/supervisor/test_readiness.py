"""What `bondhu up` shows while the stack starts, and what `bondhu status` says of the same."""

from serving.supervisor import readiness

RUNNING = {"state": "running", "detail": ""}
ABSENT = {
    "ready": False,
    "state": "absent",
    "reason": "no replica has reported; the directory cannot be reached: refused",
}
LOADING = {"ready": False, "state": "loading", "reason": "the engine is loading the model"}
PROVEN = {"ready": True, "state": "ready", "reason": None}
SILENT = {"ready": False, "reason": "it cannot be reached (ClientConnectorError)"}


def test_a_start_names_parts_and_then_models_by_their_stage() -> None:
    """Parts first; a model that waits for Ray is no fault yet."""
    starting = {"state": "starting", "detail": ""}
    ready = {"models": {"llama": ABSENT, "companion": ABSENT}, "embedder": SILENT}
    assert readiness.starting(None, {"ray": starting, "worker": starting, "redis": RUNNING}) == "starting ray, worker"
    assert readiness.starting(ready, {"ray": RUNNING}) == "llama, companion, embedder: waiting for Ray"
    ready = {"models": {"llama": LOADING, "companion": LOADING}, "embedder": {"ready": True, "reason": None}}
    assert readiness.starting(ready, {"ray": RUNNING}) == "llama, companion: the engine is loading the model"
    assert readiness.starting({"models": {"llama": PROVEN}}, {}) == "starting gateway"


def test_a_part_that_fails_is_reported_at_once_with_its_reason() -> None:
    """Also within the first minute."""
    state = {"ray": {"state": "backoff", "detail": "exited with 1"}, "worker": {"state": "starting", "detail": ""}}
    assert readiness.starting(None, state) == "starting worker; ray: backoff (exited with 1)"


def test_a_status_tells_every_reason() -> None:
    """`bondhu status` leaves nothing out."""
    ready = {"ready": False, "models": {"llama": ABSENT, "companion": PROVEN}, "embedder": SILENT}
    assert readiness.summarise(ready, {"ray": RUNNING}) == [
        f"llama: {ABSENT['reason']}",
        f"embedder: {SILENT['reason']}",
    ]
