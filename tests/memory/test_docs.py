"""What docs/memory.md and docs/recall.md name is there: endpoints and their parameters, files, settings, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from jobs import embedding_backfill, runner, set_aside
from memory import document_reader
from memory.embedding import backfill, parts
from memory.extraction import deduplication, extractor
from memory.intents import detector, reach
from memory.intents.detector import Detected, Forget, ForgetAll, Lift, Mute, Remember, Unclear, Undo, detect
from memory.recall import index_cache
from memory.recall.ranking import Factors
from memory.recall.relevance import SENSITIVE, WITH_VECTORS
from memory.schemas import SCHEMA_VERSION
from memory.summaries import own_sentences, question
from serving.chat_memory import session
from serving.cli import embeddings
from serving.config.schema import Settings
from serving.config.schema.memory import MemorySettings
from serving.routes.memory import (
    conversations,
    erasure,
    lists,
    memories,
    messages,
    muted_topics,
    profiles,
    recall,
    wishes,
)
from storage.memory import change_feed

MEMORY = MemorySettings()
ROOT = Path(__file__).resolve().parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("memory.md", "recall.md")}
ROUTERS = (
    *(conversations.router, erasure.router, lists.router, memories.router, messages.router, muted_topics.router),
    *(profiles.router, profiles.imports, recall.router, wishes.router),
)
ROUTES = {(method, route.path): route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)
          for method in route.methods}  # fmt: skip


def _table() -> Iterator[tuple[str, str, str]]:
    """Method, path and description of each row of the API's table."""
    for line in PAGES["memory.md"].splitlines():
        row = re.fullmatch(r"\| (`(?:GET|POST|PUT|PATCH|DELETE)`?.*?) \| (.*) \|", line)
        for methods, path in re.findall(r"((?:`?[A-Z]+`?(?:, )?)+) (/api/v1/[^`?,]*)", row[1]) if row else ():
            for method in re.findall(r"[A-Z]+", methods):
                yield method, path.strip("` "), row[2] if row else ""


def test_every_endpoint_of_the_table_exists() -> None:
    """By its method and path."""
    named = {(method, path) for method, path, _ in _table()}
    assert len(named) > 15
    assert named <= set(ROUTES)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/memories"), ("GET", "/api/v1/messages"), ("POST", "/api/v1/recall")],
)
def test_a_list_takes_the_parameters_that_are_named(method: str, path: str) -> None:
    """All that stand behind it, and no route has a filter that is not named there."""
    said = next(text for one, other, text in _table() if (one, other) == (method, path))
    route = ROUTES[method, path]
    if method == "POST":
        taken = {*recall.Question.model_fields, "from", "to", *recall.Only.model_fields}
    else:
        taken = {each.alias for each in route.dependant.query_params}
    named = set(re.findall(r"`(\w+)`", said)) - {"query", "relevance"}
    assert named <= taken
    assert taken - {"user", "limit", "after", "query", "speaker", "since", "until"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    """Paths of code, tests and data."""
    paths = re.findall(r"`((?:memory|storage|serving|jobs|tests|bench|configs)/[\w./-]+\.(?:py|yaml|md))`", PAGES[page])
    assert len(paths) > 3
    assert [each for each in paths if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    """With its section."""
    for name in re.findall(r"`((?:memory|embedder|reranker|observability)\.[\w.]+)`", PAGES[page]):
        if name.endswith(".py"):
            continue
        section: type = Settings
        for part in name.removesuffix(".").split("."):
            fields = getattr(section, "model_fields", None)
            assert part in (fields or ()), name
            found = fields[part].annotation
            section = next(
                (each for each in getattr(found, "__args__", (found,)) if isinstance(each, type)), type(None)
            )


def test_figures_are_those_of_the_code() -> None:
    """The version of exports, the threshold, and the coefficients."""
    memory_page, recall_page = PAGES["memory.md"], PAGES["recall.md"]
    assert f"Exports have `schema_version` {SCHEMA_VERSION}" in memory_page
    default = Settings.model_fields["memory"].annotation().chat.min_relevance  # type: ignore[misc]
    assert f"`memory.chat.min_relevance` ({default})" in recall_page
    (weights,) = WITH_VECTORS.values()
    assert f"on all ({', '.join(f'{each:.2f}' for each in weights)})" in " ".join(recall_page.split())
    assert f"recalled only from {SENSITIVE} on" in recall_page


FIGURES = {
    "A document above 64 KiB is parsed by a separate process": document_reader.SMALL_BYTES == 64 * 2**10,
    "with 1 GiB of memory and `memory.import_timeout_s`": document_reader.MAX_MEMORY_BYTES == 2**30,
    "One of more than 750 bytes": parts.PART_BYTES == 750,
    "which is waited for (3 s)": 3 <= sum(messages.WAITED_S) < 3.5,
    "within ten minutes is the same turn": session.REPEATED_S == 600,
    "It reads 256 rows at a time": change_feed.AT_ONCE == 256,
    "twice, 15 s apart, for the rate": embeddings.LOOK_S == 15,
    "Every 15 s the worker asks the directory": embedding_backfill.EVERY_S == 15,
    "works for at most 10 s": embedding_backfill.RUN_S == 10,
    "32 items are embedded, written in one transaction": backfill.PORTION == 32,
    "they leave memory within five seconds": index_cache.SWEEP_S == 5,
    "a message of more than three lines or 1,000 characters": (detector.MAX_LINES, detector.MAX_CHARACTERS)
    == (3, 1000),
    "`memory.undo_s` (24 hours; with 0": MEMORY.undo_s == 24 * 3600,
    "the worker deletes it within ten minutes": set_aside.EVERY_S == 600,
    "One intent reaches the 50 newest matching items": reach.MAX_ITEMS == 50,
    "halved every 30 days since then, down to an eighth": (Factors().half_life_s, Factors().painful)
    == (30 * 86_400, 1 / 8),
    "40 turns at a time, once 8 newer ones follow, or 16 and more after six hours": (
        (MEMORY.summaries.turns, MEMORY.summaries.newer, MEMORY.summaries.idle_turns) == (40, 8, 16)
        and MEMORY.summaries.idle_s == 6 * 3600
    ),
    "at least half of its words occur in the turns": question.MIN_FOUND == 0.5,
    "up to three of the person's own sentences": own_sentences.MAX_SENTENCES == 3,
    "Extraction is off until `memory.extraction.model` names a served model": MEMORY.extraction.model is None,
    "are the 20 nearest to the turns": extractor.MAX_SHOWN == 20,
    "a cosine of 0.92 and the same numbers": deduplication.NEAR == 0.92,
    "retried after 30 s, 60 s, ... up to an hour": (runner.FIRST_RETRY_S, runner.LONGEST_RETRY_S) == (30, 3600),
}


@pytest.mark.parametrize("sentence", FIGURES)
def test_a_figure_is_that_of_the_code(sentence: str) -> None:
    """What the page says, and the constant or default that it tells."""
    assert sentence in " ".join(PAGES["memory.md"].split())
    assert FIGURES[sentence]


MEANT: list[type[Detected]] = [Remember, Forget, ForgetAll, Undo, Mute, Lift, Unclear]


def test_sentences_of_the_table_of_intents_are_what_it_says() -> None:
    """Each, said to the friend."""
    table = PAGES["memory.md"].split("| the person says | what happens |")[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith('| "')]
    assert len(rows) == len(MEANT)
    for row, meant in zip(rows, MEANT, strict=True):
        sentences = re.findall(r'"([^"]+)"', row)
        assert sentences
        assert {sentence: type(detect(sentence)) for sentence in sentences} == dict.fromkeys(sentences, meant)


def test_what_the_page_calls_no_intent_is_none() -> None:
    """Nor is it asked back."""
    (said,) = re.findall(r"counts\. ((?:\"[^\"]+\",? (?:and )?)+)are not intents", " ".join(PAGES["memory.md"].split()))
    sentences = re.findall(r'"([^"]+?),?"', said)
    assert len(sentences) == 4
    assert [each for each in sentences if not isinstance(detect(each), type(None))] == []
