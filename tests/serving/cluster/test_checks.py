"""Golden prompts: what must hold of a new engine's answers, and what is said when it does not."""

import json
from functools import partial
from typing import Any

import pytest

from serving.cluster.checks import CheckFailed, Engine, Golden, ask, comparisons_of, failures_of, run_checks
from serving.config.schema import CheckSpec
from serving.engines.wire import ReplicaReport
from tests.support.gateway_process import free_port
from tests.support.servers.engine import MODEL, EngineServer


def check(**fields: Any) -> CheckSpec:
    """A check of a question about Paris."""
    return CheckSpec.model_validate({"prompt": "What is the capital of France?", **fields})


@pytest.mark.parametrize(
    ("fields", "text", "holds"),
    [
        ({"contains": ["paris"]}, "It is Paris.", True),
        ({"contains": ["paris"]}, "It is Rome.", False),
        ({"matches": r"\bParis\b"}, "Paris!", True),
        ({"matches": r"^Paris$"}, "It is Paris.", False),
        ({"json_schema": {"type": "object", "required": ["city"]}}, '{"city": "Paris"}', True),
        ({"json_schema": {"type": "object", "required": ["city"]}}, '{"town": "Paris"}', False),
        ({"json_schema": {"type": "object"}}, "Paris", False),
    ],
)
def test_an_answer_by_itself(fields: dict[str, Any], text: str, holds: bool) -> None:
    """Texts in any letter case, a regular expression, a JSON schema."""
    assert (not list(failures_of(check(**fields), Golden(text, 0.01)))) is holds


def test_an_answer_beside_the_one_that_serves() -> None:
    """The same text, and at most so many times as slow."""
    spec = check(greedy_equal=True, max_slowdown=2)
    assert not list(comparisons_of(spec, Golden("Paris", 0.02), Golden("Paris", 0.01)))
    different, slow = comparisons_of(spec, Golden("Rome", 0.03), Golden("Paris", 0.01))
    assert "not what is answered now" in different
    assert "3.0 times" in slow


def test_a_check_that_demands_nothing_is_refused() -> None:
    """So is a regular expression that is none."""
    with pytest.raises(ValueError, match="demands nothing"):
        check()
    with pytest.raises(ValueError, match="regular expression"):
        check(matches="(")


def report(port: int) -> ReplicaReport:
    """The report of a replica at this port."""
    return {
        "replica_id": "r",
        "epoch": 1,
        "model": MODEL,
        "fingerprint": "f",
        "revision": "r",
        "quantization": "none",
        "state": "ready",
        "reason": "",
        "address": f"http://127.0.0.1:{port}",
        "key": "engine-key",
        "running": 0,
        "waiting": 0,
        "kv_cache_usage": 0.0,
    }


def test_a_failure_tells_which_check_and_both_texts() -> None:
    """The first that does not hold; those before it are told as passed."""
    port = free_port()
    lines: list[str] = []
    checks = [check(contains=["w0"], max_tokens=2), check(prompt="And now?", contains=["Paris"], max_tokens=3)]
    with EngineServer(port):
        engine = Engine(report(port), MODEL)
        with pytest.raises(CheckFailed) as failure:
            run_checks(checks, lambda _: engine, partial(ask, engine), lines.append)
    assert len(lines) == 1
    assert "passed" in lines[0]
    message = str(failure.value)
    assert "check 2" in message
    assert "And now?" in message
    assert json.dumps("Paris").strip('"') in message
    assert "new: ' w0 w1 w2'" in message
    assert "now: ' w0 w1 w2'" in message


def test_an_engine_that_does_not_answer_fails_its_check() -> None:
    """With the reason."""
    engine = Engine(report(free_port()), MODEL)
    with pytest.raises(CheckFailed, match="does not answer"):
        run_checks([check(contains=["x"])], lambda _: engine, None, lambda _: None)
