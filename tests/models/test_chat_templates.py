"""The chat templates of this repository: what a system message is put together from stays apart."""

from pathlib import Path
from typing import Any

import jinja2.sandbox
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted([*ROOT.glob("configs/templates/*.jinja"), *ROOT.glob("models/demo/**/chat_template.jinja")])
PERSONA, FACT = "You are Didi, a warm friend.", "They are called Maya."


def rendered(template: Path, content: Any) -> str:
    """What an engine reads of a conversation whose system message has this content."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = pytest.fail
    messages = [{"role": "system", "content": content}, {"role": "user", "content": "Hi!"}]
    found = environment.from_string(template.read_text(encoding="utf-8"))
    return found.render(messages=messages, add_generation_prompt=True, bos_token="")


@pytest.mark.parametrize("template", TEMPLATES, ids=[str(each.relative_to(ROOT)) for each in TEMPLATES])
def test_parts_of_a_message_are_lines_of_their_own(template: Path) -> None:
    """A persona and what is known of the person reach the model as two lines, as if one text had been sent."""
    parts = [{"type": "text", "text": PERSONA}, {"type": "text", "text": FACT}]
    assert rendered(template, parts) == rendered(template, f"{PERSONA}\n{FACT}")
    assert rendered(template, parts[:1]) == rendered(template, PERSONA)


def test_every_copy_of_the_demonstration_model_s_template_is_the_same() -> None:
    """The one that training reads, and those beside the two forms of its weights."""
    copies = {each.read_text(encoding="utf-8") for each in ROOT.glob("models/demo/**/chat_template.jinja")}
    assert len(copies) == 1
