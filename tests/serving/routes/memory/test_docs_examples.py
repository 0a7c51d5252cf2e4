"""The examples of docs/memory.md do what stands beside them, in order, against a real gateway."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.gateway_process import GatewayProcess, make_key

PAGE = Path(__file__).resolve().parents[4] / "docs" / "memory.md"
ANYTHING = "…"


class Block(NamedTuple):
    """A block of code with its language, and what it answers, with the language of that."""

    language: str
    code: str
    answer: str
    answers_in: str


def blocks() -> list[Block]:
    """The blocks of the section of examples; a block of json or text is the answer to the one before it."""
    section = PAGE.read_text().split("## An example\n")[1].split("\n## ")[0]
    found: list[Block] = []
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
        if language in ("json", "text"):
            found[-1] = found[-1]._replace(answer=code.strip(), answers_in=language)
        else:
            found.append(Block(language, code, "", ""))
    return found


@pytest.mark.usefixtures("page_engine")
def test_every_example_answers_as_the_page_says(page_gateway: GatewayProcess) -> None:
    """Commands in a shell that has run the first block, and Python with OpenAI's client."""
    key = make_key(page_gateway.database_url, "docs", tier="admin")
    environ = os.environ | {"BONDHU": page_gateway.url, "KEY": key}
    environ |= {"OPENAI_BASE_URL": f"{page_gateway.url}/v1", "OPENAI_API_KEY": key}
    setup, *examples = blocks()
    setup_code = "".join(line for line in setup.code.splitlines(keepends=True) if not line.startswith("export"))
    assert len(examples) > 10
    for example in examples:
        command = [sys.executable, "-c", example.code]
        if example.language == "bash":
            command = ["bash", "-c", setup_code + example.code]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        printed = done.stdout.strip()
        assert done.returncode == 0, (example.code, done.stderr)
        if example.answers_in == "json":
            said = json.loads(printed)
            assert covers(json.loads(example.answer), said), f"{example.code}\nanswered {json.dumps(said, indent=1)}"
        else:
            pattern = ".*".join(map(re.escape, example.answer.split(ANYTHING)))
            assert re.fullmatch(pattern, printed), f"{example.code}\nprinted {printed}"


def covers(shown: Any, answered: Any) -> bool:
    """Whether an answer has all that is shown of it; a list has the same length, unless it ends in ANYTHING."""
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict):
        return isinstance(answered, dict) and all(
            name in answered and covers(value, answered[name]) for name, value in shown.items()
        )
    if isinstance(shown, list):
        rest = shown[-1:] == [ANYTHING]
        first = shown[:-1] if rest else shown
        fits = len(answered) >= len(first) if rest else len(answered) == len(first)
        return fits and all(map(covers, first, answered))
    return bool(shown == answered)
