"""The request and response schemas of the OpenAPI document, for bodies that pass through unparsed.

The schemas of generation requests are generated from the fields that requests are validated against
(`serving.protocol.request_fields`), so that the two cannot differ.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from serving.engines.embedder import MAX_INPUTS
from serving.protocol.anthropic.fields import MessagesRequest
from serving.protocol.request import CHAT as CHAT_PATH
from serving.protocol.request import COMPLETION as COMPLETION_PATH
from serving.protocol.request_fields import MAX_TOKEN_ID, ChatRequest, CompletionRequest
from serving.protocol.responses.fields import ResponsesRequest

Schema = dict[str, Any]


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _array(items: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": items, **bounds}


def _one_of(*choices: Schema) -> Schema:
    return {"anyOf": list(choices)}


def _number(low: float, high: float) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high}


def _integer(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
ANY_OBJECT: Schema = {"type": "object"}


def _inlined(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    """A schema with its references inlined; none of them is recursive."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if (name := schema.get("$ref")) is not None:
        return _inlined(definitions[name.rpartition("/")[2]], definitions)
    if schema.get("type") == "object" and "maxLength" in schema:  # pydantic's word for it behind a validator
        schema = {"maxProperties" if key == "maxLength" else key: value for key, value in schema.items()}
    return {key: _inlined(value, definitions) for key, value in schema.items() if key not in ("$defs", "title")}


def _fields(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(by_alias=True)
    return dict(_inlined(schema, schema.get("$defs", {})))


def allow(document: Schema, names: Iterable[str]) -> None:
    """Add the fields of generation requests that model files allow in addition to the list."""
    for path in (CHAT_PATH, COMPLETION_PATH):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for name in names:
            body["properties"][name] = {"description": "a vLLM field, accepted for some models"}


SECURITY_SCHEMES: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key of `bondhu keys create`"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "the same key"},
}
OPEN_PATHS = ("/health", "/ready")  # need no key


def secure(document: Schema) -> None:
    """Add how requests are authenticated: every operation takes either header, except those that need none."""
    document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    for path in OPEN_PATHS:
        for operation in document["paths"].get(path, {}).values():
            operation["security"] = []


_PRIVATE = _object(["private"], private={"enum": ["memory", "sensitive"]}) | {"additionalProperties": False}
_CHAT_REQUEST, _COMPLETION_REQUEST = _fields(ChatRequest), _fields(CompletionRequest)
_MESSAGE = _CHAT_REQUEST["properties"]["messages"]["items"]
_MESSAGE["properties"]["bondhu"] = _PRIVATE  # read by `serving.privacy.markers`
_CHAT_REQUEST["properties"]["bondhu"] = {
    **_object([], persona=STRING, tone=ANY_OBJECT, confirm=STRING, undo=STRING),
    "additionalProperties": False,
    "description": "an agent's own fields (docs/agents.md); not accepted for models",
}
_TEXT: Schema = {"type": "string", "minLength": 1}
_IDS = _array(_integer(0, MAX_TOKEN_ID), minItems=1)
_TOKEN_IDS = (_IDS, _array(_IDS, minItems=1, maxItems=MAX_INPUTS))
_EMBEDDING_REQUEST = _object(
    ["model", "input"],
    model=STRING,
    input=_one_of(_TEXT, _array(_TEXT, minItems=1, maxItems=MAX_INPUTS), *_TOKEN_IDS),
    encoding_format={"enum": ["float", "base64"]},
    dimensions={"type": "integer"},
    user=STRING,
)


def _request(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def request_of(model: type[BaseModel]) -> Schema:
    """The request body of a route, from the model that it is validated against."""
    return _request(_fields(model))


_CONSENT_REQUEST = _object(
    ["allow_external"],
    allow_external={"type": "boolean", "description": "requests may be sent to an external model, such as Gemini"},
    allow_sensitive={"type": "boolean", "description": "private content may be sent too"},
)

CONSENT = _request(_CONSENT_REQUEST)
IMPORT = _request({"$ref": "#/components/schemas/Document"})  # the response of an export
CHAT = _request(_CHAT_REQUEST)
COMPLETION = _request(_COMPLETION_REQUEST)
EMBEDDING = _request(_EMBEDDING_REQUEST)
RESPONSES = request_of(ResponsesRequest)
MESSAGES = request_of(MessagesRequest)

CONSENT_FIELDS: dict[str, Schema] = {
    "object": {"const": "consent"},
    "user": STRING,
    "asked": BOOLEAN,
    "allow_external": BOOLEAN,
    "allow_sensitive": BOOLEAN,
    "changed_at": {"type": ["string", "null"], "format": "date-time"},
    "holds": _object(["allow_external", "allow_sensitive"], allow_external=BOOLEAN, allow_sensitive=BOOLEAN),
}

_ERROR = _object(
    ["error"],
    error=_object(
        ["message", "type", "param", "code"],
        message=STRING,
        type=STRING,
        param={"type": ["string", "null"]},
        code={"type": ["string", "null"]},
    ),
)
_USAGE = _object(["prompt_tokens", "total_tokens"], prompt_tokens=_integer(0, 2**53), total_tokens=_integer(0, 2**53))
_CARD = _object(
    ["id", "object", "created", "owned_by"], id=STRING, object={"const": "model"}, created={"type": "integer"}
)


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> dict[int | str, Schema]:
    meanings = {
        400: "The request is invalid; `error.param` names the field.",
        401: "The API key is missing, unknown, revoked or expired.",
        403: "The key is not allowed to do this.",
        404: "The requested object does not exist.",
        408: "The body did not arrive completely, or not in time.",
        409: "The object has changed meanwhile.",
        413: "The body is too large.",
        415: "The body is compressed.",
        429: "A limit of the key's tier, or too many invalid keys from the same address; see Retry-After.",
        502: "The engine failed while it generated the response.",
        503: "The service is unavailable now; see Retry-After.",
        504: "The engine did not finish in time.",
    }
    # Every route with authentication can throttle invalid keys; every route with a body limit can time out.
    follows = {429: 401 in statuses, 408: 413 in statuses, 415: 413 in statuses}
    listed = sorted({*statuses, *(status for status, is_so in follows.items() if is_so)})
    return {status: _json(meanings[status], _ERROR) for status in listed}


_GENERATED = _object(
    ["id", "object", "created", "model", "choices", "usage"],
    id=STRING,
    object={"enum": ["chat.completion", "text_completion"]},
    created={"type": "integer"},
    model=STRING,
    choices=_array(ANY_OBJECT, minItems=1),
    usage=_USAGE,
)
_EVENTS: Schema = {"text/event-stream": {"schema": _object(["data"], data=STRING)}}  # of each event
GENERATION_RESPONSES: dict[int | str, Schema] = {
    200: {"description": "The response.", "content": {"application/json": {"schema": _GENERATED}} | _EVENTS},
    **_errors(400, 401, 403, 404, 413, 429, 502, 503, 504),
}
_RESPONSE = _object(
    ["id", "object", "created_at", "status", "model", "output", "usage"],
    id=STRING,
    object={"const": "response"},
    created_at={"type": "integer"},
    status={"enum": ["completed", "incomplete"]},
    model=STRING,
    output=_array(ANY_OBJECT, minItems=1),
    usage=ANY_OBJECT,
)
RESPONSES_RESPONSES: dict[int | str, Schema] = {
    200: {"description": "The response.", "content": {"application/json": {"schema": _RESPONSE}} | _EVENTS},
    **_errors(400, 401, 403, 404, 413, 429, 502, 503, 504),
}
_MESSAGE_REPLY = _object(
    ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
    id=STRING,
    type={"const": "message"},
    role={"const": "assistant"},
    model=STRING,
    content=_array(ANY_OBJECT, minItems=1),
    stop_reason=STRING,
    stop_sequence={"type": ["string", "null"]},
    usage=ANY_OBJECT,
)
_MESSAGES_ERROR = _object(
    ["type", "error"], type={"const": "error"}, error=_object(["type", "message"], type=STRING, message=STRING)
)
MESSAGES_RESPONSES: dict[int | str, Schema] = {
    200: {"description": "The message.", "content": {"application/json": {"schema": _MESSAGE_REPLY}} | _EVENTS},
    **{
        status: _json(each["description"], _MESSAGES_ERROR)
        for status, each in _errors(400, 401, 403, 404, 413, 429, 502, 503, 504).items()
    },
}
_TOKENS = _object(["count", "tokens"], count={"type": "integer", "minimum": 0}, tokens=_array({"type": "integer"}))
TOKENS_RESPONSES: dict[int | str, Schema] = {
    200: _json("The tokens.", _TOKENS),
    **_errors(400, 401, 403, 404, 413, 429, 502, 503),
}
TEXT_RESPONSES: dict[int | str, Schema] = {
    200: _json("The text.", _object(["prompt"], prompt=STRING)),
    **_errors(400, 401, 403, 404, 413, 429, 502, 503),
}
COUNT_RESPONSES: dict[int | str, Schema] = {
    200: _json("The number of tokens.", _object(["input_tokens"], input_tokens={"type": "integer", "minimum": 1})),
    **{
        status: _json(each["description"], _MESSAGES_ERROR)
        for status, each in _errors(400, 401, 403, 404, 413, 429, 502, 503).items()
    },
}
_EMBEDDINGS = _object(["object", "data", "model", "usage"], data=_array(ANY_OBJECT), model=STRING, usage=_USAGE)
EMBEDDING_RESPONSES = {200: _json("The embeddings.", _EMBEDDINGS), **_errors(400, 401, 403, 404, 413, 429, 503, 504)}
_RESULT = _object(
    ["index", "relevance_score"], index=_integer(0, 2**31), relevance_score=_number(0, 1), document=ANY_OBJECT
)
_RANKING = _object(["id", "model", "usage", "results"], id=STRING, model=STRING, usage=_USAGE, results=_array(_RESULT))
RERANK_RESPONSES: dict[int | str, Schema] = {
    200: _json("The documents, best first.", _RANKING),
    **_errors(400, 401, 403, 404, 413, 429, 503),
}
LIST_RESPONSES = {200: _json("The models.", _object(["object", "data"], data=_array(_CARD))), **_errors(401)}
MODEL_RESPONSES = {200: _json("The model.", _CARD), **_errors(401, 404, 503)}
READY_RESPONSES: dict[int | str, Schema] = {503: _json("Not ready, with reasons.", ANY_OBJECT)}

_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_MAYBE_STRING: Schema = {"type": ["string", "null"]}
_SECONDS: Schema = {"type": ["number", "null"], "minimum": 0}
_STEP = _object(
    ["kind", "name", "detail", "outcome", "at_ms", "ms", "outside_calls"],
    kind=STRING,
    name=STRING,
    detail=STRING,
    outcome={"enum": ["done", "repaired", "skipped", "failed", "aborted"]},
    at_ms={"type": "number"},
    ms={"type": "number"},
    outside_calls=_COUNT,
)
REQUEST_USAGE_FIELDS: dict[str, Schema] = {
    "object": {"const": "usage"},
    "id": STRING,
    "request_id": STRING,
    "status": {"enum": ["running", "ended"]},
    "outcome": _MAYBE_STRING,
    "http_status": {"type": ["integer", "null"]},
    "error_code": _MAYBE_STRING,
    "app": STRING,
    "user": _MAYBE_STRING,
    "class": {"enum": ["interactive", "agent", "job"]},
    "endpoint": STRING,
    "model_asked": _MAYBE_STRING,
    "model": _MAYBE_STRING,
    "segments": {"type": ["array", "null"], "items": ANY_OBJECT},
    "steps": {"type": ["array", "null"], "items": _STEP},
    "cache": _MAYBE_STRING,
    "prompt_tokens": _MAYBE_COUNT,
    "cached_tokens": _MAYBE_COUNT,
    "completion_tokens": _MAYBE_COUNT,
    "started_at": {"type": "string", "format": "date-time"},
    "latency_s": _SECONDS,
    "ttft_s": _SECONDS,
    "cost_microusd": _MAYBE_COUNT,
}
_REQUEST_USAGE = _object(list(REQUEST_USAGE_FIELDS), **REQUEST_USAGE_FIELDS)
_SUM = _object(
    ["requests", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_microusd"],
    app=STRING,
    user=_MAYBE_STRING,
    model=_MAYBE_STRING,
    day={"type": "string", "format": "date"},
    requests=_COUNT,
    prompt_tokens=_COUNT,
    cached_tokens=_COUNT,
    completion_tokens=_COUNT,
    cost_microusd=_COUNT,
)
_SUMS = _object(["object", "data", "has_more"], object={"const": "list"}, data=_array(_SUM), has_more=BOOLEAN)
REQUEST_USAGE_RESPONSES = {200: _json("The request's usage.", _REQUEST_USAGE), **_errors(400, 401, 404, 503)}
USAGE_RESPONSES = {200: _json("The sums.", _SUMS), **_errors(400, 401, 403, 429, 503)}
_CONSENT = _object(list(CONSENT_FIELDS), **CONSENT_FIELDS)
CONSENT_RESPONSES = {
    200: _json("The person's consent, and what is allowed.", _CONSENT),
    **_errors(400, 401, 403, 413, 429, 503),
}
CHAT_HEALTH_RESPONSES = {**_errors(401), 503: _json("Not ready, with the reason.", ANY_OBJECT)}
MEMORY_RESPONSES = _errors(400, 401, 403, 404, 409, 413, 429, 503)
AGENT_RESPONSES = _errors(400, 401, 403, 404, 413, 429, 502, 503, 504)
METRICS_RESPONSES: dict[int | str, Schema] = {
    200: {"description": "Prometheus's text format.", "content": {"text/plain": {"schema": STRING}}},
    **_errors(401, 403),
}
REPORT_RESPONSES: dict[int | str, Schema] = {**_errors(401, 403, 503)}
