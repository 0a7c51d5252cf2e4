"""Combining marks, however many, hold no process."""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from memory.unicode_text import MAX_MARKS, nfkc, without_long_runs

ROOT = Path(__file__).resolve().parents[3]
CPU_S = 2.0
MARKS = {
    "one kind": "\u0301",
    "two that change places": "\u0301\u0323",  # 50,000 of them take NFKC 14 s
    "of other scripts": "\u05b0\u0591\u093c\u094d",
    "beyond the first plane": "\U0001d165\U0001e8d0",
    "that decompose": "\u0344\u0f73",
}


@pytest.mark.parametrize("name", MARKS)
def test_a_text_of_combining_marks_is_looked_at_at_once(name: str) -> None:
    """By all that looks for what is private in a text; in a process that the kernel ends after a few seconds."""
    script = (
        "import signal, sys\n"
        "from serving.privacy.detector import detector\n"
        "detect = detector({})\n"
        f"signal.setitimer(signal.ITIMER_PROF, {CPU_S})\n"
        "detect(('a' + sys.argv[1] * 100_000)[:199_000])\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, MARKS[name]], cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == 0


def test_what_people_write_is_normalised_as_ever() -> None:
    """The marks of Vietnamese, Hebrew, Thai, of a phone's emoji."""
    for text in (
        "\uff57\uff49\uff44\uff45 \ufb01ne",
        "Vie\u0302\u0323t",
        "שָׁלוֹם",
        "น้ำ",
        "👩\u200d🚀",
        "e\u0301" * 1000,
        "a" + "\u0301\u0323" * 15,
    ):
        assert nfkc(text) == unicodedata.normalize("NFKC", text)


def test_a_character_keeps_its_first_marks() -> None:
    """The others are dropped; what follows stays."""
    assert without_long_runs("a" + "\u0301" * 500 + "b") == "a" + "\u0301" * MAX_MARKS + "b"


def test_nothing_else_normalises() -> None:
    """Every module asks this one."""
    for package in ("agents", "jobs", "memory", "models", "serving", "storage"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "unicode_text.py":
                assert not re.search(r"\bunicodedata\b", path.read_text()), path
