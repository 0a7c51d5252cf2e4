"""docs/walks.md names files and functions that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WALKS = ROOT / "docs/walks.md"
STEP = re.compile(r"^\d+\. \[`(?P<path>[^`]+)`\]\(\.\./(?P<link>[^)]+)\) `(?P<name>[\w.]+)`: \S.*\.$")


def test_every_step_of_a_walk_exists() -> None:
    """A step is numbered, links to its file, and begins with a function or method that is in it."""
    lines = [line for line in WALKS.read_text().splitlines() if re.match(r"\d+\. ", line)]
    assert lines
    for line in lines:
        step = STEP.match(line)
        assert step is not None, line
        assert step["path"] == step["link"], line
        assert step["name"] in _functions(ROOT / step["path"]), line


def test_every_walk_is_numbered_in_order() -> None:
    """From 1, without gaps, in each of the four sections."""
    sections = WALKS.read_text().split("\n## ")[1:]
    assert len(sections) == 4
    for section in sections:
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))


def _functions(file: Path) -> set[str]:
    """The functions of a module and the methods of its classes, as `function` and `Class.method`."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names
