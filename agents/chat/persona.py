"""Personas: the friend's character and tone. Each is a YAML file; its name is the persona's id.

A person chooses one and tunes its tone. Neither affects safety, which no persona decides.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class PersonaError(Exception):
    """The file of a persona is invalid; the message names file, key and accepted values."""


class Tone(BaseModel):
    """The way the friend speaks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmth: Literal["calm", "warm", "cheerful"] = "warm"
    humour: Literal["none", "light", "playful"] = "light"
    formality: Literal["casual", "neutral", "polite"] = "casual"
    length: Literal["short", "medium", "long"] = "short"

    def tuned(self, changes: Mapping[str, Any]) -> "Tone":
        """A copy of the tone with changes; raises ValidationError."""
        return Tone.model_validate(self.model_dump() | dict(changes))

    def line(self) -> str:
        """The tone as instructions for a model, one sentence each."""
        sentences = (_WARMTH[self.warmth], _HUMOUR[self.humour], _FORMALITY[self.formality], _LENGTH[self.length])
        return " ".join(each for each in sentences if each)

    @property
    def max_tokens(self) -> int:
        """The token limit of an answer of this length."""
        return {"short": 160, "medium": 320, "long": 640}[self.length]


class Persona(BaseModel):
    """The character of the friend.

    `greeting` opens a conversation; `away` is the answer while no model is available.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    name: str = Field(min_length=1, max_length=64)
    description: str = Field(max_length=200)
    prompt: str = Field(min_length=1, max_length=2000)
    tone: Tone = Tone()
    greeting: str = Field(min_length=1, max_length=300)
    away: str = Field(min_length=1, max_length=300)


def read_personas(folder: Path) -> Mapping[str, Persona]:
    """All personas in a folder, by id; raises PersonaError, also if there is none."""
    personas = {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}
    if not personas:
        raise PersonaError(f"{folder}: there is no persona; at least one file *.yaml is needed")
    return personas


def _read(path: Path) -> Persona:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as problem:
        raise PersonaError(f"{path}: no YAML: {problem}") from problem
    if not isinstance(data, dict):
        raise PersonaError(f"{path}: expected keys with values")
    try:
        return Persona.model_validate({**data, "id": path.stem})
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(each) for each in first["loc"])
        raise PersonaError(f"{path}: {key}: {first['msg']}") from problem


_WARMTH = {"calm": "Be calm and gentle.", "warm": "Be warm.", "cheerful": "Be cheerful."}
_HUMOUR = {"none": "", "light": "A little humour is fine.", "playful": "Be playful."}
_FORMALITY = {"casual": "", "neutral": "Speak plainly.", "polite": "Be polite."}
_LENGTH = {
    "short": "Answer in one to three sentences.",
    "medium": "Answer in a short paragraph.",
    "long": "Take the space that you need.",
}
