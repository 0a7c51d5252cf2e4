"""The events of a run: text as it is generated, and structured content next to it.

They are plain serialisable data. An ordinary OpenAI client sees only the tokens; the rest is an extension that it can
ignore. `document` writes an event as JSON, for the HTTP interface and for recordings.
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
    """A finished step of the run: routing, a tool, the narration. `detail` never contains the person's words."""

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
    """A button: its label, and the message that it sends."""

    label: str
    says: str


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a statement. A link is only shown; nothing but the person follows it."""

    title: str
    url: str | None = None
    why: str = ""
    type: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An effect that waits for the person's yes, or its result (`agents.proposals`)."""

    id: str
    effect: str
    summary: str
    state: ProposalState = "pending"
    can_undo: bool = False
    type: Literal["proposal"] = "proposal"


@dataclass(frozen=True, slots=True)
class ClientCalls:
    """Calls of the client's own tools, for the client to run; only from an agent that passes `tools` on."""

    calls: Sequence[ToolCall]
    type: Literal["client_calls"] = "client_calls"


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a run; exactly one for each run.

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
