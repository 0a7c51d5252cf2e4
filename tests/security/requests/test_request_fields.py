"""What a generation request may have is one list: the rest is refused by name, and the document says the same."""

import ast
import contextlib
import importlib.util
import random
import typing
from pathlib import Path
from typing import Any

import pytest
from openai.types import completion_create_params as of_completions
from openai.types.chat import completion_create_params as of_chats

from serving.config.schema import NEVER, ModelSpec
from serving.errors import InvalidRequest
from serving.protocol.check import check_request, for_engines
from serving.protocol.request import CHAT, COMPLETION
from serving.protocol.request_fields import NOT_FOR_ENGINES, ChatRequest, CompletionRequest, Generated
from serving.routes import openapi

HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": HELLO},
    COMPLETION: {"model": "m", "prompt": "Hi"},
}
SHAPES: dict[str, type[Generated]] = {CHAT: ChatRequest, COMPLETION: CompletionRequest}
REFUSED = {  # fields of vLLM's that only an operator may allow
    "priority",
    "cache_salt",
    "request_id",
    "session_id",
    "kv_transfer_params",
    "ec_transfer_params",
    "vllm_xargs",
    "prompt_embeds",
    "chat_template",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "routed_experts_prompt_start",
    "return_token_offsets",
    "return_prompt_text",
    "return_assistant_tokens_mask",
    "stream_interval",
}


def refusal(path: str, **fields: Any) -> InvalidRequest:
    """The error that a valid request with these fields meets."""
    with pytest.raises(InvalidRequest) as caught:
        check_request(path, VALID[path] | fields)
    return caught.value


def vllm_fields(module: str, name: str) -> set[str]:
    """The fields of a request of vLLM's, read from its source: its import takes ten seconds."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0]) / "entrypoints/openai" / module / "protocol.py"
    (found,) = (
        node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef) and node.name == name
    )
    lines = (line.target for line in found.body if isinstance(line, ast.AnnAssign))
    return {target.id for target in lines if isinstance(target, ast.Name) and not target.id.startswith("_")}


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [(CHAT, "chat_completion", "ChatCompletionRequest"), (COMPLETION, "completion", "CompletionRequest")],
)
def test_every_field_of_vllms_is_listed_or_refused_on_purpose(path: str, module: str, name: str) -> None:
    """A version of vLLM with a new field makes this fail, and somebody decide."""
    theirs = vllm_fields(module, name)
    assert len(theirs) > 40
    assert theirs - set(SHAPES[path].model_fields) <= REFUSED
    assert not REFUSED & set(SHAPES[path].model_fields)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (CHAT, of_chats.CompletionCreateParamsNonStreaming),
        (COMPLETION, of_completions.CompletionCreateParamsNonStreaming),
    ],
)
def test_every_field_of_openais_is_listed(path: str, params: Any) -> None:
    """Any OpenAI client works unchanged; only sound is not to be had."""
    assert set(typing.get_type_hints(params)) - set(SHAPES[path].model_fields) <= {"audio"}


@pytest.mark.parametrize("path", [CHAT, COMPLETION])
def test_the_document_says_the_same_list(path: str) -> None:
    """Names, and that there are no others; a chat's may be an agent's own too."""
    document = openapi.CHAT if path == CHAT else openapi.COMPLETION
    schema = document["requestBody"]["content"]["application/json"]["schema"]
    of_agents = {"bondhu"} if path == CHAT else set()
    assert set(schema["properties"]) == set(SHAPES[path].model_fields) | of_agents
    assert schema["additionalProperties"] is False
    assert "$ref" not in str(schema)


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_what_is_not_listed_is_refused_with_its_name(field: str) -> None:
    """Whatever its value, on both endpoints."""
    for path, value in ((CHAT, {}), (CHAT, None), (COMPLETION, 1)):
        problem = refusal(path, **{field: value})
        assert problem.param == field
        assert problem.message.startswith(f"{field}: this field is not accepted")


def test_a_misspelt_field_meets_the_nearest() -> None:
    """A typo is no silent default."""
    assert "did you mean temperature?" in refusal(CHAT, temperatur=1).message


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64 - 1, -(2**63), "7", 1.5, True, [], {}, 1e300])
@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens", "min_tokens", "top_k", "top_logprobs"])
def test_a_number_is_bounded_where_it_enters(field: str, value: Any) -> None:
    """400 that names the field; a number in quotes is none."""
    assert refusal(CHAT, **{field: value}).param == field


@pytest.mark.parametrize("path", [CHAT, COMPLETION])
def test_no_scalar_takes_a_long_text_or_a_wrong_type(path: str) -> None:
    """Nothing but prompts, messages, schemas and grammars is as long as a client likes."""
    free = {"messages", "prompt", "tools", "functions", "structured_outputs", "documents"}
    for field in set(SHAPES[path].model_fields) - free:
        problem = refusal(path, **{field: "/a" * 50_000})
        assert problem.param == field
        assert len(problem.message) < 1000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [*HELLO, {"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages.1.content.0.text",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word"),
        ({"stream_options": {"everything": True}}, "stream_options.everything"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"messages": None}, "messages"),
        ({"chat_template_kwargs": {"tools": {}}}, "chat_template_kwargs.tools"),
    ],
)
def test_a_fault_inside_a_field_is_found_where_it_is(fields: dict[str, Any], param: str) -> None:
    """`param` is the way to it in what the client sent."""
    assert refusal(CHAT, **fields).param == param


@pytest.mark.parametrize(
    "fields",
    [
        {f"k{number}": 1 for number in range(200_000)},
        {"logit_bias": {f"k{number}": "x" for number in range(200_000)}},
        {"messages": [1] * 500_000},
        {"messages": [{"role": "user", "content": [1] * 500_000}]},
        {"stop": [1] * 500_000},
        {"stream_options": {f"k{number}": 1 for number in range(200_000)}},
    ],
)
def test_a_large_wrong_body_has_one_fault(fields: dict[str, Any]) -> None:
    """Faults are not collected by the hundred thousand: the first is enough."""
    assert len(refusal(CHAT, **fields).message) < 1000


def test_engines_are_not_shown_what_they_do_not_know() -> None:
    """OpenAI's own fields are accepted and stay here."""
    unknown = {
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "verbosity": "low",
        "modalities": ["text"],
    }
    check_request(CHAT, VALID[CHAT] | unknown)
    assert for_engines(VALID[CHAT] | unknown) == VALID[CHAT]
    assert set(ChatRequest.model_fields) | set(CompletionRequest.model_fields) >= NOT_FOR_ENGINES


def test_an_operator_may_allow_more_for_a_model() -> None:
    """Fields, and parts of messages; never what keeps clients apart, nor URLs from anywhere."""
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]
    check_request(CHAT, VALID[CHAT] | {"priority": 3}, allow_fields=["priority"])
    check_request(CHAT, VALID[CHAT] | {"messages": image}, allow_content=["image_url"])
    model = {"id": "m", "path": "somewhere"}
    for name in NEVER:
        with pytest.raises(ValueError, match="cannot be allowed"):
            ModelSpec.model_validate(model | {"allow_fields": (name,)})
    with pytest.raises(ValueError, match="allowed_media_domains"):
        ModelSpec.model_validate(model | {"allow_content": ("image_url",)})
    engine = {"allowed_media_domains": ["example.org"]}
    assert ModelSpec.model_validate(model | {"allow_content": ("image_url",), "engine": engine}).allow_content


def test_whatever_is_sent_is_accepted_or_refused() -> None:
    """Random values in random fields raise nothing but InvalidRequest."""
    chance = random.Random(4)
    values: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1e308,
        "",
        "x",
        "\0",
        [],
        {},
        [[]],
        [1],
        ["a"],
        {"a": {}},
        {"type": "x"},
    ]
    for _ in range(5_000):
        path = chance.choice([CHAT, COMPLETION])
        names = chance.sample(sorted(SHAPES[path].model_fields), 3)
        body = VALID[path] | {name: chance.choice(values) for name in names}
        with contextlib.suppress(InvalidRequest):
            check_request(path, body)


def test_the_document_says_what_an_operator_allows() -> None:
    """A field that a model's file allows is in the document as well."""
    shape = {"properties": {"model": {}}}
    post = {"post": {"requestBody": {"content": {"application/json": {"schema": shape}}}}}
    document: dict[str, Any] = {"paths": {CHAT: post, COMPLETION: post}}
    openapi.allow(document, ["priority"])
    assert set(shape["properties"]) == {"model", "priority"}
