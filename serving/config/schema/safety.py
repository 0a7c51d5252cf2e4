"""The sections `safety` and `consent`: what a reply may say, and what may be sent to an external model."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from serving.config.frozen import Frozen


class GuardSpec(Frozen):
    """A guard model: a served model that judges messages beside the rules (docs/safety.md)."""

    model: str = Field(description="id of the guard model, which has to be models.active or one of models.also")
    format: Literal["qwen3guard", "granite_guardian"] = Field(
        description="what it is asked and how its answer is read: as Qwen3Guard-Gen's or as Granite Guardian's"
    )


class SafetySettings(Frozen):
    """The safety step before and after every generation, and required notices (docs/safety.md)."""

    enabled: bool = Field(
        default=True, description="check messages and replies, except for keys made with --own-safety REASON"
    )
    hints: Literal["guide", "fixed"] = Field(
        default="guide",
        description="response to a hint of self-harm: the model's guided reply and helplines, or the fixed text",
    )
    classifier: Literal["off", "people", "all"] = Field(
        default="people",
        description="classify the latest message by its embedding too: never, for requests with an end user, for all",
    )
    max_wait_s: float = Field(
        default=0.3,
        gt=0,
        le=5,
        description="timeout of the classifier and of the guard, s; after it, the rules alone decide",
    )
    guard: GuardSpec | None = Field(default=None, description="a model that judges messages too; none: off")
    check_replies: bool = Field(default=True, description="check replies while they are sent")
    stream: Literal["as_it_comes", "by_sentence"] = Field(
        default="as_it_comes",
        description="send chunks at once, or after a check of their sentence; in danger always the latter",
    )
    notices: Literal["off", "agents"] = Field(
        default="agents",
        description="tell users that this is a program, and remind them of breaks: never, or with agents and with keys "
        "made with --notices on",
    )
    places: Path = Field(
        default=Path("configs/safety.yaml"),
        description="file with the duties of each jurisdiction, relative to the root",
    )
    jurisdictions: tuple[str, ...] = Field(
        default=(), description="jurisdictions that apply to all users; the strictest duties win"
    )


class ConsentSettings(Frozen):
    """What may be sent to an external model, and the text that is sent when nothing can answer."""

    app_covers_users: bool = Field(
        default=False,
        description="the key's consent also covers end users who were never asked; if false, each must consent",
    )
    words: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="more words that make a text private, by class, such as health: [krebs*]; * matches any letters",
    )
    degraded_text: str = Field(
        default="I can't give you a proper answer right now: part of me is being repaired, and what you wrote is too "
        "personal to send anywhere else. Please try again in a little while.",
        min_length=1,
        description="the answer to a private question that only an external model could answer",
    )
    crisis_text: str | None = Field(
        default=None,
        min_length=1,
        description="the answer to a person who writes about self-harm when nothing else can answer; helplines of "
        "their country, and directories of helplines, always follow; none: the text of agents/safety/reply.py",
    )

    @model_validator(mode="after")
    def _classes_fit_a_header(self) -> Self:
        for name in self.words:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
                raise ValueError(
                    f"words: a class name has lower-case letters, digits and _, and starts with a letter, got {name!r}"
                )
        return self
