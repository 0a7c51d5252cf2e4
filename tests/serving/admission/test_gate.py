"""Admission: who enters, in which order, who is refused and when; in virtual time, so hours cost nothing."""

import asyncio
import functools
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from serving.admission.fair_queue import FairQueue
from serving.admission.gate import RECHECK_S, Gate, Outcome, slots_of_worker
from serving.admission.priority_queue import CLASSES, PriorityQueue
from serving.admission.service_rate import FEWEST, MEMORY, ServiceRate
from serving.config.schema import AdmissionSettings, DeploymentSpec, ModelSpec
from serving.errors import ApiError, CallerQueueFull, QueueFull, QueueTimeout
from storage.tables import RequestClass
from tests.support.virtual_time import run

CANCELLED = asyncio.CancelledError
ROOMY = AdmissionSettings(
    agent_share=0.75,
    job_share=0.5,
    max_waiting=5000,
    max_waiting_agents=2000,
    max_waiting_jobs=2000,
    max_waiting_per_app=5000,
    max_waiting_per_user=5000,
    interactive_max_wait_s=1e6,
    agent_max_wait_s=1e6,
    job_max_wait_s=1e6,
)


class Scene:
    """A gate, its clients, and what came of them."""

    def __init__(self, slots: int, rules: AdmissionSettings = ROOMY) -> None:
        self.slots = slots
        self.loop = asyncio.get_running_loop()
        self.entered: list[str] = []
        self.waited_s: dict[str, float] = {}
        self.refused: dict[str, ApiError] = {}
        self.outcomes: list[tuple[RequestClass, Outcome]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.gate = Gate(
            model="m",
            rules=rules,
            slots=lambda: self.slots,
            retry_after_s=5,
            loop=self.loop,
            observe=lambda class_, outcome, _: self.outcomes.append((class_, outcome)),
        )

    def send(self, class_: RequestClass, name: str, hold_s: float = 1.0, **options: Any) -> "asyncio.Task[None]":
        """Send a request called `name`, of the user of that name unless `options` say otherwise."""
        task = asyncio.create_task(self._visit(class_, name, hold_s, {"app": "app", "user": name} | options))
        self.tasks.append(task)
        return task

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Wait for all requests; what none of them should meet is raised."""
        for ended in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def is_empty(self) -> bool:
        """Whether nobody holds a slot or waits."""
        numbers = self.gate.numbers()
        return not any((*numbers.inside.values(), *numbers.waiting.values()))

    async def _visit(self, class_: RequestClass, name: str, hold_s: float, options: dict[str, Any]) -> None:
        try:
            async with self.gate.enter(class_, **options) as ticket:
                self.entered.append(name)
                self.waited_s[name] = ticket.waited_s
                await asyncio.sleep(hold_s)
        except ApiError as error:
            self.refused[name] = error


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time."""

    @functools.wraps(test)
    def synchronous(**arguments: Any) -> None:
        run(test(**arguments))

    return synchronous


@asynccontextmanager
async def measured(slots: int, service_s: float, rules: AdmissionSettings) -> AsyncIterator[Scene]:
    """A scene whose gate has seen enough requests of `service_s` to know its rate, and is empty."""
    scene = Scene(slots, rules)
    for number in range(MEMORY * 3 // slots):
        for each in range(slots):
            scene.send("interactive", f"past {number} {each}", service_s)
        await scene.finish()
    scene.entered.clear()
    yield scene
    await scene.finish()
    assert scene.is_empty()


@virtual
async def test_a_free_slot_is_entered_without_waiting() -> None:
    """As many as there are slots are inside at once; the next one waits for exactly one of them."""
    scene = Scene(slots=2)
    for name in ("a", "b", "c"):
        scene.send("interactive", name, hold_s=3)
    await scene.finish()
    assert scene.waited_s == {"a": 0, "b": 0, "c": 3}
    assert scene.outcomes == [("interactive", "entered")] * 3
    assert scene.is_empty()


@virtual
async def test_a_thousand_requests_delay_another_users_first_by_at_most_one() -> None:
    """Whatever one user has queued, another's first request is next or next but one."""
    scene = Scene(slots=1)
    for _ in range(1001):
        scene.send("interactive", "hog")
    await scene.settle()
    scene.send("interactive", "other")
    await scene.finish()
    assert scene.entered.index("other") <= 2  # the one inside, at most one of the queue, then the other user


@virtual
async def test_users_of_a_class_are_served_in_turn() -> None:
    """Each user gets one turn a round, in the order of arrival, whatever the applications are."""
    scene = Scene(slots=1)
    scene.send("interactive", "first", app="x", user=None)
    for name, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            scene.send("interactive", f"{name}{number}", app="y" if name == "c" else "x", user=name)
    await scene.finish()
    assert scene.entered == ["first", "a0", "b0", "c0", "a1", "c1", "a2"]


@virtual
async def test_the_same_user_name_of_two_applications_is_two_users() -> None:
    """Applications do not share their users' turns."""
    scene = Scene(slots=1)
    for number in range(3):
        scene.send("interactive", f"x{number}", app="x", user="u")
    scene.send("interactive", "y0", app="y", user="u")
    await scene.finish()
    assert scene.entered == ["x0", "x1", "y0", "x2"]


@virtual
async def test_higher_classes_go_first() -> None:
    """A freed slot goes to people, then agents, then jobs, in whatever order they came."""
    scene = Scene(slots=1)
    scene.send("job", "inside")
    scene.send("job", "j")
    scene.send("agent", "a")
    scene.send("interactive", "i")
    scene.send("agent", "a2")
    await scene.finish()
    assert scene.entered == ["inside", "i", "a", "a2", "j"]


@pytest.mark.parametrize("lower", [["job"], ["agent"], ["job", "agent"]])
@virtual
async def test_a_lower_class_is_passed_over_so_often_and_no_more(lower: list[RequestClass]) -> None:
    """Under a flood of people each waiting class gets a turn in every so many, and together no more than promised."""
    every = ROOMY.lower_class_every
    scene = Scene(slots=1)
    for number in range(200):
        scene.send("interactive", f"interactive {number}")
        for class_ in lower:
            scene.send(class_, f"{class_} {number}")
    await scene.finish()
    classes = [name.split()[0] for name in scene.entered[: scene.entered.index("interactive 199")]]
    for class_ in lower:
        turns = [index for index, each in enumerate(classes) if each == class_]
        gaps = [later - earlier for earlier, later in itertools.pairwise(turns)]
        assert turns[0] <= every + 1
        assert len(gaps) > 15
        assert max(gaps) <= every + 1
        assert min(gaps) >= every
    kept_by_people = ((every - 1) / every) ** len(lower)
    assert classes.count("interactive") >= len(classes) * kept_by_people - 1


@virtual
async def test_background_work_leaves_slots_to_people() -> None:
    """Jobs hold their share, agents and jobs theirs, and an interactive request enters at once beside them."""
    scene = Scene(slots=16)
    for number in range(50):
        scene.send("job", f"j{number}")
    await scene.settle()
    assert scene.gate.numbers().inside == {"interactive": 0, "agent": 0, "job": 8}
    for number in range(50):
        scene.send("agent", f"a{number}")
    await scene.settle()
    assert scene.gate.numbers().inside == {"interactive": 0, "agent": 4, "job": 8}
    for number in range(4):
        scene.send("interactive", f"i{number}")
    await scene.settle()
    assert scene.gate.numbers().inside == {"interactive": 4, "agent": 4, "job": 8}
    await scene.finish()
    assert all(scene.waited_s[f"i{number}"] == 0 for number in range(4))


@pytest.mark.parametrize("seed", range(5))
@virtual
async def test_a_persons_wait_is_bounded_whatever_the_background(seed: int) -> None:
    """Behind n others, with R slots that are people's alone and T the longest service, at most (n / (p R) + 1) T."""
    chance, longest_s, reserved = random.Random(seed), 10.0, 4
    kept_by_people = ((ROOMY.lower_class_every - 1) / ROOMY.lower_class_every) ** 2
    scene = Scene(slots=16)
    for number in range(300):
        scene.send("job", f"j{number}", chance.uniform(1, longest_s))
        scene.send("agent", f"a{number}", chance.uniform(1, longest_s))
    await scene.settle()
    for number in range(60):
        scene.send("interactive", f"i{number}", chance.uniform(1, longest_s))
    await scene.finish()
    waits_s = [scene.waited_s[f"i{number}"] for number in range(60)]
    assert waits_s[:reserved] == [0] * reserved
    assert max(waits_s) > longest_s
    for ahead, waited_s in enumerate(waits_s[reserved:]):
        assert waited_s <= (ahead / (kept_by_people * reserved) + 1) * longest_s


@virtual
async def test_agents_in_their_whole_share_leave_none_of_it_to_jobs() -> None:
    """The agents' share contains the jobs': together they never hold more."""
    scene = Scene(slots=8)
    for number in range(10):
        scene.send("agent", f"a{number}")
        await scene.settle()
    scene.send("job", "j")
    await scene.settle()
    assert scene.gate.numbers().inside == {"interactive": 0, "agent": 6, "job": 0}
    await scene.finish()


@virtual
async def test_a_single_slot_serves_every_class() -> None:
    """A share of less than one slot is one."""
    scene = Scene(slots=1)
    for class_ in CLASSES:
        scene.send(class_, class_)
        await scene.finish()
    assert scene.entered == list(CLASSES)


@pytest.mark.parametrize(
    ("rules", "requests", "error", "status"),
    [
        ({"max_waiting_per_user": 2}, [("interactive", "app", "u")] * 3, CallerQueueFull, 429),
        ({"max_waiting_per_app": 2}, [("job", "app", user) for user in "uvw"], CallerQueueFull, 429),
        ({"max_waiting_per_app": 2}, [("interactive", "app", None)] * 3, CallerQueueFull, 429),
        ({"max_waiting_jobs": 2}, [("job", app, app) for app in "xyz"], QueueFull, 503),
        ({"max_waiting_agents": 2}, [("agent", app, app) for app in "xyz"], QueueFull, 503),
        (
            {"max_waiting": 3, "max_waiting_agents": 1, "max_waiting_jobs": 1},
            [("job", "x", "u"), ("interactive", "x", "u"), ("agent", "y", "v"), ("interactive", "z", "w")],
            QueueFull,
            503,
        ),
    ],
)
@virtual
async def test_what_exceeds_a_bound_is_refused_at_once(
    rules: dict[str, int], requests: list[tuple[RequestClass, str, str | None]], error: type[ApiError], status: int
) -> None:
    """Up to the bound requests wait; the one beyond hears 429 for its own bound and 503 for the service's."""
    scene = Scene(1, AdmissionSettings.model_validate(ROOMY.model_dump() | rules))
    scene.send("interactive", "inside", user="somebody")
    await scene.settle()
    for number, (class_, app, user) in enumerate(requests):
        scene.send(class_, str(number), app=app, user=user)
    await scene.settle()
    last = str(len(requests) - 1)
    assert list(scene.refused) == [last]
    assert type(scene.refused[last]) is error
    assert scene.refused[last].status == status
    assert scene.loop.time() == 0
    await scene.finish()
    assert len(scene.entered) == len(requests)


@virtual
async def test_a_users_background_work_does_not_shut_the_user_out() -> None:
    """The caller's bounds are counted by class."""
    scene = Scene(1, ROOMY.model_copy(update={"max_waiting_per_user": 2, "max_waiting_per_app": 2}))
    for number in range(5):
        scene.send("job", f"j{number}", user="u")
    scene.send("interactive", "i", user="u")
    await scene.finish()
    assert set(scene.refused) == {"j3", "j4"}
    assert scene.entered == ["j0", "i", "j1", "j2"]


@virtual
async def test_a_refusal_looks_as_openai_clients_expect() -> None:
    """The envelope has type and code, and Retry-After is the configured one while no rate is known."""
    scene = Scene(1, ROOMY.model_copy(update={"max_waiting_per_user": 1}))
    for number in range(3):
        scene.send("interactive", str(number), app="shop", user="u")
    await scene.settle()
    error = scene.refused["2"]
    assert error.headers == {"retry-after": "5"}
    body = orjson.loads(error.body())["error"]
    assert (body["type"], body["code"]) == ("requests", "rate_limit_exceeded")
    assert body["message"] == (
        "User 'u' of application 'shop' has reached its limit of 1 waiting requests of class 'interactive' for model "
        "'m'. Please try again in 5 s."
    )
    await scene.finish()


@pytest.mark.parametrize(
    ("class_", "deadline_s", "waits_s"), [("interactive", 7, 7), ("interactive", 99, 10), ("job", 500, 120)]
)
@virtual
async def test_nobody_waits_beyond_deadline_or_max_wait(class_: RequestClass, deadline_s: int, waits_s: int) -> None:
    """The lesser of the request's deadline and its class's maximum wait ends the wait with a typed error."""
    scene = Scene(0, AdmissionSettings())
    await scene.send(class_, "late", deadline_s=deadline_s)
    assert scene.loop.time() == waits_s
    error = scene.refused["late"]
    assert isinstance(error, QueueTimeout)
    assert (error.status, error.code, error.retry_after_s) == (503, "queue_timeout", 5)
    assert scene.outcomes == [(class_, "timeout")]
    assert scene.is_empty()


@virtual
async def test_a_replica_that_comes_is_used_by_those_who_wait() -> None:
    """Nothing tells the gate that slots have come; who waits enters all the same, soon and in order."""
    scene = Scene(slots=0)
    for name in ("a", "b", "c"):
        scene.send("interactive", name)
    await asyncio.sleep(5)
    assert scene.entered == []
    scene.slots = 2
    await asyncio.sleep(0.2)
    assert scene.entered == ["a", "b"]
    scene.slots = 0
    await asyncio.sleep(5)
    assert scene.entered == ["a", "b"]
    scene.slots = 1
    await scene.finish()
    assert scene.entered == ["a", "b", "c"]


@virtual
async def test_a_newcomer_does_not_overtake_with_a_slot_that_has_just_come() -> None:
    """Slots that came into being go first to those who wait."""
    scene = Scene(slots=0)
    scene.send("interactive", "a")
    await scene.settle()
    scene.slots = 1
    scene.send("interactive", "b")
    await scene.finish()
    assert scene.entered == ["a", "b"]


@virtual
async def test_who_could_not_make_it_is_refused_before_waiting() -> None:
    """With 4 slots of 2 s, the 12th in the queue waits 6 s: longer than 5.9 s, not than 6.1 s; Retry-After says it."""
    async with measured(4, 2.0, ROOMY) as scene:
        for number in range(4 + 11):
            scene.send("interactive", f"before {number}", 2.0)
        await scene.settle()
        now = scene.loop.time()
        scene.send("interactive", "refused", 2.0, deadline_s=5.9)
        await scene.settle()
        assert scene.loop.time() == now
        assert isinstance(scene.refused["refused"], QueueTimeout)
        assert scene.refused["refused"].headers == {"retry-after": "6"}
        scene.send("interactive", "accepted", 2.0, deadline_s=6.1)
    assert scene.waited_s["accepted"] == pytest.approx(6)
    assert list(scene.refused) == ["refused"]


@virtual
async def test_an_expected_wait_counts_only_who_goes_before() -> None:
    """A user whose turn is next is not refused because another user's queue is long, nor a person because of jobs."""
    async with measured(2, 1.0, ROOMY) as scene:
        for number in range(50):
            scene.send("interactive", f"hog {number}", user="hog")
            scene.send("job", f"job {number}", user="hog")
        await scene.settle()
        scene.send("interactive", "hogs next", user="hog", deadline_s=10)
        scene.send("interactive", "other", deadline_s=1.5)
        scene.send("job", "another's job", deadline_s=10)
        await scene.settle()
        assert isinstance(scene.refused.pop("hogs next"), QueueTimeout)
        assert scene.refused == {}
    assert scene.waited_s["other"] <= 1.5


@virtual
async def test_retry_after_is_bounded() -> None:
    """However long the queue, a client is told a number that it can live with."""
    async with measured(1, 30.0, ROOMY) as scene:
        for number in range(20):
            scene.send("interactive", f"before {number}", 30.0)
        await scene.settle()
        scene.send("interactive", "refused", deadline_s=1)
        await scene.settle()
        assert scene.refused["refused"].retry_after_s == ROOMY.max_retry_after_s


@virtual
async def test_a_waiting_client_that_leaves_is_forgotten() -> None:
    """Its place in the queue and its bound are free at once, and nobody else is held up."""
    scene = Scene(1, ROOMY.model_copy(update={"max_waiting_per_user": 1}))
    scene.send("interactive", "inside")
    leaving = scene.send("interactive", "leaving", user="u")
    await scene.settle()
    leaving.cancel()
    await scene.settle()
    assert scene.gate.numbers().waiting["interactive"] == 0
    scene.send("interactive", "next", user="u")
    await scene.finish()
    assert scene.entered == ["inside", "next"]
    assert ("interactive", "left") in scene.outcomes
    assert scene.is_empty()


@pytest.mark.parametrize("first", ["free", "cancel"])
@virtual
async def test_a_client_that_leaves_as_its_turn_comes_passes_the_slot_on(first: str) -> None:
    """Granted and cancelled in the same instant, in either order: the next one enters."""
    scene = Scene(slots=1)
    free = asyncio.Event()

    async def hold() -> None:
        async with scene.gate.enter("interactive", "app"):
            await free.wait()

    holder = asyncio.create_task(hold())
    await scene.settle()
    leaving = scene.send("interactive", "leaving")
    scene.send("interactive", "next")
    await scene.settle()
    if first == "cancel":
        leaving.cancel()
        free.set()
    else:
        free.set()
        await asyncio.sleep(0)  # the holder leaves, the slot is given, and its new owner has not run yet
        leaving.cancel()
    await holder
    await scene.finish()
    assert scene.entered == ["next"]
    assert scene.is_empty()


@virtual
async def test_a_failure_inside_frees_the_slot() -> None:
    """Whatever ends the work, the slot is free again."""
    scene = Scene(slots=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with scene.gate.enter("job", "app"):
                raise ZeroDivisionError
    assert scene.is_empty()


def holds_its_share(scene: Scene) -> bool:
    """Whether no class holds more than the rules allow, by their own words."""
    inside, slots = scene.gate.numbers().inside, scene.slots
    background = inside["agent"] + inside["job"]
    return (
        inside["job"] <= max(1, int(0.5 * slots))
        and background <= max(1, int(0.75 * slots))
        and background + inside["interactive"] <= slots
    )


def could_enter(scene: Scene) -> bool:
    """Whether somebody waits although one more of that class would be within the rules."""
    numbers, slots = scene.gate.numbers(), scene.slots
    jobs, agents, people = (numbers.inside[class_] for class_ in reversed(CLASSES))
    free = jobs + agents + people < slots
    room_below = free and jobs + agents < max(1, int(0.75 * slots))
    can = {"interactive": free, "agent": room_below, "job": room_below and jobs < max(1, int(0.5 * slots))}
    return any(can[class_] for class_ in CLASSES if numbers.waiting[class_])


@pytest.mark.parametrize("replicas_come_and_go", [False, True])
@pytest.mark.parametrize("seed", range(5))
@virtual
async def test_storms_break_no_rule(seed: int, replicas_come_and_go: bool) -> None:
    """Random arrivals, departures at any instant, failures, replicas: no slot too many, none leaked, none left idle."""
    chance = random.Random(seed)
    bounds = {"max_waiting": 40, "max_waiting_agents": 15, "max_waiting_jobs": 15, "max_waiting_per_user": 8}
    scene = Scene(8, AdmissionSettings.model_validate(bounds | {"job_share": 0.5, "agent_share": 0.75}))
    max_waiting = 0

    async def visit(class_: RequestClass, user: str) -> None:
        deadline_s = chance.choice((0.5, 3.0, 30.0))
        async with scene.gate.enter(class_, chance.choice("xy"), user, deadline_s) as ticket:
            assert ticket.waited_s <= deadline_s
            await asyncio.sleep(chance.expovariate(1.0))
            if chance.random() < 0.1:
                raise ZeroDivisionError

    for _ in range(300):
        for _ in range(chance.choice((0, 0, 1, 3, 8))):
            visitor = visit(chance.choice(CLASSES), chance.choice("abcdef"))
            scene.tasks.append(asyncio.create_task(visitor))
        await asyncio.sleep(0)  # so that some are cancelled before they started, and some as they are let in
        for task in chance.sample(scene.tasks, k=min(len(scene.tasks), chance.choice((0, 0, 1, 5)))):
            task.cancel()
        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.3)))
        await scene.settle()
        numbers = scene.gate.numbers()
        max_waiting = max(max_waiting, sum(numbers.waiting.values()))
        alive = sum(not task.done() for task in scene.tasks)
        assert sum((*numbers.inside.values(), *numbers.waiting.values())) == alive
        assert sum(numbers.waiting.values()) <= 40
        assert max(numbers.waiting["agent"], numbers.waiting["job"]) <= 15
        assert replicas_come_and_go or holds_its_share(scene)
        assert not could_enter(scene)
        if replicas_come_and_go and chance.random() < 0.05:
            scene.slots = chance.choice((0, 1, 2, 8, 12))
            await asyncio.sleep(2 * RECHECK_S)
            await scene.settle()
    failures = [each for each in await asyncio.gather(*scene.tasks, return_exceptions=True) if each]
    assert {type(each) for each in failures} <= {CallerQueueFull, QueueFull, QueueTimeout, ZeroDivisionError, CANCELLED}
    assert scene.is_empty()
    assert {outcome for _, outcome in scene.outcomes} == {"entered", "full", "timeout", "left"}
    assert max_waiting > 25, "a storm that hardly fills the queue shows little"


@pytest.mark.parametrize("seed", range(20))
def test_the_line_keeps_its_order_whatever_leaves_it(seed: int) -> None:
    """First come first served for a user, one turn each within a class, and no class passed over too often."""
    chance = random.Random(seed)
    every = chance.choice((2, 5, 10))
    line: PriorityQueue[int] = PriorityQueue(lower_class_every=every)
    waiting: dict[int, tuple[RequestClass, tuple[str, str]]] = {}
    turns_by_class: dict[int, Counter[tuple[str, str]]] = {}  # while an item was its user's first: by other users
    passed_over = Counter[RequestClass]()

    def firsts() -> dict[tuple[RequestClass, tuple[str, str]], int]:
        return {where: item for item, where in reversed(waiting.items())}

    for item in range(800):
        class_, flow = chance.choice(CLASSES), (chance.choice("xy"), chance.choice("abc"))
        line.push(class_, flow, item)
        waiting[item] = (class_, flow)
        while len(waiting) > chance.choice((0, 30, 60)):
            if chance.random() < 0.3:
                gone = chance.choice(list(waiting))
                assert line.remove(*waiting[gone], gone)
                assert not line.remove(*waiting.pop(gone), gone)
                continue
            may_go = [each for each in CLASSES if chance.random() < 0.9]
            for first in firsts().values():
                turns_by_class.setdefault(first, Counter())
            popped = line.pop(may_go)
            candidates = [class_ for class_, _ in waiting.values() if class_ in may_go]
            if popped is None:
                assert not candidates
                break
            class_, flow = waiting[popped]
            assert firsts()[class_, flow] == popped
            for first in firsts().values():
                if first != popped and waiting[first][0] == class_:
                    turns_by_class[first][flow] += 1
                    assert turns_by_class[first][flow] <= 1
            for lower in set(candidates):
                passed_over[lower] += CLASSES.index(lower) > CLASSES.index(class_)
                assert passed_over[lower] <= every
            passed_over[class_] = 0
            del waiting[popped]
    assert len(line) == len(waiting)


@pytest.mark.parametrize(("every", "tolerance"), [(3, 0.25), (10, 0.1)])
@pytest.mark.parametrize("seed", range(20))
def test_who_goes_before_is_foreseen(seed: int, every: int, tolerance: float) -> None:
    """If nobody else comes, exactly so many of its class go first, and nearly so many of all."""
    chance = random.Random(seed)
    line: PriorityQueue[int] = PriorityQueue(lower_class_every=every)
    classes: dict[int, RequestClass] = {}
    for item in range(200):
        classes[item] = chance.choices(CLASSES, (5, 2, 2))[0]
        line.push(classes[item], ("x", chance.choice("aabc")), item)
    class_, flow = chance.choice(CLASSES), ("x", chance.choice("abd"))
    own, others = line.before(class_, flow)
    line.push(class_, flow, -1)
    gone = Counter[bool]()
    while (before := line.pop(CLASSES)) != -1:
        assert before is not None
        gone[classes[before] == class_] += 1
    assert gone[True] == own
    assert own + others + 1 == pytest.approx(gone.total() + 1, rel=tolerance)


def test_a_fair_queue_knows_what_it_holds() -> None:
    """Lengths follow pushes, pops and removals; what is not there cannot be removed."""
    queue: FairQueue[str, int] = FairQueue()
    for flow, item in (("a", 1), ("a", 2), ("b", 3)):
        queue.push(flow, item)
    assert (len(queue), queue.waiting("a"), queue.waiting("b"), queue.waiting("c")) == (3, 2, 1, 0)
    assert not queue.remove("b", 1)
    assert queue.remove("a", 1)
    assert [queue.pop(), queue.pop()] == [("a", 2), ("b", 3)]
    assert len(queue) == 0
    with pytest.raises(KeyError):
        queue.pop()


def test_light_load_does_not_look_like_a_slow_engine() -> None:
    """A request of 2 s each minute says half a completion a second and slot, as a full gate would."""
    rate = ServiceRate()
    for number in range(FEWEST):
        assert rate.per_slot(number * 60) is None
        rate.taken(number * 60)
        rate.freed(number * 60 + 2)
    assert rate.per_slot(86_400) == pytest.approx(0.5)


def test_the_rate_follows_a_change_within_its_memory() -> None:
    """Three times MEMORY completions after the engine became ten times slower, the old speed is forgotten."""
    rate, now = ServiceRate(), 0.0
    for service_s in (1.0, 10.0):
        for _ in range(3 * MEMORY):
            rate.taken(now)
            now += service_s
            rate.freed(now)
    assert rate.per_slot(now) == pytest.approx(0.1, rel=0.05)


def test_a_stall_shows_before_anything_completes() -> None:
    """While requests are stuck inside, the rate falls with every second."""
    rate, now = ServiceRate(), 0.0
    for _ in range(3 * MEMORY):
        rate.taken(now)
        now += 1
        rate.freed(now)
    for _ in range(10):
        rate.taken(now)
    assert rate.per_slot(now) == pytest.approx(1, rel=0.06)
    assert rate.per_slot(now + 100) == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize(
    ("replicas", "max_in_flight", "workers", "slots"),
    [(0, 64, 1, 0), (1, 64, 1, 64), (3, 64, 2, 96), (1, 3, 2, 1), (1, 1, 4, 1)],
)
def test_workers_divide_the_slots(replicas: int, max_in_flight: int, workers: int, slots: int) -> None:
    """Each worker has its part of what the replicas take, and at least one slot while there is a replica."""
    assert slots_of_worker(replicas, max_in_flight, workers) == slots


@pytest.mark.parametrize(
    ("engine", "deployment", "expected"),
    [({}, {}, 64), ({"max_num_seqs": 8}, {}, 8), ({"max_num_seqs": 8}, {"max_in_flight": 12}, 12)],
)
def test_a_replica_takes_what_its_model_file_says(
    engine: dict[str, int], deployment: dict[str, int], expected: int
) -> None:
    """`max_in_flight`, else the engine's batch, else 64; changing it restarts no engine."""
    spec = ModelSpec(id="m", path="p", engine=engine, deployment=DeploymentSpec.model_validate(deployment))
    assert spec.max_in_flight == expected
    assert spec.fingerprint() == ModelSpec(id="m", path="p", engine=engine).fingerprint()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"job_share": 0.8, "agent_share": 0.75}, "job_share 0.8 must not exceed agent_share 0.75"),
        ({"max_waiting": 128}, "agents and jobs could fill the queue"),
    ],
)
def test_rules_that_shut_people_out_are_refused(rules: dict[str, float], message: str) -> None:
    """The configuration cannot let background work fill slots or queue."""
    with pytest.raises(ValidationError, match=message):
        AdmissionSettings.model_validate(rules)


@virtual
async def test_a_request_holds_a_slot_for_each_of_its_sequences() -> None:
    """Of four slots, three answers leave one: another three wait, and nobody who comes later passes them."""
    scene = Scene(4)
    scene.send("interactive", "three", sequences=3)
    scene.send("interactive", "one")
    await scene.settle()
    assert scene.entered == ["three", "one"]
    assert scene.gate.numbers().inside["interactive"] == 4
    scene.send("interactive", "three more", 1.0, sequences=3)
    scene.send("interactive", "small", 0.1)
    scene.send("job", "a job", 0.1)
    await scene.settle()
    assert scene.entered == ["three", "one"]
    await scene.finish()
    assert scene.entered[2] == "three more"
    assert scene.is_empty()


@virtual
async def test_one_with_more_sequences_than_slots_goes_in_alone() -> None:
    """It is not refused for ever, and takes no slot from people that its class may not hold."""
    scene = Scene(8)
    scene.send("job", "large", 5.0, sequences=100)
    await scene.settle()
    assert scene.entered == ["large"]
    scene.send("job", "other", 1.0)
    for number in range(4):
        scene.send("interactive", f"person {number}", 1.0)
    await scene.settle()
    assert len(scene.entered) == 5, "the job waits, people do not"
    await scene.finish()
    assert scene.waited_s["other"] == 5.0
    assert scene.is_empty()


@virtual
async def test_who_waits_for_many_slots_and_leaves_lets_the_next_in() -> None:
    """A client that gives up makes way for one that needs less."""
    scene = Scene(2)
    scene.send("interactive", "first", 10.0)
    many = scene.send("interactive", "many", sequences=2)
    small = scene.send("interactive", "small", 1.0)
    await scene.settle()
    assert scene.entered == ["first"]
    many.cancel()
    await small
    assert scene.waited_s["small"] == 0
    await asyncio.gather(*scene.tasks, return_exceptions=True)
    assert scene.is_empty()
