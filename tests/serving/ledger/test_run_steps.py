"""The steps of a run as its row has them: kinds, outcomes, calls outside of each, in their order, and no content."""

import asyncio
from itertools import count

import pytest

from agents.base import no_spans
from serving.ledger.run_steps import MAX_STEPS, RunSteps, Step


def made() -> RunSteps:
    """Return the steps of a run whose clock moves by 10 ms at each look."""
    ticks = count()
    return RunSteps(no_spans, lambda: next(ticks) * 0.01)


def brief(step: Step) -> tuple[str, str, str, str]:
    """Return what does not depend on time."""
    return step["kind"], step["name"], step["detail"], step["outcome"]


def fail(steps: RunSteps, problem: BaseException) -> None:
    """A step of a model that ends with this."""
    with steps("model", {}) as span:
        span.note("gen_ai.usage.input_tokens", 7)
        raise problem


def test_a_step_within_another_lies_within_its_time() -> None:
    """Each has the time from the beginning of the request, and its own."""
    steps = made()
    with steps("invoke_agent music", {"gen_ai.agent.name": "music"}):
        with steps("route", {}) as span:
            span.note("bondhu.route", "make_playlist by rule")
        with steps("execute_tool make_playlist", {"gen_ai.tool.name": "make_playlist"}):
            pass
    assert [brief(step) for step in steps.taken] == [
        ("agent", "music", "", "done"),
        ("route", "", "make_playlist by rule", "done"),
        ("tool", "make_playlist", "", "done"),
    ]
    assert [(step["at_ms"], step["ms"]) for step in steps.taken] == [(0, 50), (10, 10), (30, 10)]


def test_how_a_step_ended_is_told() -> None:
    """By what was noted, or by what went through it."""
    steps = made()
    with steps("parameters", {"gen_ai.tool.name": "find_songs"}) as span:
        span.note("bondhu.step", "repaired by model")
    with steps("recall", {}) as span:
        span.note("bondhu.recalled", 3)
    with steps("proposal", {}) as span:
        span.note("bondhu.proposal", "applied")
    for problem in (ValueError("their words"), TimeoutError(), asyncio.CancelledError(), GeneratorExit()):
        with pytest.raises(type(problem)):
            fail(steps, problem)
    assert [brief(step) for step in steps.taken] == [
        ("parameters", "find_songs", "by model", "repaired"),
        ("recall", "", "3 recalled", "done"),
        ("proposal", "", "applied", "done"),
        *[("model", "", "", outcome) for outcome in ("failed", "failed", "aborted", "aborted")],
    ]


async def test_a_call_outside_is_the_steps_that_makes_it() -> None:
    """Also where tools run at the same time."""
    steps = made()
    steps.count_outside_call()  # before any step: of none

    async def use(name: str, calls: int) -> None:
        with steps(f"execute_tool {name}", {"gen_ai.tool.name": name}):
            for _ in range(calls):
                await asyncio.sleep(0)
                steps.count_outside_call()

    with steps("invoke_agent video", {"gen_ai.agent.name": "video"}):
        await asyncio.gather(use("one", 1), use("three", 3))
        steps.count_outside_call()
    assert {step["name"]: step["outside_calls"] for step in steps.taken} == {"video": 1, "one": 1, "three": 3}


def test_a_row_has_so_many_steps_at_most() -> None:
    """The first; a run that goes on makes no row too long."""
    steps = made()
    for number in range(MAX_STEPS + 5):
        with steps(f"execute_tool {number}", {"gen_ai.tool.name": str(number)}):
            pass
    assert [step["name"] for step in steps.taken] == [str(number) for number in range(MAX_STEPS)]
