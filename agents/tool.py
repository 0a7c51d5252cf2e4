"""A tool: a typed function that an agent's code runs, whether rules or a model chose it, and how to word its result.

Its parameters are a pydantic model, whose JSON schema constrains what a language model may write. A result always has a
plain text (`plain`), so that a run without a model ends in an answer, too. A tool with an effect does nothing when it
runs: it returns a proposal, which the person confirms (`agents.proposals`).
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
    """A tool failed; the message is for the person."""


class NoParams(BaseModel):
    """The parameters of a tool that takes none."""


@dataclass(frozen=True, slots=True)
class ProposedEffect:
    """A change that a tool proposes: `effect` names the handler, `arguments` are JSON, `summary` is for the person."""

    effect: str
    summary: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool found or did.

    Attributes:
        plain: the answer in this program's own words, used if no model narrates.
        facts: the text that a narrating model gets; empty: `plain`.
        is_outside: part of `facts` comes from outside: it is fenced, and marks the run as tainted.
        cards: to show.
        sources: where the facts come from.
        proposed: effects that wait for the person's yes.
        is_final: `plain` is the answer even if there is a model.

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
        name: one or two words with underscores; a router chooses among names.
        description: its purpose in one sentence, in words that people would use.
        params: the type of its parameters.
        run: executes it; may raise ToolFailed.
        guess: parses the parameters from the person's words by rules; None if they say too little. Used without a
            model, and if the model's parameters are invalid.
        narration: how a model should word the result; empty: briefly, in its own words.
        writes: it stores something of what the person said at once, without a proposal. So it takes the person's own
            words only, never a model's, and does not run after text from outside entered the run.

    """

    name: str
    description: str
    params: type[P]
    run: Callable[[P, RunContext], Awaitable[ToolResult]]
    guess: Callable[[str], P | None]
    narration: str = ""
    writes: bool = False

    def spec(self) -> ToolSpec:
        """Its specification for a model."""
        return ToolSpec(self.name, self.description, self.params.model_json_schema())

    @property
    def takes_nothing(self) -> bool:
        """Whether it has no parameters."""
        return not self.params.model_fields
