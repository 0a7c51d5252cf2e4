"""What the safety step says of a conversation and of a reply: a level, a category, what to do, and why.

It is no diagnosis. `reasons` are names of rules and stages, never words that a person wrote: they can be logged.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How clearly a danger is spoken of; each includes those below."""

    NONE = 0
    DISTRESS = 1  # somebody is not well, or the subject is spoken of
    VEILED = 2  # a danger that is hinted at, or that builds up over turns
    EXPLICIT = 3  # a danger in plain words


class Category(StrEnum):
    """What the danger is; the earlier one is told when two are of one level."""

    SELF_HARM = "self_harm"
    MINORS = "minors"  # sexual, and a child is in it
    ABUSE = "abuse"
    EATING_DISORDER = "eating_disorder"
    NONE = "none"


class Action(StrEnum):
    """What whoever serves the conversation should do."""

    CONTINUE = "continue"  # the model answers
    ADD_HELP = "add_help"  # the model answers, and where help is found stands after it
    FIXED_REPLY = "fixed_reply"  # the fixed text, and no model
    REFUSE = "refuse"  # a fixed refusal, and no model


@dataclass(frozen=True, slots=True)
class Risk:
    """What was found in a conversation's latest turn, seen with those before.

    Attributes:
        level: how clearly.
        category: of what; NONE at level NONE.
        action: what to do.
        reasons: names of what found it.
        language: of the latest message, `en`, `bn` or `hi`, for the fixed text.
        is_minor: the person said that they are under 18.

    """

    level: Level = Level.NONE
    category: Category = Category.NONE
    action: Action = Action.CONTINUE
    reasons: tuple[str, ...] = ()
    language: str = "en"
    is_minor: bool = False


@dataclass(frozen=True, slots=True)
class ReplyCheck:
    """Whether a model's reply may be shown; where not, `replacement` is what to show."""

    is_safe: bool
    reasons: tuple[str, ...] = ()
    replacement: str | None = None


NO_RISK = Risk()
