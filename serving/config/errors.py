"""Configuration problems: file, key, what is wrong and what is accepted.

ConfigError
└── has every `Problem` that one load found, not only the first
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

RENAMED = {  # last part of an old key -> its new name
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
    """Return a hint to append to a message: the key's new name, the closest valid name, or all valid names."""
    names = sorted(valid)
    if RENAMED.get(name) in names:
        return f"; it was renamed to `{RENAMED[name]}`"
    closest = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if closest:
        return f"; did you mean `{closest[0]}`?"
    shown = ", ".join(f"`{candidate}`" for candidate in names[:20])
    return f"; accepted: {shown}{', …' if len(names) > 20 else ''}" if names else ""


def submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model in an annotation such as `X | None`; None for other types and collections."""
    if get_origin(annotation) in (dict, tuple):
        return None
    return _model_in(annotation)


def named_submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model X of a `dict[str, X]` annotation; None for any other annotation."""
    return _model_in(annotation) if get_origin(annotation) is dict else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def from_validation(
    error: ValidationError, schema: type[BaseModel], origin: Callable[[tuple[str, ...]], str]
) -> list[Problem]:
    """Convert pydantic's errors to problems; `origin` returns the file or variable that set a key path."""
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key" + suggest(path[-1], _fields_at(schema, path[:-1]))
        elif item["type"] == "missing":
            message = "required, but missing"
        elif item["type"] != "value_error":
            message = f"{message}, got {item['input']!r}"
        problems.append(Problem(origin(path), ".".join(path), message))
    return problems


def _fields_at(schema: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """Return the field names of the model at `path` below `schema`."""
    here: type[BaseModel] | None = schema
    parts = iter(path)
    for part in parts:
        field = here.model_fields.get(part) if here is not None else None
        here = submodel(field.annotation) if field is not None else None
        if field is not None and (named := named_submodel(field.annotation)) is not None:
            here = named if next(parts, None) is not None else None  # the next part is a name, then come X's fields
    return here.model_fields if here is not None else ()
