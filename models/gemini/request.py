"""OpenAI's chat-completions request as the arguments of the SDK's `generate_content_stream`.

Every field is translated, refused, or ignored if a client cannot notice its absence: a fallback that silently drops a
field is worse than none. Formats: the API reference of OpenAI's chat completions, vLLM's additions to it, and
https://ai.google.dev/api/generate-content. It uses no SDK types and sends nothing; Gemini itself checks the ranges of
numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.chat import BadRequest
from models.gemini.errors import Unsupported
from models.gemini.messages import Json, conversation, need
from models.gemini.resume import anchor, continuation
from models.gemini.thinking import MAX_OUTPUT_TOKENS, budget_of, generation, thinking_for

MAX_STOPS = 5

# Our names of the sampling fields, and the SDK's.
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")
_TRANSLATED = frozenset(
    {*_SAMPLING, "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop", "seed"}
    | {"max_tokens", "max_completion_tokens", "reasoning_effort"}
)
_IGNORED = frozenset(
    {"model", "stream", "stream_options", "stream_interval", "user", "metadata", "store", "service_tier", "prediction"}
    | {"safety_identifier", "prompt_cache_key", "prompt_cache_retention", "cache_salt", "priority", "request_id"}
    | {"session_id", "include_reasoning", "chat_template_kwargs", "truncation_side", "verbosity"}
)
# Values that ask for nothing, where None and empty ones are not the only ones.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "use_beam_search": (False,),
    "include_stop_str_in_output": (False,),
    "ignore_eos": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "echo": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (False,),
    "routed_experts_prompt_start": (0,),
    "return_tokens_as_token_ids": (False,),
    "return_token_ids": (False,),
    "return_token_offsets": (False,),
    "return_prompt_text": (False,),
    "return_assistant_tokens_mask": (False,),
}
# What Gemini's JSON-schema mode holds an answer to, and words that hold it to nothing.
_ENFORCED = frozenset(
    {"$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"}
    | {"minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"}
    | {"required", "propertyOrdering", "$schema", "$comment", "default", "examples", "deprecated"}
)


@dataclass(frozen=True)
class GeminiRequest:
    """The arguments for the SDK, and the limits of the answer.

    `visible_tokens` is the client's maximum (None: no limit); `single_tool_call` allows a single tool call.
    """

    contents: list[Json]
    config: Json
    visible_tokens: int | None
    single_tool_call: bool


def translate(
    request: Mapping[str, Any], *, model: str, thinking_tokens: int, continue_from: str = ""
) -> GeminiRequest:
    """The call that answers `request`.

    Args:
        request: a chat-completions request; its shape is not trusted.
        model: Gemini's name of the model.
        thinking_tokens: the default budget for thoughts.
        continue_from: the beginning of the answer, which the client already has.

    Raises:
        BadRequest, Unsupported: naming the field.

    """
    _refuse_what_it_cannot_do(request)
    contents, system = conversation(request.get("messages"), signed=generation(model) >= (3, 0))
    config: Json = {name: request[name] for name in _SAMPLING if request.get(name) is not None}
    _tidy_sampling(config)
    if system:
        config["system_instruction"] = system
    if (seed := request.get("seed")) is not None:
        if not isinstance(seed, int):
            raise BadRequest("seed: must be an integer.", field="seed")
        config["seed"] = seed & 0x7FFF_FFFF  # Gemini's are 31 bits; equal seeds stay equal
    if stops := _stops(request.get("stop")):
        config["stop_sequences"] = stops
    config.update(_tools(request))
    config.update(_format(request, with_tools="tools" in config, model=model))
    if continue_from:
        if "response_mime_type" in config:
            raise Unsupported("response_format", "a JSON answer is not continued by another model")
        contents += continuation(continue_from)
    visible = _visible_tokens(request)
    thinking = thinking_for(model, budget_of(request.get("reasoning_effort"), thinking_tokens))
    if thinking.config is not None:
        config["thinking_config"] = thinking.config
    if visible is not None:
        room = visible + thinking.headroom_tokens + len(anchor(continue_from))  # a token is a character at least
        config["max_output_tokens"] = max(visible, min(room, MAX_OUTPUT_TOKENS))
    return GeminiRequest(contents, config, visible, request.get("parallel_tool_calls") is False)


def _refuse_what_it_cannot_do(request: Mapping[str, Any]) -> None:
    for name, value in request.items():
        known = name in _TRANSLATED or name in _IGNORED
        if not known and value not in (None, [], {}, "") and value not in _NEUTRAL.get(name, ()):
            raise Unsupported(name)


def _tidy_sampling(config: Json) -> None:
    """Drop neutral values: newer models refuse a penalty even if it is zero, and vLLM's top_k may be -1."""
    for name in ("presence_penalty", "frequency_penalty"):
        if config.get(name) == 0:
            del config[name]
    if config.get("top_k") in (0, -1):
        del config["top_k"]


def _visible_tokens(request: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if (value := request.get(name)) is not None:
            if not isinstance(value, int) or value < 1:
                raise BadRequest(f"{name}: must be a positive integer.", field=name)
            return value
    return None


def _stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else need(stop or [], list, "stop")
    if len(stops) > MAX_STOPS:
        raise Unsupported("stop", f"Gemini takes at most {MAX_STOPS} of them")
    return [need(text, str, f"stop.{index}") for index, text in enumerate(stops) if text]


def _tools(request: Mapping[str, Any]) -> Json:
    tools, choice = request.get("tools"), request.get("tool_choice")
    if not tools:
        if choice not in (None, "none", "auto"):
            raise BadRequest("tool_choice: there are no tools to choose from.", field="tool_choice")
        return {}
    declarations = [_declaration(tool, f"tools.{index}") for index, tool in enumerate(need(tools, list, "tools"))]
    return {
        "tools": [{"function_declarations": declarations}],
        "tool_config": {"function_calling_config": _choice(choice)},
    }


def _declaration(tool: Any, where: str) -> Json:
    if need(tool, dict, where).get("type", "function") != "function":
        raise Unsupported(f"{where}.type", "only functions are tools here")
    function = need(tool.get("function"), dict, f"{where}.function")
    declaration: Json = {"name": need(function.get("name"), str, f"{where}.function.name")}
    if description := function.get("description"):
        declaration["description"] = need(description, str, f"{where}.function.description")
    if parameters := function.get("parameters"):
        declaration["parameters_json_schema"] = need(parameters, dict, f"{where}.function.parameters")
    return declaration


def _choice(choice: Any) -> Json:
    modes = {None: "AUTO", "auto": "AUTO", "none": "NONE", "required": "ANY"}
    if isinstance(choice, str | None) and choice in modes:
        return {"mode": modes[choice]}
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = need(need(choice.get("function"), dict, "tool_choice.function").get("name"), str, "tool_choice.function")
        return {"mode": "ANY", "allowed_function_names": [name]}
    raise Unsupported("tool_choice", "must be auto, none, required, or a function by its name")


def _format(request: Mapping[str, Any], *, with_tools: bool, model: str) -> Json:
    response_format = request.get("response_format")
    kind = need(response_format, dict, "response_format").get("type") if response_format is not None else "text"
    if kind == "text":
        return {}
    if kind not in ("json_object", "json_schema"):
        raise Unsupported("response_format", "must be text, json_object or json_schema")
    if with_tools and generation(model) < (3, 0):
        raise Unsupported("response_format", f"{model} answers in JSON or calls tools, not both in one request")
    json_mode: Json = {"response_mime_type": "application/json"}
    if kind == "json_schema":
        where = "response_format.json_schema"
        described = need(need(response_format, dict, "response_format").get("json_schema"), dict, where)
        schema = need(described.get("schema"), dict, f"{where}.schema")
        if described.get("strict"):
            for word in _unenforced(schema):
                raise Unsupported(f"{where}.schema", f"Gemini does not hold its answer to {word[:40]!r}")
        json_mode["response_json_schema"] = schema
    return json_mode


def _unenforced(schema: Any) -> Iterator[str]:
    """The keywords in a schema that Gemini would not enforce."""
    if not isinstance(schema, dict):
        return
    yield from (word for word in schema if word not in _ENFORCED)
    for key in ("properties", "$defs"):
        for inner in schema[key].values() if isinstance(schema.get(key), dict) else ():
            yield from _unenforced(inner)
    for key in ("items", "additionalProperties", "anyOf", "oneOf", "prefixItems"):
        for inner in schema[key] if isinstance(schema.get(key), list) else (schema.get(key),):
            yield from _unenforced(inner)
