"""Which test shows which sentence of docs/memory.md: `docs_sentences.tsv`, with the sentence's first words.

In place of tests stands "code" (no test, held by reading it), "measured" (by a benchmark), or "-" (it claims nothing).
What stands under "Measured" and "What it costs" is of benchmarks.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
TABLE = Path(__file__).with_name("docs_sentences.tsv")
WORDS = 60  # characters
SHARE = 0.97  # of the sentences: a few may be new
OTHERS = ("code", "measured", "-")
_SENTENCE = re.compile(r"(?<=[.!?:])(?:\*\*)?\s+(?=[A-Z*\"`A(])")


def blocks() -> Iterator[str]:
    """Paragraphs, items of lists, and rows of tables; without examples and costs."""
    page = (ROOT / "docs/memory.md").read_text().split("## What it costs")[0]
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.DOTALL | re.MULTILINE)
    lines: list[str] = []
    for line in (*page.splitlines(), ""):
        text = line.strip()
        is_row = text.startswith("|")
        if lines and (not text or is_row or line.startswith("#") or re.match(r"(\*|\d+\.) ", text)):
            yield " ".join(lines)
            lines = []
        if is_row and not re.fullmatch(r"[|\s-]+", text):
            yield text
        elif text and not is_row and not line.startswith("#"):
            lines.append(text)


def sentences() -> list[str]:
    """The beginnings of all sentences; a row is one, and those of tables of figures are none."""
    found = [each for block in blocks() for each in ([block] if block.startswith("|") else _SENTENCE.split(block))]
    return [
        each[:WORDS].strip() for each in found if not re.match(r"\| (?:\w\w \| (?:dev|held)|scripted|smollm)", each)
    ]


def table() -> dict[str, list[str]]:
    """What shows each sentence."""
    rows = (line.split("\t") for line in TABLE.read_text().splitlines())
    return {row[0]: row[1].split(", ") for row in rows}


def test_every_sentence_has_its_test() -> None:
    """Whoever writes a new one says in the table what shows it."""
    known, said = table(), sentences()
    missing = [each for each in said if each not in known]
    assert len(missing) <= (1 - SHARE) * len(said), missing
    shown = [each for each in said if each in known and known[each] not in [[other] for other in OTHERS]]
    assert len(shown) > 230


def test_every_test_of_the_table_exists() -> None:
    """By its name, without `test_`."""
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def test_(\w+)", path.read_text())
    }
    named = {name for names in table().values() for name in names if name not in OTHERS}
    assert len(named) > 130
    assert sorted(named - defined) == []
