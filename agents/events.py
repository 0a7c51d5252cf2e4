"""What an agent tells while it runs: text as it comes, and what stands beside it.

Only plain serialisable data. An ordinary client is given the tokens alone; the rest is an extension that it may ignore.
`document` is how an event is written as JSON, in the HTTP interface and in recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from models.chat import FinishReason, TokenUsage, ToolCall

NO_TOKENS = TokenUsage()
StepState = Literal["done", "failed", "skipped", "repaired"]
ProposalState = Literal["pending", "applied", "undone", "declined"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text."""

    text: str
    type: Literal["token"] = "token"


@dataclass(frozen=True, slots=True)
class ToolStep:
    """A step of the run that is over: routing, a tool, the narration. `detail` holds no words of the person."""

    name: str
    state: StepState
    detail: str = ""
    elapsed_s: float = 0.0
    usage: TokenUsage = NO_TOKENS
    type: Literal["tool_step"] = "tool_step"


@dataclass(frozen=True, slots=True)
class Card:
    """Something to show: `kind` says what (`game`, `playlist`, `video`), `data` is all that is needed to draw it.

    `actions` are buttons; each sends its text as the person's next message.
    """

    kind: str
    title: str
    data: Mapping[str, Any]
    actions: Sequence["Action"] = ()
    type: Literal["card"] = "card"


@dataclass(frozen=True, slots=True)
class Action:
    """A button: what stands on it, and what the person says by pressing it."""

    label: str
    says: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where something that was said comes from. A link is shown, and followed by nobody but the person."""

    title: str
    url: str | None = None
    why: str = ""
    type: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An effect that waits for the person's yes, or what became of one (`agents.proposals`)."""

    id: str
    effect: str
    summary: str
    state: ProposalState = "pending"
    can_undo: bool = False
    type: Literal["proposal"] = "proposal"


@dataclass(frozen=True, slots=True)
class ClientCalls:
    """Calls of the client's own tools, which it is to run; only of an agent that passes `tools` on."""

    calls: Sequence[ToolCall]
    type: Literal["client_calls"] = "client_calls"


@dataclass(frozen=True, slots=True)
class Done:
    """The end of every run, once.

    Attributes:
        finish_reason: as of a model's answer; `length` when a limit of the run ended it.
        usage: tokens of all its model calls.
        models: ids of the models that had a part in it, in order, each once.
        limit: which limit ended it, if one did.

    """

    finish_reason: FinishReason = "stop"
    usage: TokenUsage = NO_TOKENS
    models: Sequence[str] = field(default_factory=tuple)
    limit: str | None = None
    type: Literal["done"] = "done"


Event = Token | ToolStep | Card | Source | Proposal | ClientCalls | Done


def document(event: Event) -> dict[str, Any]:
    """The event as plain JSON data."""
    return {"type": event.type} | asdict(event)
