"""What requests about memory reach, sentence by sentence, through the code that executes them.

    python -m bench.wishes
    python -m bench.wishes --model http://127.0.0.1:8000/v1/MODEL --every 5   # beside the patterns; key: BONDHU_API_KEY

With a model, it is asked as the service asks it, and its answers count with the patterns; `every` takes each fifth
sentence of a language. A wipe is wrong if it reaches anything that the person did not mean, or if nothing was to be
forgotten. Less than was meant is a miss; "asked back" did nothing but ask. Nothing is changed: what would be reached is
read.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from bench.environment import commit, write_result
from bench.markdown import table
from bench.wishes.by_model import Ask, asking
from bench.wishes.sentences import HALVES, Language, Sentence, read
from memory.intents.detector import Detected, Forget, ForgetAll, Lift, Mute, Remember, Unclear, detect
from memory.intents.matching import Matcher
from memory.intents.reach import reach
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.database import open_engine
from storage.memory.conversations import NewMessage, last_exchange
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Space
from storage.migrate import upgrade

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
PERSON = "ann"
VERDICTS = ("right", "missed", "asked back", "wrong")


@dataclass(frozen=True)
class Outcome:
    """A sentence, and what came of it: one of VERDICTS."""

    language: str
    sentence: Sentence
    verdict: str
    did: str
    reached: frozenset[str]


def main(
    name: str = typer.Option("wishes", help="Results go to bench/results/NAME.{json,md}."),
    half: str = typer.Option("", help="Only this half: development or held_out."),
    model: str = typer.Option(
        "", help="Ask this model, too: the address of an OpenAI API, and the model's id after it."
    ),
    every: int = typer.Option(1, min=1, help="Only each so manieth sentence of a language."),
    limit_s: float = typer.Option(0, help="Stop asking after so many seconds, 0: never."),
) -> None:
    """Say every sentence to the code, and count."""
    languages = [
        replace(each, sentences=tuple(one for one in each.sentences if half in ("", one.half))[::every])
        for each in read()
    ]
    ask = asking(model, limit_s=limit_s) if model else None
    outcomes = asyncio.run(_measure(languages, ask))
    result = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds"), **_summary(outcomes)}
    if ask is not None:
        result["model"] = ask.summary()
    write_result(name, result, markdown(result))
    typer.echo(markdown(result))


async def _measure(languages: Sequence[Language], ask: Ask | None = None) -> list[Outcome]:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder) / 'wishes.db'}"
        await asyncio.to_thread(upgrade, url)
        engine = open_engine(url)
        cache = IndexCache(engine, Space("none", "0"), dimensions=1, max_bytes=2**28)
        store = MemoryService(engine, cache, None, lambda: datetime.now(UTC))
        try:
            for language in languages:
                owner = Owner("bench", language.code)
                turns = [
                    NewMessage(id_, PERSON if speaker == "Ann" else speaker, text, BEGINNING + timedelta(minutes=at))
                    for at, (id_, speaker, text) in enumerate(language.past)
                ]
                ids = {id_: each for each, id_ in (await store.ingest(owner, "c", turns)).ids.items()}
                for sentence in language.sentences:
                    found = detect(sentence.text)
                    if ask is not None:
                        found = await ask(sentence.text, found)
                    did, reached = await _reached(store, owner, found)
                    if reached is None:
                        reached = [
                            turn.id for turn in await last_exchange(engine, owner, "c", speaker=PERSON, before=None)
                        ]
                    named = frozenset(ids[each] for each in reached)
                    outcomes.append(Outcome(language.code, sentence, _verdict(sentence, did, named), did, named))
        finally:
            cache.close()
            await engine.dispose()
    return outcomes


async def _reached(store: MemoryService, owner: Owner, found: Detected | None) -> tuple[str, list[str] | None]:
    """What a sentence is taken for, and the turns that it reaches; None: those before it."""
    match found:
        case None:
            return "none", []
        case Unclear():
            return "unclear", []
        case ForgetAll():
            return "forget_everything", [id_ for _, id_ in await store.everything(owner)]
        case Forget(None):
            return "forget_last", None
        case Mute(None):
            return "mute", None
        case Forget(str(about)) | Mute(str(about)) | Lift(about) as intent:
            is_clause = isinstance(intent, Forget) and intent.is_clause
            matcher = Matcher(about, is_clause=is_clause, language=intent.language, names=[PERSON])
            reached = await reach(store, owner, matcher, about, person={PERSON})
            return type(intent).__name__.lower(), list(reached.turns)
        case Remember():
            return "remember", []
        case other:
            return type(other).__name__.lower(), []


def _verdict(sentence: Sentence, did: str, reached: frozenset[str]) -> str:
    if did == "unclear":
        return "right" if sentence.action == "none" else "asked back"
    if did == sentence.action and reached == sentence.means:
        return "right"
    is_more = bool(reached - sentence.means) or (did != "none" and did != sentence.action)
    if did == "forget" and sentence.action.startswith("forget") and reached <= sentence.means:
        is_more = False
    return "wrong" if is_more else "missed"


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    rows = []
    for language in sorted({each.language for each in outcomes}):
        for half in HALVES:
            own = [each for each in outcomes if (each.language, each.sentence.half) == (language, half)]
            if own:
                rows.append({"language": language, "half": half, **_counts(own)})
    misses = [
        asdict(each.sentence)
        | {"means": sorted(each.sentence.means), "language": each.language, "verdict": each.verdict}
        | {"did": each.did, "reached": sorted(each.reached)}
        for each in outcomes
        if each.verdict != "right"
    ]
    return {"sentences": len(outcomes), "rows": rows, "misses": misses}


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    asks = [each for each in outcomes if each.sentence.action != "none"]
    verdicts = Counter(each.verdict for each in asks)
    wipes = [each for each in outcomes if each.did.startswith("forget")]
    return {
        "requests": len(asks),
        **{verdict: verdicts[verdict] for verdict in VERDICTS},
        "others": len(outcomes) - len(asks),
        "others taken for one": sum(each.did not in ("none", "unclear") for each in outcomes if each not in asks),
        "wipes": len(wipes),
        "wrong wipes": sum(each.verdict == "wrong" for each in wipes),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/memory.md."""
    names = ("requests", *VERDICTS, "others", "others taken for one", "wipes", "wrong wipes")
    rows = [
        [row["language"], row["half"].replace("_", " "), *(str(row[name]) for name in names)] for row in result["rows"]
    ]
    about_model = f"\n{result['model']}\n" if "model" in result else ""
    return table(["language", "half", *names], rows) + "\n" + about_model


if __name__ == "__main__":
    typer.run(main)
