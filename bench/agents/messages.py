"""What people say to the agents, and which agent it is for (`messages.tsv`).

By the author of the rules: expect less of people. A quarter of the English ones are without any of the words that the
rules look for (`is_plain`). The rules were mended by those of SEEN; those of FRESH were written before that, and no
rule was changed for them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

AgentId = Literal["chat", "music", "video", "games"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and the agent that it is for; `is_plain`: no word of it names its kind."""

    text: str
    agent: AgentId
    is_plain: bool = False
    language: str = "en"


def _read(part: str) -> tuple[Message, ...]:
    head, *lines = Path(__file__).with_name("messages.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    return tuple(
        Message(row["text"], row["agent"], row["kind"] == "plain", row["language"])  # type: ignore[arg-type]
        for row in rows
        if row["part"] == part
    )


SEEN = _read("seen")
FRESH = _read("fresh")
MESSAGES = (*SEEN, *FRESH)
