"""Golden prompts: asked of a new engine before it gets requests, and of the one that serves now for comparison.

Both are asked directly, under their own keys, greedily. It does not know what follows from a failure.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.config.schema import CheckSpec
from serving.engines.wire import ReplicaReport, engine_model

TIMEOUT_S = 120.0
TIMINGS = 3  # of which the fastest counts: other work on the machine only makes it slower


@dataclass(frozen=True, slots=True)
class Golden:
    """An answer to a golden prompt: its text, and the seconds for a token of it."""

    text: str
    token_s: float


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as checks ask it: its replica, and the id in it that answers."""

    report: ReplicaReport
    model: str


class CheckFailed(Exception):
    """A check does not hold; the message says which one, and has both texts."""


Now = Callable[[CheckSpec], Golden]  # the answer of what serves now; raises CheckFailed if there is none


def run_checks(
    checks: Sequence[CheckSpec], new: Callable[[CheckSpec], Engine], now: Now | None, say: Callable[[str], None]
) -> None:
    """Ask every golden prompt.

    Args:
        checks: of the new engine's model file.
        new: what answers a check.
        now: what serves now answers; None: nothing does, and nothing is compared.
        say: gets a line about each check.

    Raises:
        CheckFailed: one does not hold.

    """
    for number, check in enumerate(checks, 1):
        engine = new(check)
        title = f"check {number} of {engine.model} ({_brief(check.prompt)})"
        try:
            answer = ask(engine, check)
        except CheckFailed as problem:
            raise CheckFailed(f"{title} failed: {problem}") from problem
        compares = check.greedy_equal or check.max_slowdown is not None
        old = None
        failures = list(failures_of(check, answer))
        if now is not None and (compares or failures):
            try:
                old = now(check)
            except CheckFailed as problem:
                failures += [f"the engine that serves now does not answer it: {problem}"] if compares else []
        if old is not None:
            failures += comparisons_of(check, answer, old)
        if failures:
            serving = "nothing serves now" if old is None else f"now: {old.text!r}"
            raise CheckFailed(f"{title} failed: {'; '.join(failures)}. new: {answer.text!r}; {serving}")
        say(f"{title} passed")


def failures_of(check: CheckSpec, answer: Golden) -> Iterator[str]:
    """What does not hold of the answer by itself."""
    for text in check.contains:
        if text.casefold() not in answer.text.casefold():
            yield f"it does not contain {text!r}"
    if check.matches is not None and not re.search(check.matches, answer.text):
        yield f"it does not match {check.matches!r}"
    if check.json_schema is not None:
        import jsonschema  # type: ignore[import-untyped]  # here: it takes a while, and few commands need it

        try:
            jsonschema.validate(json.loads(answer.text), check.json_schema)
        except (ValueError, jsonschema.ValidationError) as problem:
            yield f"it is not valid by the schema ({str(problem).splitlines()[0]})"


def comparisons_of(check: CheckSpec, answer: Golden, old: Golden) -> Iterator[str]:
    """What does not hold of the answer beside that of the engine that serves now."""
    if check.greedy_equal and answer.text != old.text:
        yield "it is not what is answered now"
    if check.max_slowdown is not None and answer.token_s > check.max_slowdown * old.token_s:
        yield (
            f"a token takes {answer.token_s * 1e3:.1f} ms, {answer.token_s / old.token_s:.1f} times as long as now "
            f"(at most {check.max_slowdown:g})"
        )


def ask(engine: Engine, check: CheckSpec) -> Golden:
    """The engine's answer; raises CheckFailed if there is none."""
    system = [{"role": "system", "content": check.system}] if check.system else []
    body: dict[str, Any] = {
        "model": engine_model(engine.report, engine.model),
        "messages": [*system, {"role": "user", "content": check.prompt}],
        "max_tokens": check.max_tokens,
        "temperature": 0,
    }
    if check.json_schema is not None:
        schema = {"name": "check", "schema": check.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    answers = [_post(engine, body) for _ in range(1 if check.max_slowdown is None else TIMINGS)]
    return min(answers, key=lambda answer: answer.token_s)


def _post(engine: Engine, body: dict[str, Any]) -> Golden:
    request = urllib.request.Request(  # noqa: S310 - http, from the directory
        f"{engine.report['address']}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {engine.report['key']}", "Content-Type": "application/json"},
    )
    began_s = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - as above
            answer = json.loads(response.read())
    except urllib.error.HTTPError as problem:
        detail = problem.read().decode(errors="replace")[:300]
        raise CheckFailed(f"{engine.model} answered {problem.code}: {detail}") from problem
    except (OSError, ValueError) as problem:
        raise CheckFailed(f"{engine.model} does not answer: {problem}") from problem
    took_s = time.monotonic() - began_s
    text = answer["choices"][0]["message"].get("content") or ""
    return Golden(text, took_s / max(1, answer["usage"]["completion_tokens"]))


def _brief(prompt: str) -> str:
    return prompt if len(prompt) <= 40 else f"{prompt[:37]}..."
