"""Measures extraction on the set of 150 turns: precision, recall, wrong subjects, and contradictions that are lost.

    python -m bench.extraction [--serve smollm2-135m-instruct-gguf --seconds 500]

With scripted models (`bench.extraction.scripted`), which show what the service makes of a model's answers; with
`--serve`, also with a model file of configs/ on its own engine, in a stack of its own (as `bondhu`: with its default
adapter). Each person's turns are said one after another in one conversation, and read in batches of a few turns. A
contradiction is ended (the earlier memory no longer holds), contested (both hold, and recall says so) or lost.

After `--seconds` the served model begins no further person. What it made of those before is kept in
var/bench-extraction-MODEL.json: the next run goes on after it. Writes bench/results/extraction.json and .md.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.databases import database_url
from bench.environment import commit, machine, write_result
from bench.extraction.scripted import Kind, ScriptedModel
from bench.extraction.served import ServedModel
from bench.extraction.turns import TRAPS, Expected, has, read
from bench.markdown import table
from bench.stack import Bondhu
from memory.extraction.extractor import Extractor, Model, ModelAway
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.database import open_engine
from storage.jobs import queue
from storage.memory.conversations import NewMessage, ingest
from storage.memory.memories import MemoryFilter, MemoryRecord, list_memories
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Space

DAY = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
NOW = DAY + timedelta(days=400)
BATCH_CHARACTERS = 90  # two or three turns
LEASE = timedelta(hours=1)


@dataclass
class Score:
    """What came of `people` of the set; `examples` of what was wrong or missing."""

    people: Counter[str] = field(default_factory=Counter)  # and their numbers of turns
    expected: int = 0
    stored: int = 0
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)  # by kind of trap, or "other"
    contradictions: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the result."""
        return {
            "people": len(self.people),
            "turns": self.people.total(),
            "expected": self.expected,
            "stored": self.stored,
            "right": self.right,
            "precision": round(self.right / self.stored, 3) if self.stored else None,
            "recall": round(self.right / self.expected, 3) if self.expected else None,
            "wrong": {kind: self.wrong[kind] for kind in (*TRAPS, "other")},
            "contradictions": {kind: self.contradictions[kind] for kind in ("ended", "contested", "lost")},
            "refused": dict(self.refused),
            "failed": dict(self.failed),
            "examples": self.examples,
        }

    def add(self, other: "Score") -> None:
        """Add the score of other people."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


async def measure(url: str, turns: Sequence[Expected], model: Model) -> Score:
    """Let one person talk, or several, and read it with this model."""
    engine, score = open_engine(url), Score()
    extractor = Extractor(engine, model, lambda: NOW, characters=BATCH_CHARACTERS, timeout_s=600)
    index_cache = IndexCache(engine, Space("none", "1"), dimensions=1, max_bytes=2**26)
    store = MemoryService(engine, index_cache, None, lambda: NOW)
    for person in dict.fromkeys(each.person for each in turns):
        owner, own = Owner("bench", person), [each for each in turns if each.person == person]
        score.people[person] = len(own)
        messages = [
            NewMessage(str(number), "user", each.turn, DAY + timedelta(hours=number)) for number, each in enumerate(own)
        ]
        ids = (await ingest(engine, owner, "c", messages, now=NOW)).ids
        while await _read_a_batch(extractor, engine, owner, score):
            pass
        found = await list_memories(engine, owner, MemoryFilter(), limit=200)
        _judge(score, {ids[str(number)]: each for number, each in enumerate(own)}, found)
        await _judge_contradictions(score, store, owner, own, found)
    index_cache.close()
    await engine.dispose()
    return score


async def _read_a_batch(extractor: Extractor, engine: Any, owner: Owner, score: Score) -> bool:
    """Whether there was one."""
    id_ = await queue.add_job(engine, owner, "extract", now=NOW)
    assert id_ is not None, "no other is undone"
    claim = await queue.claim_job(engine, id_, now=NOW, until=NOW + LEASE, max_attempts=9)
    assert claim is not None, "nobody else works here"
    try:
        done = await extractor.run(claim)
    except ModelAway as problem:
        score.failed[problem.kind] += 1
        async with engine.begin() as connection:
            await queue.finish_job(connection, claim, now=NOW, error=problem.kind)
        return False
    assert done is not None, "the claim holds"
    score.refused.update(done.refused)
    if done.error:
        score.failed[done.error] += 1
    return done.turns > 0


def _judge(score: Score, by_id: dict[str, Expected], found: Sequence[MemoryRecord]) -> None:
    """Count what is right and wrong; of two memories that say the expected thing, one is right."""
    score.expected += sum(bool(each.claim) for each in by_id.values())
    score.stored += len(found)
    has_it: set[str] = set()
    for memory in found:
        expected = by_id[memory.message_id or ""]
        is_trap = expected.trap != "" and _same(memory.text, expected.trap)
        if expected.claim and has(memory.text, expected.words) and not is_trap and expected.turn not in has_it:
            has_it.add(expected.turn)
            score.right += 1
            continue
        is_subject = expected.trap_kind == "subject" and not has(memory.text, expected.words[:1])
        kind = expected.trap_kind if is_trap or is_subject else "other"
        if not expected.claim and expected.trap_kind:
            kind = expected.trap_kind
        score.wrong[kind] += 1
        score.examples.append(f"{kind}: {expected.turn!r} gave {memory.text!r}")
    for expected in by_id.values():
        if expected.claim and expected.turn not in has_it:
            score.examples.append(f"missing: {expected.turn!r}")


async def _judge_contradictions(
    score: Score, store: MemoryService, owner: Owner, own: Sequence[Expected], found: Sequence[MemoryRecord]
) -> None:
    """What became of the earlier memory, where both were stored."""
    for expected in own:
        if not expected.ends:
            continue
        new = [each for each in found if has(each.text, expected.words) and each.quote and each.quote in expected.turn]
        old = [each for each in found if has(each.text, expected.ends) and each not in new]
        if not new or not old:
            continue
        if all(each.valid_until is not None for each in old):
            score.contradictions["ended"] += 1
            continue
        recalled = await store.recall(owner, f"{old[0].text} {new[0].text}", limit=20)
        contested = {each.record.id for each in recalled if each.ranked.contested_by}
        kind = "contested" if contested & {each.id for each in old} else "lost"
        score.contradictions[kind] += 1
        if kind == "lost":
            score.examples.append(f"lost contradiction: {old[0].text!r} and {new[0].text!r}")


def _same(one: str, other: str) -> bool:
    return one.casefold().strip(" .!") == other.casefold().strip(" .!")


def markdown(result: dict[str, Any]) -> str:
    """A row for each model."""
    heads = [
        "model",
        "turns",
        "to remember",
        "stored",
        "precision",
        "recall",
        "wrong subject",
        "denied",
        "supposed",
        "secrets",
        "other wrong",
    ]
    rows = []
    for name, score in result["models"].items():
        wrong, over = score["wrong"], score["contradictions"]
        cells = [
            score["turns"],
            score["expected"],
            score["stored"],
            score["precision"],
            score["recall"],
            *(wrong[kind] for kind in (*TRAPS, "other")),
        ]
        rows.append([name, *map(str, cells), *(str(over[kind]) for kind in ("ended", "contested", "lost"))])
    return table([*heads, "contradictions ended", "contested", "lost"], rows)


def _measure_on(turns: Sequence[Expected], model: Model) -> Score:
    """Measure on a new database."""
    with tempfile.TemporaryDirectory() as folder, database_url(Path(folder), "SQLite") as url:
        return asyncio.run(measure(url, turns, model))


def _measure_served(turns: Sequence[Expected], served: ServedModel, kept: Path, seconds: float) -> Score:
    """Measure person by person, after those whose scores are kept."""
    scores = (
        {person: _restored(score) for person, score in json.loads(kept.read_text()).items()} if kept.is_file() else {}
    )
    began = time.monotonic()
    for person in dict.fromkeys(each.person for each in turns):
        if person not in scores and time.monotonic() - began < seconds:
            scores[person] = _measure_on([each for each in turns if each.person == person], served)
            kept.write_text(json.dumps({person: vars(score) for person, score in scores.items()}))
            typer.echo(f"{person}: {scores[person].right} of {scores[person].expected}", err=True)
    whole = Score()
    for score in scores.values():
        whole.add(score)
    return whole


def _restored(kept: Mapping[str, Any]) -> Score:
    restored = Score()
    for name, value in kept.items():
        setattr(restored, name, Counter(value) if isinstance(value, dict) else value)
    return restored


@contextmanager
def _serving(name: str, turns: Sequence[Expected]) -> Iterator[ServedModel]:
    """A model file's model with its default adapter, in a stack of its own."""
    with tempfile.TemporaryDirectory() as folder:
        bondhu = Bondhu(Path(folder), {"BONDHU__MODELS__ACTIVE": name, "BONDHU__EMBEDDER__ENABLED": "false"})
        try:
            bondhu.start()
            yield ServedModel(bondhu.gateway(), bondhu.settings.models.alias, ScriptedModel(turns, "perfect"))
        finally:
            bondhu.stop()


def main(
    serve: Annotated[str, typer.Option(help="A model file of configs/ to measure as well.")] = "",
    seconds: Annotated[float, typer.Option(help="After these it begins no further person.")] = 3600,
) -> None:
    """Measure, and write it down."""
    turns = read()
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "turns": len(turns)}
    kinds: tuple[Kind, ...] = ("perfect", "forgetful", "careless")
    scores = {f"scripted, {kind}": _measure_on(turns, ScriptedModel(turns, kind)) for kind in kinds}
    if serve:
        kept = Path(f"var/bench-extraction-{serve}.json")
        kept.parent.mkdir(exist_ok=True)
        with _serving(serve, turns) as served:
            scores[serve] = _measure_served(turns, served, kept, seconds)
    result["models"] = {name: each.as_dict() for name, each in scores.items()}
    write_result("extraction", result, markdown(result) + "\n")
    typer.echo(markdown(result))


if __name__ == "__main__":
    typer.run(main)
