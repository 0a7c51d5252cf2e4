"""What an agent is: an id, its needs, and `run(request, context)`, which yields events until it is done.

`RunContext` is everything that a run may use: the person, the model, the clock, randomness, memory, state, limits. An
agent takes the clients of services in its constructor and reads no globals. It knows neither HTTP nor its caller.
"""

import hashlib
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Literal, Protocol, runtime_checkable

import orjson

from agents.budget import RunBudget
from agents.events import Event
from agents.state import StateStore
from models.chat import ChatMessage, ChatModel
from storage.agents.states import StateKey
from storage.memory.owner import Owner

MAX_TEXT = 1000  # characters of a message that rules read: their expressions are held to that (tests/security)

Need = Literal[
    "model",  # cannot answer at all without one
    "person",  # knows whose it is
    "conversation",  # and in which conversation
    "state",  # keeps something between runs
    "memory",  # is better with the person's memories
    "network",  # calls services outside
]
PassedOn = Literal["tools", "response_format", "images"]


class RequestRefused(Exception):
    """An agent cannot serve the request; `field` names the faulty field as the client wrote it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Unsupported(RequestRefused):
    """The request has a field that this agent neither handles nor passes on."""

    def __init__(self, agent: str, field: str) -> None:
        super().__init__(f"{agent} takes no {field}.", field)


class InvalidParams(RequestRefused):
    """One of the agent's own fields has an unknown value; the message lists the accepted ones."""


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """The request of a person.

    Attributes:
        messages: the conversation, the person's message last; what the client wrote as `system` is among them.
        params: the agent's own fields, e.g. `persona`; each agent says which it takes.
        extra: the client's fields of OpenAI's protocol that go on to the model as they are.
        confirm: the id of a proposal that the person agrees to.
        undo: the id of one that they want undone.

    """

    messages: Sequence[ChatMessage]
    params: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    confirm: str | None = None
    undo: str | None = None

    @property
    def text(self) -> str:
        """The text of the person's last message, cut to MAX_TEXT characters; empty if there is none."""
        return next((each.text for each in reversed(self.messages) if each.role == "user"), "").strip()[:MAX_TEXT]

    @property
    def turn_id(self) -> str:
        """What tells it from the next request, the same when it is repeated; empty if only one message is sent.

        A single message may well be said twice.
        """
        turns = [[each.role, each.text] for each in self.messages if each.role in ("user", "assistant")]
        return hashlib.blake2b(orjson.dumps(turns), digest_size=16).hexdigest() if len(turns) > 1 else ""


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """A statement about the person, and why it was recalled."""

    id: str
    text: str
    why: str = ""


class PersonMemory(Protocol):
    """The memory of the person of a run."""

    async def profile(self) -> Sequence[str]:
        """The lines that are part of every prompt."""

    async def recall(self, question: str, *, limit: int) -> Sequence[MemoryLine]:
        """The memories that match a question; empty also while memory is down."""


@runtime_checkable
class KnowsPersonas(Protocol):
    """A memory of which a part belongs to one persona."""

    def as_persona(self, persona: str) -> None:
        """From now on leave out what belongs to any other persona."""


@runtime_checkable
class LooksBack(Protocol):
    """A memory that also finds events since the last visit."""

    async def look_back(self, since: datetime, now: datetime) -> Sequence[tuple[str, str]] | None:
        """Events that were planned or painful, each with its own key; None while memory is down."""


class StepSpan(Protocol):
    """The open span of a step in a trace; attributes are names and numbers, never words of a person or a model."""

    def note(self, name: str, value: str | int | float | bool) -> None:
        """Set an attribute."""


class Spans(Protocol):
    """Makes the span of a step, which lasts as long as its block, below the one around it."""

    def __call__(self, name: str, attributes: Mapping[str, str], /) -> AbstractContextManager[StepSpan]:
        """The span of this name, by OpenTelemetry's conventions where they have one."""


class _NoSpan:
    def note(self, name: str, value: str | int | float | bool) -> None:
        pass


def no_spans(_name: str, _attributes: Mapping[str, str], /) -> AbstractContextManager[StepSpan]:
    """No trace."""
    return nullcontext(_NoSpan())


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What the active model can be trusted with; its model file declares it.

    `chooses`: its choice of a tool or agent is better than chance; otherwise only rules choose (the demonstration model
    chose music for "tell me a story"). `plans`: it may plan several steps with tools. `max_prompt_tokens`: what its
    context leaves for a prompt. `detects_intents`: it finds requests about memory (`memory.intents.model_answer`).
    """

    chooses: bool = True
    plans: bool = False
    max_prompt_tokens: int = 1500
    detects_intents: bool = False


@dataclass(slots=True)
class RunContext:
    """Everything that one run may use.

    Attributes:
        owner: the person; None if the request names none.
        conversation: the application's id of the conversation; "" if there is none.
        budget: what the run may still use.
        now: the time, aware.
        rng: randomness; a test seeds it.
        new_id: makes an identifier that cannot be guessed.
        model: answers; None if there is none, and the agent works without it.
        traits: of that model.
        zone: the person's time zone.
        memory: the person's memory; None if it is off.
        state: stores documents between runs; None: nothing is stored.
        models_used: ids of the models that answered so far.
        spans: makes the spans of the run's steps.
        has_outside_text: text from outside entered the run; from then on, every effect needs the person's yes.

    """

    owner: Owner | None
    conversation: str
    budget: RunBudget
    now: Callable[[], datetime]
    rng: random.Random
    new_id: Callable[[], str]
    model: ChatModel | None = None
    traits: ModelTraits = ModelTraits()
    zone: tzinfo | None = None
    memory: PersonMemory | None = None
    state: StateStore | None = None
    models_used: list[str] = field(default_factory=list)
    spans: Spans = no_spans
    has_outside_text: bool = False

    def local_now(self) -> datetime:
        """The current time in the person's time zone."""
        return self.now().astimezone(self.zone)

    def state_key(self, agent: str, name: str, *, of_person: bool = False) -> StateKey:
        """The key of a document of this conversation, or of the person in all conversations; needs an owner."""
        assert self.owner is not None, "who keeps state says whose"
        return StateKey(self.owner, agent, "" if of_person else self.conversation, name)


class Agent(Protocol):
    """A counterpart that a person can talk to."""

    @property
    def id(self) -> str:
        """The id without the prefix of model ids, for example `games`."""

    @property
    def description(self) -> str:
        """Its purpose in one sentence, for a router."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the context must provide."""

    @property
    def passes_on(self) -> frozenset[PassedOn]:
        """The client's fields that it passes to the model; other fields are refused by name."""

    def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer; the last event is Done, after which nothing more runs. Closing the iterator stops all work.

        Raises:
            RequestRefused: before the first event.

        """


def missing_needs(agent: Agent, context: RunContext) -> list[Need]:
    """The agent's needs that the context does not meet; memory and network are always optional."""
    has: dict[Need, bool] = {
        "model": context.model is not None,
        "person": context.owner is not None,
        "conversation": bool(context.conversation),
        "state": context.state is not None and context.owner is not None,
    }
    return sorted(need for need in agent.needs if not has.get(need, True))


def client_fields(request: AgentRequest) -> list[PassedOn]:
    """The client's fields in the request that change the answer; not every agent accepts them."""
    found: list[PassedOn] = []
    if request.extra.get("tools"):
        found.append("tools")
    if (request.extra.get("response_format") or {}).get("type", "text") != "text":
        found.append("response_format")
    if any(_has_images(message) for message in request.messages):
        found.append("images")
    return found


def check_fields(agent: Agent, request: AgentRequest) -> None:
    """Refuse by name the fields that the agent does not pass on; raises Unsupported."""
    for field_ in client_fields(request):
        if field_ not in agent.passes_on:
            raise Unsupported(agent.id, _NAMES.get(field_, field_))


def _has_images(message: ChatMessage) -> bool:
    return not isinstance(message.content, str) and any(
        part.get("type") not in (None, "text") for part in message.content
    )


_NAMES = {"images": "messages with images or sounds"}
