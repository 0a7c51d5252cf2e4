"""The steps of an agent's run, for its row in the ledger: what was done, how it ended, how long it took.

Agents open a span for each step (`agents.base.Spans`); here each span is noted too, whether or not requests are traced.
A span's name and attributes are names and numbers, and so is a step: no word of a person or a model. It is written with
the row of its request, in the same statement. It does not know what agents do.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Literal, TypedDict, cast

from agents.base import Spans, StepSpan
from agents.events import StepState

MAX_STEPS = 64  # in a row; the first ones
_KINDS = {"invoke_agent": "agent", "execute_tool": "tool"}  # of OpenTelemetry's names; others are their own
_NAMED_BY = ("gen_ai.agent.name", "gen_ai.tool.name")
_DETAILS = ("bondhu.route", "bondhu.proposal", "gen_ai.response.model")
_STEP = "bondhu.step"  # its first word is a StepState
_RECALLED = "bondhu.recalled"


class Step(TypedDict):
    """One step: milliseconds from the beginning of the request, and of the step; `outside_calls` to services outside.

    An outer step (the agent's whole run, a narration) contains those that lie within its time.
    """

    kind: str
    name: str
    detail: str
    outcome: StepState | Literal["aborted"]
    at_ms: float
    ms: float
    outside_calls: int


_CURRENT: ContextVar[Step | None] = ContextVar("step", default=None)  # of each task: tools may run at the same time


class RunSteps:
    """Notes the steps of one run: an `agents.base.Spans`.

    Args:
        spans: makes the spans of the trace.
        elapsed_s: seconds since the request began.

    Attributes:
        taken: the steps, in the order in which they began.

    """

    def __init__(self, spans: Spans, elapsed_s: Callable[[], float]) -> None:
        self._spans = spans
        self._elapsed_s = elapsed_s
        self.taken: list[Step] = []

    def __call__(self, name: str, attributes: Mapping[str, str], /) -> AbstractContextManager[StepSpan]:
        """The span of a step, which is noted."""
        return self._noted(name, attributes)

    def count_outside_call(self) -> None:
        """Count a call to a service outside, for the step that makes it."""
        step = _CURRENT.get()
        if step is not None:
            step["outside_calls"] += 1

    @contextmanager
    def _noted(self, name: str, attributes: Mapping[str, str]) -> Iterator[StepSpan]:
        kind = name.partition(" ")[0]
        named = next((attributes[each] for each in _NAMED_BY if each in attributes), "")
        step = Step(
            kind=_KINDS.get(kind, kind), name=named, detail="", outcome="done", at_ms=0.0, ms=0.0, outside_calls=0
        )
        if len(self.taken) < MAX_STEPS:
            self.taken.append(step)
        around = _CURRENT.get()
        _CURRENT.set(step)
        began_s = self._elapsed_s()
        step["at_ms"] = round(began_s * 1000, 1)
        try:
            with self._spans(name, attributes) as span:
                yield _NotedSpan(step, span)
        except (asyncio.CancelledError, GeneratorExit):
            step["outcome"] = "aborted"
            raise
        except BaseException:
            step["outcome"] = "failed"
            raise
        finally:
            step["ms"] = round((self._elapsed_s() - began_s) * 1000, 1)
            _CURRENT.set(around)


class _NotedSpan:
    def __init__(self, step: Step, span: StepSpan) -> None:
        self._step = step
        self._span = span

    def note(self, name: str, value: str | int | float | bool) -> None:
        """Set an attribute of the span, and what it says of the step."""
        self._span.note(name, value)
        if name in _DETAILS:
            self._step["detail"] = str(value)
        elif name == _RECALLED:
            self._step["detail"] = f"{value} recalled"
        elif name == _STEP:
            state, _, self._step["detail"] = str(value).partition(" ")
            self._step["outcome"] = cast("StepState", state)
