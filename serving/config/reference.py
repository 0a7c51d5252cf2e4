"""Generates the tables of docs/configuration.md from the schema: `python -m serving.config.reference`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serving.config.errors import named_submodel, submodel
from serving.config.schema import ModelSpec, ServiceFile
from serving.config.sources import ENV_PREFIX

BEGIN, END = "<!-- generated: python -m serving.config.reference -->", "<!-- end of generated -->"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/configuration.md"


def reference() -> str:
    """Return both tables as Markdown, between their markers."""
    service = "\n".join(_rows(ServiceFile, (), with_variable=True))
    model = "\n".join(_rows(ModelSpec, (), with_variable=False))
    return f"""{BEGIN}
### configs/bondhu.yaml, configs/profiles/*.yaml

| key | type | default | meaning | environment |
| --- | --- | --- | --- | --- |
{service}

### configs/models/*.yaml

| key | type | default | meaning |
| --- | --- | --- | --- |
{model}
{END}"""


def _rows(schema: type[BaseModel], path: tuple[str, ...], with_variable: bool) -> Iterator[str]:
    for name, info in schema.model_fields.items():
        below = submodel(info.annotation)
        here = (*path, name)
        if below is not None:
            yield from _rows(below, here, with_variable)
            continue
        named = named_submodel(info.annotation)
        if named is not None:
            yield from _rows(named, (*here, "NAME"), with_variable)
            continue
        cells = [f"`{'.'.join(here)}`", _type(info.annotation), _default(info), info.description or ""]
        if with_variable:
            cells.append(_variable(here))
        yield f"| {' | '.join(cells)} |"


def _variable(path: tuple[str, ...]) -> str:
    """Return the variable that sets the key; below a user-chosen NAME, the one that sets the whole mapping as JSON."""
    mapping = path[: path.index("NAME")] if "NAME" in path else path
    name = ENV_PREFIX + "__".join(mapping).upper()
    return f"`{name}`" if mapping == path else f"`{name}` (JSON, all of it or a part)"


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else None
    text = text or str(annotation)
    text = re.sub(r"(typing|pathlib|decimal|serving\.config\.schema\.\w+)\.", "", text).replace(" | None", " or none")
    text = re.sub(r"Literal\[([^\[\]]*)\]", lambda match: match[1].replace("'", "").replace(", ", " or "), text)
    return re.sub(r"tuple\[([^\[\]]*), \.\.\.\]", r"list of \1", text)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if str(value) else "empty"


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(before + reference() + rest.partition(END)[2])
