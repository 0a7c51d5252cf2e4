"""The gate in front of one model's engines: a bounded number of requests inside, a bounded and fair queue outside.

A request holds a slot for each of its sequences (prompts x choices) for as long as an engine works on it: what follows
counts requests of one, and a request of n counts as n. Agents and jobs together hold at most `agent_share` of the
slots (`serving.admission.class_quota`): the R slots that are left are held by nobody but people. What follows for an
interactive request, with T the longest time that a request holds a slot, while no replica is lost:

* while fewer than R interactive requests are inside, it enters at once, whatever background work there is;
* else R slots or more free themselves within any T, and people get p = ((e - 1) / e)^2 of these or more, e being
  `lower_class_every` (`serving.admission.priority_queue`): behind n others it waits about (n / (p R) + 1) T at most.

Nothing is bounded for the work inside the engine: background sequences in its batch slow every step down, which only
their share of the slots limits (`python -m bench.admission` measures it).

The clock is the event loop's. The gate does not know engines, HTTP or why a class was chosen. Whoever holds a place
must not wait for another one at the same gate while it does: enough of them would wait for each other.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from serving.admission.class_quota import ClassQuota
from serving.admission.priority_queue import CLASSES, Flow, PriorityQueue
from serving.admission.service_rate import ServiceRate
from serving.config.schema import AdmissionSettings
from serving.errors import CallerQueueFull, QueueFull, QueueTimeout
from storage.tables import RequestClass

RECHECK_S = 0.1  # between two looks at the number of slots while requests wait: replicas come without telling

Outcome = Literal["entered", "full", "timeout", "left"]
Observe = Callable[[RequestClass, Outcome, float], None]


@dataclass(eq=False, slots=True)
class Ticket:
    """A request at the gate: class, whose it is, how many slots it needs, how long it waited in seconds.

    The rest is the gate's.
    """

    class_: RequestClass
    flow: Flow
    sequences: int = 1
    held: int = 0
    waited_s: float = 0.0
    turn: "asyncio.Future[bool] | None" = None
    timer: asyncio.TimerHandle | None = None
    is_inside: bool = False


@dataclass(frozen=True, slots=True)
class GateNumbers:
    """The state of a gate: slots, and by class how many are held and how many requests wait."""

    slots: int
    inside: dict[RequestClass, int]
    waiting: dict[RequestClass, int]


def slots_of_worker(replicas: int, max_in_flight: int, workers: int) -> int:
    """One gateway worker's share of what the replicas take at once: at least one while there is a replica."""
    return max(1, replicas * max_in_flight // workers) if replicas > 0 else 0


class Gate:
    """Admits requests to one model, for one gateway worker.

    Args:
        model: its id, for messages.
        rules: shares, bounds and longest waits.
        slots: how many requests may be inside now; asked anew whenever it matters.
        retry_after_s: what a refused client is told until a rate has been measured.
        loop: the event loop that it lives on; its clock and timers.
        observe: told once of every request, when it enters or never will: class, outcome, seconds waited.

    """

    def __init__(
        self,
        *,
        model: str,
        rules: AdmissionSettings,
        slots: Callable[[], int],
        retry_after_s: int,
        loop: asyncio.AbstractEventLoop,
        observe: Observe = lambda *_: None,
    ) -> None:
        self._model = model
        self._rules = rules
        self._slots = slots
        self._retry_after_s = retry_after_s
        self._loop = loop
        self._observe = observe
        self._line: PriorityQueue[Ticket] = PriorityQueue(lower_class_every=rules.lower_class_every)
        self._shares = ClassQuota({"interactive": 1.0, "agent": rules.agent_share, "job": rules.job_share})
        self._max_wait_s: dict[RequestClass, float] = {
            "interactive": rules.interactive_max_wait_s,
            "agent": rules.agent_max_wait_s,
            "job": rules.job_max_wait_s,
        }
        self._most_waiting: dict[RequestClass, int] = {
            "interactive": rules.max_waiting,
            "agent": rules.max_waiting_agents,
            "job": rules.max_waiting_jobs,
        }
        self._rate = ServiceRate()
        self._recheck: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def enter(
        self,
        class_: RequestClass,
        app: str,
        user: str | None = None,
        deadline_s: float = math.inf,
        *,
        sequences: int = 1,
    ) -> AsyncIterator[Ticket]:
        """Hold a slot for each of `sequences` while the context lasts, after waiting for them.

        Args:
            class_: of the request.
            app: the application that the key belongs to.
            user: its end user, if the request names one.
            deadline_s: the longest wait that is of use, seconds from now; the class's longest wait when that is less.
            sequences: how many the engine will work on for it.

        Raises:
            CallerQueueFull: too many of this application or user wait.
            QueueFull: too many wait.
            QueueTimeout: it waited that long, or is expected to.

        """
        place = Ticket(class_, (app, user), sequences)
        outcome: Outcome = "left"
        began = self._loop.time()
        try:
            try:
                await self._queue(place, min(deadline_s, self._max_wait_s[class_]))
                outcome = "entered"
            except QueueFull:
                outcome = "full"
                raise
            except QueueTimeout:
                outcome = "timeout"
                raise
            finally:
                place.waited_s = self._loop.time() - began
                self._observe(class_, outcome, place.waited_s)
            yield place
        finally:
            self._leave(place)

    def numbers(self) -> GateNumbers:
        """How full it is."""
        waiting = {class_: self._line.depth(class_) for class_ in CLASSES}
        return GateNumbers(self._slots(), dict(self._shares.inside), waiting)

    async def _queue(self, place: Ticket, limit_s: float) -> None:
        self._let_in()  # first those who wait for slots that have just come into being
        if not self._line.depth(place.class_) and place.class_ in self._may_take(place):
            self._take(place)
            return
        wait_s = self._expected_wait_s(place)
        self._check_bounds(place, wait_s)
        if wait_s is not None and wait_s > limit_s:
            raise self._timeout(f"would have to wait about {math.ceil(wait_s)} s, and may wait {limit_s:g} s", wait_s)
        place.turn = self._loop.create_future()
        place.timer = self._loop.call_later(limit_s, self._give_up, place)
        self._line.push(place.class_, place.flow, place)
        self._watch_slots()
        if not await place.turn:
            raise self._timeout(f"has waited for {limit_s:g} s", self._expected_wait_s(place))

    def _let_in(self) -> None:
        """Give what slots there are to those who wait, in their order."""
        while self._line:
            place = self._line.pop(self._may_take())
            if place is None:
                return
            assert place.turn is not None, "it waits"
            if not place.turn.done():  # else it was cancelled, and its task has not run since
                self._take(place)
                place.turn.set_result(True)
                assert place.timer is not None, "set with the turn"
                place.timer.cancel()

    def _may_take(self, newcomer: Ticket | None = None) -> list[RequestClass]:
        """The classes whose next request may go in; the newcomer is its class's next when none of it waits."""
        needs = {} if newcomer is None else {newcomer.class_: newcomer.sequences}
        for class_ in CLASSES:
            if (first := self._line.first(class_)) is not None:
                needs[class_] = first.sequences
        return self._shares.may_take(self._slots(), needs)

    def _take(self, place: Ticket) -> None:
        place.held = self._shares.slots_for(place.class_, place.sequences, self._slots())
        self._rate.taken(self._loop.time(), place.held)
        self._shares.inside[place.class_] += place.held
        place.is_inside = True

    def _leave(self, place: Ticket) -> None:
        """Undo whatever the place has got to, however it ended."""
        if place.timer is not None:
            place.timer.cancel()
        if place.is_inside:
            self._rate.freed(self._loop.time(), place.held)
            self._shares.inside[place.class_] -= place.held
        else:
            self._line.remove(place.class_, place.flow, place)
        self._let_in()  # also after one that only waited: it may have waited for more slots than who is next

    def _give_up(self, place: Ticket) -> None:
        if self._line.remove(place.class_, place.flow, place) and place.turn and not place.turn.done():
            place.turn.set_result(False)
            self._let_in()

    def _watch_slots(self) -> None:
        if self._recheck is None:
            self._recheck = self._loop.call_later(RECHECK_S, self._look_again)

    def _look_again(self) -> None:
        self._recheck = None
        self._let_in()
        if self._line:
            self._watch_slots()

    def _expected_wait_s(self, place: Ticket) -> float | None:
        """By the measured rate, if nobody else came (`serving.admission.service_rate`); None while that is unknown."""
        slots, per_slot = self._slots(), self._rate.per_slot(self._loop.time())
        if not slots or per_slot is None:
            return None
        own, others = self._line.before(place.class_, place.flow)
        # Of its own class no more are inside than the class's share allows: that may be what it waits for.
        turns = max((own + others + 1) / slots, (own + 1) / self._shares.limit(place.class_, slots))
        return turns / per_slot

    def _check_bounds(self, place: Ticket, wait_s: float | None) -> None:
        # Counted by class: a user's own background work must not shut the user out.
        rules, class_, (app, user) = self._rules, place.class_, place.flow
        retry_after_s = self._retry_after(wait_s)
        if user is not None and self._line.depth_of_flow(class_, place.flow) >= rules.max_waiting_per_user:
            whose = f"user '{user[:64]}' of application '{app}' has {rules.max_waiting_per_user}"
        elif self._line.depth_of_app(class_, app) >= rules.max_waiting_per_app:
            whose = f"application '{app}' has {rules.max_waiting_per_app}"
        else:
            whose = ""
        if whose:
            message = f"Too many requests at a time: {whose} waiting for '{self._model}'."
            raise CallerQueueFull(message + _again(retry_after_s), retry_after_s=retry_after_s)
        if len(self._line) >= rules.max_waiting or self._line.depth(class_) >= self._most_waiting[class_]:
            message = f"As many requests of class '{class_}' wait for '{self._model}' as may wait."
            raise QueueFull(message + _again(retry_after_s), retry_after_s=retry_after_s)

    def _timeout(self, what: str, wait_s: float | None) -> QueueTimeout:
        retry_after_s = self._retry_after(wait_s)
        message = f"The model '{self._model}' is busy: this request {what}."
        return QueueTimeout(message + _again(retry_after_s), retry_after_s=retry_after_s)

    def _retry_after(self, wait_s: float | None) -> int:
        whole_s = self._retry_after_s if wait_s is None else math.ceil(min(wait_s, self._rules.max_retry_after_s))
        return max(1, min(whole_s, self._rules.max_retry_after_s))


def _again(retry_after_s: int) -> str:
    return f" Please try again in {retry_after_s} s."
