"""How many of 300 questions in five languages are read as the time that they name: our rules, and libraries.

    python -m bench.recall.times

A question is right if its interval is the expected one, or if neither names a time. Libraries give moments, not
intervals: theirs is right if it lies in the expected interval (more than they say: "last month" is then any moment of
it). Those that are not installed are left out (`pip install dateparser parsedatetime`). The 300 were written before the
rules, by the same hand, and rules were mended until they read them; the 50 afterwards, and read once.
"""

import importlib
import importlib.util
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from bench.markdown import table
from memory.times.expressions import interval
from memory.times.interval import Interval

DATA = Path(__file__).with_name("times.yaml")
UNSEEN = Path(__file__).with_name("times_unseen.yaml")
LANGUAGES = ("en", "de", "es", "hi", "bn")
NOW = datetime(2026, 3, 11, 15, 30, tzinfo=timezone(timedelta(hours=1)))
Reader = Callable[[str, str], Interval | datetime | None]


def main(misses: Annotated[bool, typer.Option(help="List what is read wrongly by the rules.")] = False) -> None:
    """Print the table of docs/recall.md."""
    entries = yaml.safe_load(DATA.read_text())
    unseen = yaml.safe_load(UNSEEN.read_text())
    readers: dict[str, Reader] = {"rules": lambda text, _: interval(text, NOW)}
    if importlib.util.find_spec("dateparser"):
        readers["dateparser"] = _dateparser
    if importlib.util.find_spec("parsedatetime"):
        readers["parsedatetime"] = _parsedatetime
    rows = []
    for name, reader in readers.items():
        for part, some in (("300 questions", entries), ("50 unseen", unseen)):
            right = {language: sum(is_right(entry, language, reader) for entry in some) for language in LANGUAGES}
            cells = [f"{count} of {len(some)}" for count in right.values()]
            rows.append([name, part, *cells, f"{sum(right.values())} of {len(LANGUAGES) * len(some)}"])
    typer.echo(table(["reader", "set", *LANGUAGES, "all"], rows))
    if misses:
        for number, entry in enumerate([*entries, *unseen]):
            for language in LANGUAGES:
                if not is_right(entry, language, readers["rules"]):
                    found = interval(entry[language], NOW)
                    typer.echo(f"{number} {language} {entry[language]}: {expected(entry)}, not {found}")


def is_right(entry: dict[str, Any], language: str, reader: Reader) -> bool:
    """Whether a question is read as the time that it names."""
    found, meant = reader(entry[language], language), expected(entry)
    if meant is None or found is None or isinstance(found, Interval):
        return found == meant
    return meant.start <= found < meant.end


def expected(entry: dict[str, Any]) -> Interval | None:
    """The interval that an entry means."""
    if "at" not in entry:
        return None
    start, end = (datetime.fromisoformat(str(each)).replace(tzinfo=NOW.tzinfo) for each in entry["at"])
    return Interval(start, end)


def _dateparser(text: str, language: str) -> datetime | None:
    search_dates = importlib.import_module("dateparser.search").search_dates
    settings = {"RELATIVE_BASE": NOW.replace(tzinfo=None), "PREFER_DATES_FROM": "past"}
    found = search_dates(text, languages=[language], settings=settings)
    return found[0][1].replace(tzinfo=NOW.tzinfo) if found else None


def _parsedatetime(text: str, language: str) -> datetime | None:
    parsedatetime = importlib.import_module("parsedatetime")
    found = parsedatetime.Calendar().nlp(text, sourceTime=NOW.replace(tzinfo=None)) if language == "en" else None
    return found[0][0].replace(tzinfo=NOW.tzinfo) if found else None


if __name__ == "__main__":
    typer.run(main)
