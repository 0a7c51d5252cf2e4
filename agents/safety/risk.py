"""The results of the safety step for a conversation and for a reply: level, category, action, reasons.

It is not a diagnosis. `reasons` are names of rules and stages, never a person's words, so they can be logged.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How clear the danger is; each level includes the lower ones."""

    NONE = 0
    DISTRESS = 1  # somebody is not well, or the subject is spoken of
    VEILED = 2  # a danger that is hinted at, or that builds up over turns
    EXPLICIT = 3  # a danger in plain words


class Category(StrEnum):
    """The kind of danger; of two at the same level, the earlier one is reported."""

    SELF_HARM = "self_harm"
    MINORS = "minors"  # sexual, and a child is in it
    ABUSE = "abuse"
    EATING_DISORDER = "eating_disorder"
    NONE = "none"


class Action(StrEnum):
    """What the caller should do."""

    CONTINUE = "continue"  # the model answers
    ADD_HELP = "add_help"  # the model answers, and where help is found stands after it
    FIXED_REPLY = "fixed_reply"  # the fixed text, and no model
    REFUSE = "refuse"  # a fixed refusal, and no model


@dataclass(frozen=True, slots=True)
class Risk:
    """The risk of the latest turn of a conversation, given the turns before it.

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
    """Whether to show a model's reply; if not, `replacement` is shown instead."""

    is_safe: bool
    reasons: tuple[str, ...] = ()
    replacement: str | None = None


NO_RISK = Risk()
