"""Reads configuration from YAML files and BONDHU__ variables and merges it, with the origin of each value.

It does not know what a value means; `serving.config.load` validates the merged result.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from serving.config.errors import RENAMED, Problem, submodel, suggest

ENV_PREFIX = "BONDHU__"
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_BaseLoader):  # type: ignore[misc]  # the C loader where PyYAML was built with it
    """YAML in which a repeated key is an error, not a silent overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key `{key}`", key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(file: Path, where: str, problems: list[Problem]) -> dict[str, Any]:
    """Return a file's mapping; append to `problems` and return {} when the file is missing or is not a mapping."""
    try:
        content = yaml.load(file.read_bytes(), Loader=_UniqueKeyLoader)  # noqa: S506 a safe loader's subclass
    except OSError as error:
        problems.append(Problem(where, "", f"cannot be read: {error.strerror}"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark is not None else ""
        problems.append(Problem(where, line, f"not valid YAML: {getattr(error, 'problem', None) or error}"))
    else:
        if content is None:
            return {}
        if isinstance(content, dict) and all(isinstance(key, str) for key in content):
            return content
        problems.append(Problem(where, "", "must be a mapping of names to values"))
    return {}


@dataclass
class Merged:
    """Merged values of several sources, where later ones win, and the last source of each key path."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)

    def overlay(self, values: Mapping[str, Any], where: str) -> None:
        """Merge `values` over the existing ones: mappings are merged, other values replaced."""
        self.values = self._merge(self.values, values, where, ())

    def origin(self, path: tuple[str, ...], default: str = "configs/bondhu.yaml") -> str:
        """Return the source of the value at `path`, or of the nearest mapping around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return default

    def _merge(
        self, base: Mapping[str, Any], over: Mapping[str, Any], where: str, path: tuple[str, ...]
    ) -> dict[str, Any]:
        merged = dict(base)
        for key, value in over.items():
            here = (*path, key)
            self.origins[here] = where
            if isinstance(value, dict):
                below = merged.get(key)
                value = self._merge(below if isinstance(below, dict) else {}, value, where, here)
            merged[key] = value
        return merged


def read_environment(
    environ: Mapping[str, str], schema: type[BaseModel], problems: list[Problem]
) -> list[tuple[str, dict[str, Any]]]:
    """Return (variable, nested values) for each BONDHU__ variable; an unknown variable is a problem."""
    known = {ENV_PREFIX + "__".join(path).upper(): path for path in leaf_paths(schema)}
    found = []
    for name in sorted(environ):
        if not name.startswith("BONDHU_") or "__" not in name:
            continue
        path = known.get(name.upper())
        if path is None:
            problems.append(Problem(name, "", "unknown setting" + _hint(name.upper(), known)))
            continue
        values: Any = _parse(environ[name])
        for part in reversed(path):
            values = {part: values}
        found.append((name, values))
    return found


def _hint(name: str, known: Mapping[str, Any]) -> str:
    section, _, key = name.rpartition("__")
    if (now := f"{section}__{RENAMED.get(key.lower(), '').upper()}") in known:
        return f"; it was renamed to `{now}`"
    closest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean `{closest[0]}`?" if closest else suggest(name, known)


def leaf_paths(schema: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the key path of every scalar setting below `schema`."""
    paths = []
    for name, info in schema.model_fields.items():
        below = submodel(info.annotation)
        paths += leaf_paths(below, (*path, name)) if below is not None else [(*path, name)]
    return paths


def _parse(text: str) -> Any:
    """Parse a variable's value: a list, a mapping or null as JSON; anything else stays text."""
    if text[:1] in {"[", "{"} or text == "null":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
