"""A tool: a plain typed function that an agent's code runs, whoever chose it, and how its result is told.

`Params` is a pydantic model; its JSON schema is the grammar of what a language model may write. A result always has
words of its own (`plain`), so that a run without a model ends in an answer too. A tool with an effect does nothing when
it runs: it returns a proposal, which the person confirms (`agents.proposals`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from agents.base import RunContext
from agents.events import Card, Source
from models.chat import ToolSpec

P = TypeVar("P", bound=BaseModel)


class ToolFailed(Exception):
    """A tool could not do its work; the message is in words for the person."""


class NoParams(BaseModel):
    """Of a tool that takes nothing."""


@dataclass(frozen=True, slots=True)
class ProposedEffect:
    """What a tool would have done: `effect` names its handler, `arguments` are JSON, `summary` is for the person."""

    effect: str
    summary: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool found or did.

    Attributes:
        plain: the answer in words of this program, told as it is when no model narrates.
        facts: what a model is told in order to narrate; empty: `plain`.
        is_outside: part of `facts` was written by somebody outside: it is fenced, and taints the run.
        cards: to show.
        sources: of what is told.
        proposed: effects that wait for a yes.
        is_final: `plain` is told as it is, whatever model there is.

    """

    plain: str
    facts: str = ""
    is_outside: bool = False
    cards: Sequence[Card] = ()
    sources: Sequence[Source] = ()
    proposed: Sequence[ProposedEffect] = ()
    is_final: bool = False


@dataclass(frozen=True)
class Tool(Generic[P]):
    """A tool of an agent.

    Attributes:
        name: a word or two with underscores; what a router chooses among.
        description: what it is for, in one sentence, with words that people would use.
        params: what it takes.
        run: does it; may raise ToolFailed.
        guess: its parameters from the person's words, by rules; None where they say too little. Used without a model,
            and when a model's are not valid.
        narration: how a model is to tell the result; empty: in its own words, briefly.

    """

    name: str
    description: str
    params: type[P]
    run: Callable[[P, RunContext], Awaitable[ToolResult]]
    guess: Callable[[str], P | None]
    narration: str = ""

    def spec(self) -> ToolSpec:
        """As a model is told of it."""
        return ToolSpec(self.name, self.description, self.params.model_json_schema())

    @property
    def takes_nothing(self) -> bool:
        """Whether there is nothing to fill in."""
        return not self.params.model_fields
