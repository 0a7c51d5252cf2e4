"""What docs/memory.md and docs/recall.md name is there: endpoints and their parameters, files, settings, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from memory.intents.detector import Detected, Forget, ForgetAll, Lift, Mute, Remember, Unclear, Undo, detect
from memory.recall.relevance import SENSITIVE, WITH_VECTORS
from memory.schemas import SCHEMA_VERSION
from serving.config.schema import Settings
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
