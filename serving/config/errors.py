"""Configuration problems: file, key, what is wrong and what would be accepted.

ConfigError
└── carries every `Problem` that one load found, not only the first
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

RENAMED = {  # keys of former versions, by their last part
    "most_answers": "max_answers",
    "most_attempts": "max_attempts",
    "most_candidates": "max_candidates",
    "most_questions": "max_questions",
    "most": "max_items",
    "max_tape_bytes": "max_recording_bytes",
    "interactive_patience_s": "interactive_max_wait_s",
    "agent_patience_s": "agent_max_wait_s",
    "job_patience_s": "job_max_wait_s",
}


@dataclass(frozen=True)
class Problem:
    """One thing to correct; `where` is a file (from the root) or an environment variable."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `str()` has one line for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return what a key is called now or what may be meant, or else the accepted names."""
    names = sorted(valid)
    if RENAMED.get(name) in names:
        return f"; it is called `{RENAMED[name]}` now"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    shown = ", ".join(f"`{candidate}`" for candidate in names[:20])
    return f"; accepted: {shown}{', …' if len(names) > 20 else ''}" if names else ""


def submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model inside an annotation such as `X | None`, if there is one; none in a collection."""
    if get_origin(annotation) in (dict, tuple):
        return None
    return _model_in(annotation)


def named_submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model X of a `dict[str, X]`, if that is the annotation."""
    return _model_in(annotation) if get_origin(annotation) is dict else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def from_validation(
    error: ValidationError, schema: type[BaseModel], origin: Callable[[tuple[str, ...]], str]
) -> list[Problem]:
    """Turn pydantic's report into problems; `origin` says where the value at a key path came from."""
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key" + suggest(path[-1], _fields_at(schema, path[:-1]))
        elif item["type"] == "missing":
            message = "missing, and required"
        elif item["type"] != "value_error":
            message = f"{message}, got {item['input']!r}"
        problems.append(Problem(origin(path), ".".join(path), message))
    return problems


def _fields_at(schema: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """Return the names that the model at `path` below `schema` accepts."""
    here: type[BaseModel] | None = schema
    parts = iter(path)
    for part in parts:
        field = here.model_fields.get(part) if here is not None else None
        here = submodel(field.annotation) if field is not None else None
        if field is not None and (named := named_submodel(field.annotation)) is not None:
            here = named if next(parts, None) is not None else None  # below it stands a name, then X's own fields
    return here.model_fields if here is not None else ()
