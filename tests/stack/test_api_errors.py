"""A client's mistake is answered in OpenAI's error envelope, naming the parameter, and never with a 5xx."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIError, AuthenticationError, BadRequestError, NotFoundError, OpenAI

from tests.support.local_stack import LocalStack
from tests.support.polling import eventually
from tests.support.services import Service, of_each_engine

MODEL, EMBEDDER = "bondhu-demo", "all-minilm-l6-v2"
CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MIB = 2**20
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2},
    COMPLETIONS: {"model": MODEL, "prompt": "Hi", "max_tokens": 2},
    EMBEDDINGS: {"model": EMBEDDER, "input": "Hi"},
}
ABSENT = object()


def envelope(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a reply, which must have this status and exactly OpenAI's envelope."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"]
    return error


def changed(path: str, field: str, value: Any) -> dict[str, Any]:
    """A valid body of `path` with one field set, or taken away."""
    body = VALID[path] | {field: value}
    return {key: each for key, each in body.items() if each is not ABSENT}


@pytest.mark.parametrize(
    "body",
    [b"", b"{not json", b"[]", b'"text"', b"null", b"1", b"\xff\xfe\x00", b'{"model": NaN}', b'{"model": "\\ud800"}'],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, path: str, body: bytes) -> None:
    """What is no JSON object is 400, whatever it is."""
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert envelope(answer, 400)["type"] == "invalid_request_error"


OF_THE_ENGINE = [
    (CHAT, "model", ABSENT),
    (CHAT, "model", 3),
    (CHAT, "model", ""),
    (CHAT, "messages", ABSENT),
    (CHAT, "messages", "Hi"),
    (CHAT, "messages", []),
    (CHAT, "messages", [{"role": "user", "content": 5}]),
    (CHAT, "messages", [{"role": "wizard", "content": "Hi"}]),
    (CHAT, "messages", [{"content": "Hi"}]),
    (CHAT, "messages", ["Hi"]),
    (CHAT, "temperature", "hot"),
    (CHAT, "temperature", -1),
    (CHAT, "top_p", 2),
    (CHAT, "n", 0),
    (CHAT, "n", "two"),
    (CHAT, "n", 129),
    (CHAT, "max_tokens", 0),
    (CHAT, "max_tokens", "many"),
    (CHAT, "max_completion_tokens", -1),
    (CHAT, "stream", "maybe"),
    (CHAT, "stop", 5),
    (CHAT, "seed", 1.5),
    (CHAT, "seed", 10**30),
    (CHAT, "logprobs", "some"),
    (CHAT, "top_logprobs", 1000),
    (CHAT, "presence_penalty", 5),
    (CHAT, "frequency_penalty", "much"),
    (CHAT, "logit_bias", {"word": 1}),
    (CHAT, "logit_bias", {"9999999": 1}),
    (CHAT, "response_format", {"type": "poem"}),
    (CHAT, "response_format", "json"),
    (CHAT, "response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}),
    (CHAT, "tools", "all"),
    (CHAT, "tools", [{"type": "function"}]),
    (CHAT, "tool_choice", {"type": "function", "function": {"name": "absent"}}),
    (CHAT, "stream_options", {"include_usage": True}),
    (CHAT, "top_k", "few"),
    (CHAT, "min_tokens", -1),
    (COMPLETIONS, "model", ABSENT),
    (COMPLETIONS, "prompt", ABSENT),
    (COMPLETIONS, "prompt", {"text": "Hi"}),
    (COMPLETIONS, "prompt", []),
    (COMPLETIONS, "prompt", [-1]),
    (COMPLETIONS, "prompt", [10**7]),
    (COMPLETIONS, "max_tokens", -5),
    (COMPLETIONS, "logprobs", 1000),
    (COMPLETIONS, "temperature", []),
]
OF_THE_EMBEDDER = [
    (EMBEDDINGS, "model", ABSENT),
    (EMBEDDINGS, "input", ABSENT),
    (EMBEDDINGS, "input", ""),
    (EMBEDDINGS, "input", []),
    (EMBEDDINGS, "input", 5),
    (EMBEDDINGS, "input", ["fine", ""]),
    (EMBEDDINGS, "input", ["fine", 5]),
    (EMBEDDINGS, "input", [-1]),
    (EMBEDDINGS, "input", [10**7]),
    (EMBEDDINGS, "input", ["x"] * 2049),
    (EMBEDDINGS, "encoding_format", "hex"),
    (EMBEDDINGS, "dimensions", 7),
]


def named(cases: list[tuple[str, str, Any]]) -> pytest.MarkDecorator:
    """A test's parameters, with ids that can be read."""
    ids = [f"{path[4:]}-{field}-{str(value)[:20]}" for path, field, value in cases]
    return pytest.mark.parametrize(("path", "field", "value"), cases, ids=ids)


@of_each_engine
@named(OF_THE_ENGINE)
def test_a_wrong_parameter_is_named(http: httpx.Client, path: str, field: str, value: Any) -> None:
    """A missing or wrong field is 400, and `param` names it (a path into it, where it is nested)."""
    error = envelope(http.post(path, json=changed(path, field, value)), 400)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").split(".")[0].split("[")[0] == field, error
    assert "loc" not in error["message"], "the validator's internals are not for clients"


@named(OF_THE_EMBEDDER)
def test_a_wrong_parameter_for_the_embedder_is_named(http: httpx.Client, path: str, field: str, value: Any) -> None:
    """Of embeddings too."""
    error = envelope(http.post(path, json=changed(path, field, value)), 400)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").split(".")[0].split("[")[0] == field, error


LONG = "word " * 12_000


@of_each_engine
@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (CHAT, "messages", [{"role": "user", "content": LONG}]),
        (COMPLETIONS, "prompt", LONG),
        (COMPLETIONS, "prompt", [300] * 12_000),
    ],
    ids=["chat", "completion", "completion-ids"],
)
def test_too_long_a_context_is_named(http: httpx.Client, path: str, field: str, value: Any) -> None:
    """A prompt beyond the model's window is 400 `context_length_exceeded`, never cut silently."""
    error = envelope(http.post(path, json=changed(path, field, value)), 400)
    assert error["param"] == field
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("value", [LONG, ["short", LONG]], ids=["one", "batch"])
def test_too_long_a_text_to_embed_is_named(http: httpx.Client, value: Any) -> None:
    """The same of the embedder."""
    error = envelope(http.post(EMBEDDINGS, json=changed(EMBEDDINGS, "input", value)), 400)
    assert error["param"] == "input"
    assert error["code"] == "context_length_exceeded"


@of_each_engine
@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (CHAT, "messages", [{"role": "user", "content": LONG}]),
        (COMPLETIONS, "prompt", [10**7]),
        (COMPLETIONS, "prompt", [[]]),
        (CHAT, "temperature", -1),
    ],
)
def test_a_stream_that_cannot_begin_is_refused(http: httpx.Client, path: str, field: str, value: Any) -> None:
    """A mistake in a request for a stream is a 400 too, never a 200 whose stream tells of it."""
    error = envelope(http.post(path, json=changed(path, field, value) | {"stream": True}), 400)
    assert (error["param"] or "").split(".")[0] == field


@of_each_engine
def test_a_stream_that_breaks_off_says_so(client: OpenAI) -> None:
    """A constraint that no text satisfies ends a stream with an error that the official client raises."""
    with pytest.raises(APIError) as caught:  # as a 400, or in the stream where its first event was out already
        list(
            client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "Hi"}],
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}},
                stream=True,
            )
        )
    assert caught.value.param == "response_format"


@of_each_engine
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_more_tokens_than_the_window_are_refused(http: httpx.Client, field: str) -> None:
    """Asking for more tokens than the model's window has is 400 naming that parameter."""
    body = {key: value for key, value in VALID[CHAT].items() if key != "max_tokens"} | {field: 100_000}
    assert envelope(http.post(CHAT, json=body), 400)["param"] == field


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_an_unknown_model_is_not_found(http: httpx.Client, path: str) -> None:
    """A model that is not served is 404 `model_not_found`."""
    error = envelope(http.post(path, json=VALID[path] | {"model": "gpt-4"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "gpt-4" in error["message"]


def test_the_official_client_raises_its_own_errors(client: OpenAI) -> None:
    """The envelope is one that the official client understands: type, code and parameter arrive."""
    with pytest.raises(NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    assert unknown.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as wrong:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}], temperature=-1)
    assert wrong.value.param == "temperature"
    assert wrong.value.type == "invalid_request_error"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_too_large_a_body_is_refused(http: httpx.Client, path: str) -> None:
    """More than 4 MiB is 413, whether the client says so beforehand or sends in chunks."""
    large = json.dumps(VALID[path] | {"user": "x" * 5 * MIB}).encode()
    assert envelope(http.post(path, content=large), 413)["code"] == "request_too_large"

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(large), 64 * 1024):
            yield large[start : start + 64 * 1024]

    assert envelope(http.post(path, content=chunks()), 413)["type"] == "invalid_request_error"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer sk-garbage", "Basic Ym9uZGh1", "Bearer \xe9"])
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("POST", EMBEDDINGS), ("GET", "/v1/models")])
def test_without_a_valid_key_nothing_is_answered(stack: LocalStack, method: str, path: str, header: str | None) -> None:
    """No key, or one that does not exist, is 401 `invalid_api_key`."""
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    error = envelope(httpx.request(method, stack.url + path, headers=headers, json=VALID.get(path)), 401)
    assert error["code"] == "invalid_api_key"


def test_a_revoked_key_stops_working(stack: LocalStack) -> None:
    """A key made with `bondhu keys create` works until `bondhu keys revoke`, and seconds later no more."""
    made = json.loads(stack.bondhu("keys", "create", "--name", "a test", "--json").stdout)
    with OpenAI(base_url=f"{stack.url}/v1", api_key=made["key"], max_retries=0) as client:
        assert client.models.list().data
        assert stack.bondhu("keys", "revoke", made["id"]).returncode == 0

        def is_refused() -> bool:
            try:
                client.models.list()
            except AuthenticationError:
                return True
            return False

        eventually(is_refused, 15, "the revoked key to be refused")


def test_an_unknown_route_is_not_found(http: httpx.Client) -> None:
    """A path that does not exist is 404 in the envelope."""
    assert envelope(http.get("/v1/nonsense"), 404)["type"] == "invalid_request_error"


@pytest.mark.parametrize(("method", "path"), [("GET", CHAT), ("PUT", COMPLETIONS), ("DELETE", "/v1/models")])
def test_a_wrong_method_is_refused(http: httpx.Client, method: str, path: str) -> None:
    """A method that a path does not have is 405 in the envelope, with Allow."""
    answer = http.request(method, path)
    envelope(answer, 405)
    assert answer.headers["allow"]


def nested(depth: int) -> Any:
    """A schema in a schema in a schema."""
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def json_form(schema: Any) -> dict[str, Any]:
    """`response_format` with a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def called(arguments: str) -> list[dict[str, Any]]:
    """A conversation in which a tool was called with these arguments."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]


ODD: dict[str, bytes] = {
    "deep array": b'{"model": "bondhu-demo", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep messages": json.dumps(VALID[CHAT] | {"messages": nested(400)}).encode(),
    "deep content": json.dumps(VALID[CHAT] | {"messages": [{"role": "user", "content": [nested(300)]}]}).encode(),
    "deep schema": json.dumps(VALID[CHAT] | {"response_format": json_form(nested(300))}).encode(),
    "deep tool": json.dumps(
        VALID[CHAT] | {"tools": [{"type": "function", "function": {"name": "f", "parameters": nested(300)}}]}
    ).encode(),
    "deep schema in a string": json.dumps(
        VALID[CHAT] | {"structured_outputs": {"json": '{"not":' * 20_000 + "{}" + "}" * 20_000}}
    ).encode(),
    "deep pattern": json.dumps(
        VALID[CHAT] | {"structured_outputs": {"regex": "(" * 50_000 + "a" + ")" * 50_000}}
    ).encode(),
    "deep arguments": json.dumps(VALID[CHAT] | {"messages": called('{"a":' * 50_000 + "1" + "}" * 50_000)}).encode(),
    "arguments as deep as Python reads": json.dumps(
        VALID[CHAT] | {"messages": called('{"a":' * 900 + "1" + "}" * 900)}
    ).encode(),
    "huge integer": b'{"model": "bondhu-demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1'
    + b"0" * 5000
    + b"}",
    "huge seed": json.dumps(VALID[CHAT] | {"seed": -(2**63) - 1}).encode(),
    "huge float": b'{"model": "bondhu-demo", "messages": [{"role": "user", "content": "Hi"}], "temperature": 1e999}',
    "infinity": b'{"model": "bondhu-demo", "messages": [{"role": "user", "content": "Hi"}], "temperature": Infinity}',
    "lone surrogate": b'{"model": "bondhu-demo", "messages": [{"role": "user", "content": "\\udc00"}]}',
    "zero byte in stop": json.dumps(VALID[CHAT] | {"stop": ["\0", ""]}).encode(),
    "empty stop": json.dumps(VALID[CHAT] | {"stop": ""}).encode(),
    "stop without end": json.dumps(VALID[CHAT] | {"stop": ["x"] * 10_000}).encode(),
    "wrong pattern": json.dumps(VALID[CHAT] | {"structured_outputs": {"regex": "([a-z"}}).encode(),
    "wrong grammar": json.dumps(VALID[CHAT] | {"structured_outputs": {"grammar": "root ::="}}).encode(),
    "no choice": json.dumps(VALID[CHAT] | {"structured_outputs": {"choice": []}}).encode(),
    "two guides": json.dumps(VALID[CHAT] | {"structured_outputs": {"choice": ["a"], "regex": "b"}}).encode(),
    "schema that refers to itself": json.dumps(VALID[CHAT] | {"response_format": json_form({"$ref": "#"})}).encode(),
    "schema that refers to nothing": json.dumps(
        VALID[CHAT] | {"response_format": json_form({"$ref": "#/$defs/absent"})}
    ).encode(),
    "impossible schema": json.dumps(
        VALID[CHAT] | {"response_format": json_form({"type": "integer", "minimum": 5, "maximum": 1})}
    ).encode(),
    "tool without a name": json.dumps(
        VALID[CHAT] | {"tools": [{"type": "function", "function": {}}], "tool_choice": "auto"}
    ).encode(),
    "arguments that are no JSON": json.dumps(VALID[CHAT] | {"messages": called("{")}).encode(),
    "an image": json.dumps(
        VALID[CHAT]
        | {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}
            ]
        }
    ).encode(),
    "own chat template": json.dumps(VALID[CHAT] | {"chat_template": "{{ 1 / 0 }}"}).encode(),
    "a template's arguments": json.dumps(
        VALID[CHAT] | {"chat_template_kwargs": {"messages": 1, "tokenize": True}}
    ).encode(),
    "allowed tokens out of range": json.dumps(VALID[CHAT] | {"allowed_token_ids": [10**9]}).encode(),
    "prompt logprobs": json.dumps(VALID[CHAT] | {"prompt_logprobs": 10**6}).encode(),
    "bad words": json.dumps(VALID[CHAT] | {"bad_words": [""]}).encode(),
    "a beam": json.dumps(VALID[CHAT] | {"use_beam_search": True, "n": 2}).encode(),
    "a transfer between engines": json.dumps(
        VALID[CHAT] | {"kv_transfer_params": {"do_remote_prefill": True}}
    ).encode(),
    "negative priority": json.dumps(VALID[CHAT] | {"priority": -5}).encode(),
    "a cache salt": json.dumps(VALID[CHAT] | {"cache_salt": ""}).encode(),
}


@of_each_engine
@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_requests_break_nothing(http: httpx.Client, engine_service: Service, body: bytes) -> None:
    """A strange request is answered, or refused as the client's mistake; the engine outlives it."""
    before = [(replica["replica_id"], replica["epoch"]) for replica in engine_service.replicas()]
    answer = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    if answer.status_code != 200:
        envelope(answer, 400)
    http.post(CHAT, json=VALID[CHAT]).raise_for_status()
    assert [(replica["replica_id"], replica["epoch"]) for replica in engine_service.replicas()] == before


def test_a_sane_request_id_comes_back(http: httpx.Client) -> None:
    """The client's own `x-request-id` is on the reply, also on an error."""
    headers = {"x-request-id": "chat-42.A_b:c"}
    assert http.get("/health", headers=headers).headers["x-request-id"] == "chat-42.A_b:c"
    assert http.get("/v1/nonsense", headers=headers).headers["x-request-id"] == "chat-42.A_b:c"
    assert http.post(CHAT, json=VALID[CHAT], headers=headers).headers["x-request-id"] == "chat-42.A_b:c"


@pytest.mark.parametrize("request_id", ["", "two words", "x" * 200, "a\tb", "{}"])
def test_an_insane_request_id_is_replaced(http: httpx.Client, request_id: str) -> None:
    """A request id that could harm a log is replaced by one of our own."""
    answered = http.get("/health", headers={"x-request-id": request_id}).headers["x-request-id"]
    assert answered != request_id
    assert answered.isalnum()


def test_every_request_has_its_own_id(http: httpx.Client) -> None:
    """Without a client's id, no two replies have the same."""
    assert len({http.get("/health").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_a_generated_reply_says_what_answered(http: httpx.Client, path: str) -> None:
    """`x-bondhu-model` gives id, revision and quantisation."""
    answer = http.post(path, json=VALID[path])
    model, revision, quantization = answer.headers["x-bondhu-model"].split("; ")
    assert model == VALID[path]["model"]
    assert len(revision) > len("revision=")
    assert len(quantization) > len("quantization=")
