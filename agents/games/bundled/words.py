"""The words of the word games, by topic, from a list written for them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
MIN_LETTERS = 3
_LINE = re.compile(r"^(?P<topic>[^:#]+): (?P<words>.+)$")


def read_topics(path: Path = DATA / "words.txt") -> Mapping[str, Sequence[str]]:
    """The words of each topic."""
    lines = (_LINE.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {line["topic"]: line["words"].split() for line in lines if line}
