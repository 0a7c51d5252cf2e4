"""No text, however long and however it is made, holds a process in a regular expression."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.requests import expressions

SCRIPT = Path(expressions.__file__)
WITHIN_S = 600.0
# Characters that an expression is ever given: its module refuses longer texts, as the tests below hold.
OF_BOUNDED_TEXT = {  # safety alone reads messages whole
    name for name in expressions.modules() if name.startswith("agents.") and not name.startswith("agents.safety")
}
BOUNDED = {
    "memory.intents.detector": 1000,
    "memory.intents.language": 1000,
    "memory.times.grammar": 2000,
    "models.adapters.fit": 1000,
    **dict.fromkeys(OF_BOUNDED_TEXT, 1000),
}
# Expressions that are put together within a function, and are made by `expressions.run_time_expressions`.
MADE_AT_RUN_TIME = {
    "models.control_tokens",
    "serving.observability.logs",
    "serving.privacy.detector",
    "memory.unicode_text",
    "memory.intents.language",
    "memory.times.grammar",
    "memory.times.resolve",
}
AT_IMPORT = {
    "models.vllm.server",
    "memory.intents.detector",
    "serving.privacy.detector",
    "memory.recall.contested",
}  # of parts, when their module is imported

OF_OPERATORS = {"serving.cluster.checks", "serving.config.schema.rollout"}  # the model files' own


@pytest.fixture(scope="module")
def named() -> dict[str, str]:
    """Where each expression stands, and what it says, by its number."""
    listed = subprocess.run([sys.executable, str(SCRIPT), "list"], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines())


@pytest.mark.timeout(900)
def test_every_expression_of_the_packages_reads_100_kb_of_any_text_at_once(named: dict[str, str]) -> None:
    """Each is given texts made from its own syntax; one that backtracks runs out of processor time and is named."""
    too_slow, number = [], 0
    while number < len(named):
        command = [sys.executable, str(SCRIPT), "read", str(number), json.dumps(BOUNDED)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        lines = ended.stdout.splitlines()
        assert lines, ended.stderr
        if lines[-1] == "done":
            break
        assert ended.returncode < 0, ended.stderr
        last, _, text = lines[-1].partition(" ")
        too_slow.append(f"{named[last]}: {text}")
        number = int(last) + 1
    assert not too_slow, "\n".join(too_slow)


def test_the_search_sees_expressions_wherever_they_stand(named: dict[str, str]) -> None:
    """At import, within functions, and put together at run time."""
    modules = {each.split()[0] for each in named.values()}
    assert {
        "serving.privacy.detector",
        "serving.observability.logs",
        "models.gemini.errors",
        "models.control_tokens",
    } <= modules
    assert len(named) > 80


def test_an_expression_that_is_put_together_at_run_time_is_known_here() -> None:
    """Else the one above would not see it."""
    made = set()
    for name in expressions.modules():
        if not name.startswith(expressions.LEFT_OUT):
            path = expressions.ROOT / Path(*name.split("."))
            source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
            found = expressions.literals(source.read_text())
            made |= {name for literal, _, _ in found if literal is expressions.MADE}
    assert made <= MADE_AT_RUN_TIME | AT_IMPORT | OF_BOUNDED_TEXT | OF_OPERATORS


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+b",
        pytest.param(r"'x(.*?)y(.*?)z'", marks=pytest.mark.slow),
        pytest.param(r"(?:/[\w\-]+)+/[\w\-]+\.\w+", marks=pytest.mark.slow),
        pytest.param(r"(\d+(?:\.\d+)?)s", marks=pytest.mark.slow),
    ],
)
def test_the_texts_find_an_expression_that_backtracks(pattern: str) -> None:
    """Those that were found by reading are found by the texts."""
    script = (
        "import re, signal, sys; sys.path.insert(0, sys.argv[1]); import expressions\n"
        "pattern = re.compile(sys.argv[2])\n"
        "signal.setitimer(signal.ITIMER_PROF, 2 * expressions.CPU_S)\n"
        "for text in expressions.texts(pattern):\n"
        "    pattern.search(text)\n"
    )
    command = [sys.executable, "-c", script, str(SCRIPT.parent), pattern]
    assert subprocess.run(command, timeout=WITHIN_S, check=False).returncode < 0


def test_intents_are_detected_in_short_texts_only() -> None:
    """Their expressions are bounded by the length of what they are given."""
    from memory.intents.detector import MAX_CHARACTERS
    from tests.support.memory.intents import intent_of

    assert BOUNDED["memory.intents.detector"] >= MAX_CHARACTERS
    assert intent_of("remember that " + "my cat is old " * 10_000) is None


def test_agents_rules_read_short_texts_only() -> None:
    """A message is cut before a rule of an agent sees it, and a long reply is no call."""
    from agents import planning
    from agents.base import MAX_TEXT, AgentRequest
    from models.chat import ChatMessage

    assert all(BOUNDED[name] >= max(MAX_TEXT, planning.MAX_LEAKED) for name in OF_BOUNDED_TEXT)
    assert len(AgentRequest([ChatMessage("user", "bye " * 30_000)]).text) == MAX_TEXT


def test_times_are_looked_for_at_the_end_of_a_question_only() -> None:
    """Their expressions are bounded by the length of what they are given."""
    from memory.times.expressions import MAX_CHARACTERS

    assert BOUNDED["memory.times.grammar"] >= MAX_CHARACTERS
