"""The gate in front of one model's engines: a bounded number of running requests, and a bounded and fair queue.

A request holds one slot per sequence (prompts x choices) while an engine works on it; below, a request of n sequences
counts as n requests. Agents and jobs together hold at most `agent_share` of the slots
(`serving.admission.class_quota`), so R slots are reserved for people. For an interactive request, with T the longest
time that a request holds a slot, and as long as no replica is lost:

* while fewer than R interactive requests are running, it enters at once, whatever the background load;
* otherwise at least R slots are freed in any T, and people get at least p = ((e - 1) / e)^2 of them, where e is
  `lower_class_every` (`serving.admission.priority_queue`): behind n others it waits at most about (n / (p R) + 1) T.

The time inside the engine is not bounded: background sequences in its batch slow down every step, limited only by their
share of the slots (`python -m bench.serving.admission` measures it).

The clock is the event loop's. The gate does not know engines or HTTP. A request that holds a slot must not wait for
another slot of the same gate, or such requests could deadlock.
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

RECHECK_S = 0.1  # interval of checking the number of slots while requests wait: new replicas are not announced

Outcome = Literal["entered", "full", "timeout", "left"]
Observe = Callable[[RequestClass, Outcome, float], None]


@dataclass(eq=False, slots=True)
class Ticket:
    """A request at the gate: its class, its application and user, its sequences, and its wait in seconds.

    The other fields are internal to the gate.
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
    """The state of a gate: number of slots, and by class the slots held and the requests that wait."""

    slots: int
    inside: dict[RequestClass, int]
    waiting: dict[RequestClass, int]


def slots_of_worker(replicas: int, max_in_flight: int, workers: int) -> int:
    """One gateway worker's share of the replicas' concurrent requests; at least one while there is a replica."""
    return max(1, replicas * max_in_flight // workers) if replicas > 0 else 0


class Gate:
    """Admits requests to one model, for one gateway worker.

    Args:
        model: its id, for messages.
        rules: shares, bounds and maximum waits.
        slots: returns the current number of slots; called whenever it is needed.
        retry_after_s: Retry-After of a refused request until a rate has been measured.
        loop: the event loop, for its clock and timers.
        observe: called once per request when it enters or gives up: class, outcome, seconds waited.

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
        self._waiting: PriorityQueue[Ticket] = PriorityQueue(lower_class_every=rules.lower_class_every)
        self._quota = ClassQuota({"interactive": 1.0, "agent": rules.agent_share, "job": rules.job_share})
        self._max_wait_s: dict[RequestClass, float] = {
            "interactive": rules.interactive_max_wait_s,
            "agent": rules.agent_max_wait_s,
            "job": rules.job_max_wait_s,
        }
        self._max_waiting: dict[RequestClass, int] = {
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
        """Wait for a slot for each of `sequences`, and hold them while in the context.

        Args:
            class_: the request's class.
            app: the application that the key belongs to.
            user: its end user, if the request names one.
            deadline_s: maximum wait in seconds, if it is below the class's own.
            sequences: number of sequences that the engine will generate.

        Raises:
            CallerQueueFull: too many requests of this application or user wait.
            QueueFull: too many requests wait.
            QueueTimeout: it waited the maximum time, or is expected to.

        """
        ticket = Ticket(class_, (app, user), sequences)
        outcome: Outcome = "left"
        began = self._loop.time()
        try:
            try:
                await self._queue(ticket, min(deadline_s, self._max_wait_s[class_]))
                outcome = "entered"
            except QueueFull:
                outcome = "full"
                raise
            except QueueTimeout:
                outcome = "timeout"
                raise
            finally:
                ticket.waited_s = self._loop.time() - began
                self._observe(class_, outcome, ticket.waited_s)
            yield ticket
        finally:
            self._leave(ticket)

    def numbers(self) -> GateNumbers:
        """The current state."""
        waiting = {class_: self._waiting.depth(class_) for class_ in CLASSES}
        return GateNumbers(self._slots(), dict(self._quota.inside), waiting)

    async def _queue(self, ticket: Ticket, limit_s: float) -> None:
        self._let_in()  # first those who wait, in case there are new slots
        if not self._waiting.depth(ticket.class_) and ticket.class_ in self._may_take(ticket):
            self._take(ticket)
            return
        wait_s = self._expected_wait_s(ticket)
        self._check_bounds(ticket, wait_s)
        if wait_s is not None and wait_s > limit_s:
            raise self._timeout(f"the expected wait is {math.ceil(wait_s)} s, the maximum is {limit_s:g} s", wait_s)
        ticket.turn = self._loop.create_future()
        ticket.timer = self._loop.call_later(limit_s, self._give_up, ticket)
        self._waiting.push(ticket.class_, ticket.flow, ticket)
        self._watch_slots()
        if not await ticket.turn:
            raise self._timeout(f"no slot became free within {limit_s:g} s", self._expected_wait_s(ticket))

    def _let_in(self) -> None:
        """Give free slots to waiting requests, in their order."""
        while self._waiting:
            ticket = self._waiting.pop(self._may_take())
            if ticket is None:
                return
            assert ticket.turn is not None, "waiting requests have a turn"
            if not ticket.turn.done():  # otherwise it was cancelled, and its task has not run since
                self._take(ticket)
                ticket.turn.set_result(True)
                assert ticket.timer is not None, "set with the turn"
                ticket.timer.cancel()

    def _may_take(self, newcomer: Ticket | None = None) -> list[RequestClass]:
        """The classes whose next request may enter; the newcomer is the next of its class if none of it waits."""
        needs = {} if newcomer is None else {newcomer.class_: newcomer.sequences}
        for class_ in CLASSES if self._waiting else ():
            if (first := self._waiting.first(class_)) is not None:
                needs[class_] = first.sequences
        return self._quota.may_take(self._slots(), needs)

    def _take(self, ticket: Ticket) -> None:
        ticket.held = self._quota.slots_for(ticket.class_, ticket.sequences, self._slots())
        self._rate.taken(self._loop.time(), ticket.held)
        self._quota.inside[ticket.class_] += ticket.held
        ticket.is_inside = True

    def _leave(self, ticket: Ticket) -> None:
        """Free the request's slots, or take it out of the queue."""
        if ticket.timer is not None:
            ticket.timer.cancel()
        if ticket.is_inside:
            self._rate.freed(self._loop.time(), ticket.held)
            self._quota.inside[ticket.class_] -= ticket.held
        else:
            self._waiting.remove(ticket.class_, ticket.flow, ticket)
        self._let_in()  # also after one that only waited: the next one may need fewer slots

    def _give_up(self, ticket: Ticket) -> None:
        if self._waiting.remove(ticket.class_, ticket.flow, ticket) and ticket.turn and not ticket.turn.done():
            ticket.turn.set_result(False)
            self._let_in()

    def _watch_slots(self) -> None:
        if self._recheck is None:
            self._recheck = self._loop.call_later(RECHECK_S, self._look_again)

    def _look_again(self) -> None:
        self._recheck = None
        self._let_in()
        if self._waiting:
            self._watch_slots()

    def _expected_wait_s(self, ticket: Ticket) -> float | None:
        """The wait by the measured rate (`serving.admission.service_rate`) if no more arrive; None while unknown."""
        slots, per_slot = self._slots(), self._rate.per_slot(self._loop.time())
        if not slots or per_slot is None:
            return None
        own, others = self._waiting.before(ticket.class_, ticket.flow)
        # Its class's share may be the bottleneck instead of the total number of slots.
        turns = max((own + others + 1) / slots, (own + 1) / self._quota.limit(ticket.class_, slots))
        return turns / per_slot

    def _check_bounds(self, ticket: Ticket, wait_s: float | None) -> None:
        # Counted by class, so that a user's background work does not block the user's chats.
        rules, class_, (app, user) = self._rules, ticket.class_, ticket.flow
        retry_after_s = self._retry_after(wait_s)
        if user is not None and self._waiting.depth_of_flow(class_, ticket.flow) >= rules.max_waiting_per_user:
            holder, limit = f"User '{user[:64]}' of application '{app}'", rules.max_waiting_per_user
        elif self._waiting.depth_of_app(class_, app) >= rules.max_waiting_per_app:
            holder, limit = f"Application '{app}'", rules.max_waiting_per_app
        else:
            holder, limit = "", 0
        if holder:
            message = f"{holder} has reached its limit of {limit} waiting requests of class '{class_}' for model "
            message += f"'{self._model}'."
            raise CallerQueueFull(message + _try_again(retry_after_s), retry_after_s=retry_after_s)
        if len(self._waiting) >= rules.max_waiting or self._waiting.depth(class_) >= self._max_waiting[class_]:
            message = f"The queue of model '{self._model}' is full for requests of class '{class_}'."
            raise QueueFull(message + _try_again(retry_after_s), retry_after_s=retry_after_s)

    def _timeout(self, what: str, wait_s: float | None) -> QueueTimeout:
        retry_after_s = self._retry_after(wait_s)
        message = f"The model '{self._model}' is busy: {what}."
        return QueueTimeout(message + _try_again(retry_after_s), retry_after_s=retry_after_s)

    def _retry_after(self, wait_s: float | None) -> int:
        whole_s = self._retry_after_s if wait_s is None else math.ceil(min(wait_s, self._rules.max_retry_after_s))
        return max(1, min(whole_s, self._rules.max_retry_after_s))


def _try_again(retry_after_s: int) -> str:
    return f" Please try again in {retry_after_s} s."
