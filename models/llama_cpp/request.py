"""Translates a request from vLLM's dialect of OpenAI's protocol to llama.cpp's, or refuses it by field name.

llama.cpp's server ignores unknown fields; here they are refused, so that nobody relies on a constraint that does not
exist. Its sampling defaults differ (temperature 0.8, top_k 40, min_p 0.05): a request without them gets vLLM's neutral
ones. https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.constraints.json_schema import LLAMA_CPP, unenforced
from models.openai_format import plain_message

Body = dict[str, Any]

PENALTY_TOKENS = 8192  # as far back as penalties look; vLLM looks at all of an answer
NEUTRAL: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repeat_last_n": PENALTY_TOKENS,
}
_SAME = frozenset(
    {
        *("temperature", "top_p", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("ignore_eos", "stream", "response_format", "chat_template_kwargs", "parallel_tool_calls"),
        *("messages", "prompt", "tools"),
    }
)
# vLLM's fields that llama.cpp has nothing for, and the values with which they ask for nothing.
_WITHOUT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "use_beam_search": (False,),
    "prompt_logprobs": (0,),
    "min_tokens": (0,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "logits_processors": ([],),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "chat_template": (),
    "documents": ([],),
    "prompt_embeds": (),
    "mm_processor_kwargs": ({},),
    "thinking_token_budget": (),
}
_CONSTRAINTS = ("json", "choice")  # of `structured_outputs`


class Refused(Exception):
    """The request cannot be served; `param` is the faulty field, `status` is 501 if llama.cpp cannot do it."""

    def __init__(self, param: str, message: str, status: int = 501) -> None:
        super().__init__(message)
        self.param = param
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Limits:
    """The limits of the model: tokens of prompt and answer together, and the vocabulary size."""

    context_tokens: int
    vocabulary: int


def translate(body: Mapping[str, Any], limits: Limits, *, chats: bool) -> Body:
    """Return the request for llama.cpp's server; raises Refused."""
    for field, nothing in _WITHOUT.items():
        value = body.get(field)
        if value is not None and not any(type(value) is type(each) and value == each for each in nothing):
            raise Refused(field, f"{field}: llama.cpp cannot do this; leave it out, or serve the model with vLLM.")
    payload: Body = {**NEUTRAL, **{field: body[field] for field in _SAME & body.keys() if body[field] is not None}}
    if (max_tokens := _max_tokens(body, limits.context_tokens)) is not None:
        payload["max_tokens"] = max_tokens
    _check_bias(body.get("logit_bias") or {}, limits.vocabulary)
    if body.get("stream_options") and not body.get("stream"):
        raise Refused("stream_options", "stream_options: only streams have them; set `stream`.", 400)
    if type(top_k := body.get("top_k")) is int:
        payload["top_k"] = max(top_k, 0)  # -1 means all as well
    if (penalty := body.get("repetition_penalty")) is not None:
        payload["repeat_penalty"] = penalty
    if constraint := body.get("structured_outputs"):
        payload |= _constraint(constraint)
    payload |= _of_chat(body) if chats else _of_completion(body)
    if isinstance(payload.get("response_format"), dict):
        payload["response_format"] = _terse_format(payload["response_format"])
    return payload


def check_schema(param: str, schema: Any) -> None:
    """Refuse a schema of which llama.cpp would ignore a part."""
    if (ignored := unenforced(schema, LLAMA_CPP)) is not None:
        raise Refused(param, f"{param}: {ignored}.", 400)


def terse(schema: Any) -> Any:
    """The schema with JSON whitespace forbidden, with which a small model fills all its tokens (LLGuidance)."""
    return {"x-guidance": {"whitespace_flexible": False}, **schema} if isinstance(schema, dict) else schema


def _terse_format(response_format: Mapping[str, Any]) -> Body:
    if response_format.get("type") == "json_schema" and isinstance(response_format.get("json_schema"), dict):
        inner = response_format["json_schema"]
        check_schema("response_format", inner.get("schema"))
        return {**response_format, "json_schema": {**inner, "schema": terse(inner.get("schema", {}))}}
    if response_format.get("type") == "json_object":
        return {**response_format, "schema": terse(response_format.get("schema") or {"type": "object"})}
    if response_format.get("type") not in (None, "text"):
        raise Refused(
            "response_format", f"response_format: llama.cpp knows no type {json.dumps(response_format['type'])}."
        )
    return dict(response_format)


def _check_bias(bias: Any, vocabulary: int) -> None:
    if not isinstance(bias, dict):
        raise Refused("logit_bias", "logit_bias: must be an object of token ids and their bias.", 400)
    for token in bias:
        if not token.isdecimal() or int(token) >= vocabulary:
            raise Refused(
                "logit_bias", f"logit_bias: {token} is no token id of this model (0 to {vocabulary - 1}).", 400
            )


def _max_tokens(body: Mapping[str, Any], context_tokens: int) -> int | None:
    for field in ("max_completion_tokens", "max_tokens"):
        value = body.get(field)
        if value is None:
            continue
        if type(value) is not int or value < 1:
            raise Refused(field, f"{field}: must be a whole number of at least 1, got {json.dumps(value)}.", 400)
        if value > context_tokens:
            message = f"{field}: {value} is more than the context length of this model, {context_tokens} tokens."
            raise Refused(field, message, 400)
        return value
    return None


def _of_chat(body: Mapping[str, Any]) -> Body:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages", "messages: must be a list of at least one message.", 400)
    last = messages[-1]
    is_continued = bool(body.get("continue_final_message"))
    if isinstance(last, dict) and last.get("role") == "assistant" and not is_continued:
        raise Refused(
            "messages", "messages: llama.cpp goes on with a last message of the assistant's; end with another."
        )
    for message in messages:
        _check_calls(message)
    payload: Body = {"reasoning_format": "none", "messages": [plain_message(message) for message in messages]}
    if body.get("logprobs"):
        payload |= {"logprobs": True, "top_logprobs": max(body.get("top_logprobs") or 0, 1)}  # 0 switches both off
    choice = body.get("tool_choice")
    if choice in ("none", "auto"):
        payload["tool_choice"] = choice
    return payload


def _check_calls(message: Any) -> None:
    """Refuse a call whose arguments are not JSON, or so deeply nested that llama.cpp would crash."""
    for call in (message.get("tool_calls") or ()) if isinstance(message, dict) else ():
        arguments = call["function"].get("arguments")
        if isinstance(arguments, str):
            try:
                json.loads(arguments)
            except RecursionError:
                raise Refused("messages", "messages: the arguments of a call are nested too deeply.", 400) from None
            except ValueError:
                raise Refused("messages", "messages: the arguments of a call must be JSON.", 400) from None


def _of_completion(body: Mapping[str, Any]) -> Body:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and (not prompt or not all(type(token) is int for token in prompt)):
        if len(prompt) == 1:
            return {"prompt": prompt[0], **_logprobs(body)}
        raise Refused("prompt", "prompt: llama.cpp takes one at a time: ask once for each.")
    return _logprobs(body)


def _logprobs(body: Mapping[str, Any]) -> Body:
    count = body.get("logprobs")
    if count is None:
        return {}
    if type(count) is not int or not 0 <= count <= 20:
        raise Refused("logprobs", f"logprobs: must be a whole number of 0 to 20, got {json.dumps(count)}.", 400)
    return {"logprobs": max(count, 1)}  # 0 means: that of the token alone


def _constraint(constraint: Mapping[str, Any]) -> Body:
    constraints = {name: value for name, value in constraint.items() if value is not None and value is not False}
    kinds = constraints.keys() - {"disable_any_whitespace", "disable_additional_properties", "whitespace_pattern"}
    if len(kinds) != 1 or not kinds <= {*_CONSTRAINTS}:
        named = ", ".join(sorted(kinds)) or "nothing"
        raise Refused(
            "structured_outputs",
            f"structured_outputs: llama.cpp can do one of {' and '.join(_CONSTRAINTS)}, not {named}.",
        )
    if "json" in constraints:
        schema = constraints["json"]
        schema = json.loads(schema) if isinstance(schema, str) else schema
        check_schema("structured_outputs", schema)
        return {"json_schema": terse(schema)}
    choices = constraints["choice"]
    if not isinstance(choices, list) or not choices or not all(isinstance(each, str) for each in choices):
        raise Refused("structured_outputs", "structured_outputs.choice: must be a list of texts.", 400)
    return {"grammar": "root ::= " + " | ".join(json.dumps(each, ensure_ascii=False) for each in choices)}
