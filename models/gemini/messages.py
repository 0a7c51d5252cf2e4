"""OpenAI's `messages` as Gemini's `contents` and `system_instruction`, in the SDK's dictionaries.

Gemini requires alternating roles `user` and `model`, so consecutive messages of one side are joined; tool results
belong to the user. Gemini 3 refuses a history in which the first tool call of a model's turn lacks its thought
signature. Clients return signatures in the field of Google's own OpenAI endpoint
(`extra_content.google.thought_signature` of a tool call). A call without one was made by another model, or its client
drops unknown fields; it gets the value that Google documents for this case:
https://ai.google.dev/gemini-api/docs/thought-signatures.

It does not fetch: images, audio and files must be in the request.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from models.chat import BadRequest
from models.gemini.errors import Unsupported

NO_SIGNATURE = b"skip_thought_signature_validator"

Json = dict[str, Any]
Kind = TypeVar("Kind")

_KINDS: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}
_DATA_URL = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(?P<data>.*)", re.S)


def conversation(messages: Any, *, signed: bool) -> tuple[list[Json], str]:
    """Gemini's contents, and the system prompt.

    Args:
        messages: the request's field, unchecked.
        signed: whether the model requires thought signatures.

    Raises:
        BadRequest: a message violates OpenAI's protocol; the error names it.
        Unsupported: a part that Gemini does not accept.

    """
    contents: list[Json] = []
    system: list[str] = []
    names: dict[str, str] = {}  # of functions, by the call's id
    for index, message in enumerate(need(messages, list, "messages")):
        where = f"messages.{index}"
        role = need(message, dict, where).get("role")
        if role in ("system", "developer"):
            system.append(_text(message.get("content"), f"{where}.content"))
        elif role == "user":
            _add(contents, "user", list(_parts(message.get("content"), f"{where}.content")))
        elif role == "assistant":
            _add(contents, "model", list(_answer(message, where, names, signed)))
        elif role == "tool":
            _add(contents, "user", [_result(message, where, names)])
        else:
            raise BadRequest(
                f"{where}.role: must be system, developer, user, assistant or tool.", field=f"{where}.role"
            )
    if not contents or contents[-1]["role"] != "user":
        raise Unsupported("messages", "Gemini answers only a conversation whose last message is the user's or a tool's")
    return contents, "\n\n".join(text for text in system if text)


def need(value: Any, kind: type[Kind], where: str) -> Kind:
    """The value, if it is of this JSON type; raises BadRequest naming `where`."""
    if not isinstance(value, kind):
        raise BadRequest(f"{where}: must be {_KINDS[kind]}.", field=where)
    return value


def _add(contents: list[Json], role: str, parts: list[Json]) -> None:
    if not parts:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _parts(content: Any, where: str) -> Iterator[Json]:
    """A message's content as Gemini's parts; none for an empty text, because Gemini refuses empty parts."""
    if content is None or isinstance(content, str):
        content = [{"type": "text", "text": content or ""}]
    for index, part in enumerate(need(content, list, where)):
        here = f"{where}.{index}"
        kind = need(part, dict, here).get("type")
        if kind in ("text", "refusal"):
            if text := need(part.get(kind), str, f"{here}.{kind}"):
                yield {"text": text}
        elif kind == "input_audio":
            audio = need(part.get(kind), dict, f"{here}.{kind}")
            mime = f"audio/{need(audio.get('format'), str, f'{here}.{kind}.format')}"
            yield _inline(mime, need(audio.get("data"), str, f"{here}.{kind}.data"), f"{here}.{kind}.data")
        elif kind in ("image_url", "video_url", "audio_url"):
            address = need(part.get(kind), dict, f"{here}.{kind}").get("url")
            yield _from_data_url(address, f"{here}.{kind}.url")
        elif kind == "file":
            yield _from_data_url(need(part.get(kind), dict, f"{here}.file").get("file_data"), f"{here}.file.file_data")
        else:
            raise Unsupported(f"{here}.type", f"Gemini knows no part of type {str(kind)[:40]!r}")


def _text(content: Any, where: str) -> str:
    texts = []
    for part in _parts(content, where):
        if "text" not in part:
            raise Unsupported(where, "only text can stand here")
        texts.append(part["text"])
    return "".join(texts)


def _from_data_url(address: Any, where: str) -> Json:
    match = _DATA_URL.fullmatch(need(address, str, where))
    if match is None:
        raise Unsupported(where, "only data: URLs in base64 are accepted here; nothing is fetched")
    return _inline(match["mime"], match["data"], where)


def _inline(mime: str, data: str, where: str) -> Json:
    return {"inline_data": {"mime_type": mime, "data": _decoded(data, where)}}


def _decoded(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where}: is not valid base64.", field=where) from None


def _answer(message: Json, where: str, names: dict[str, str], signed: bool) -> Iterator[Json]:
    yield from _parts(message.get("content"), f"{where}.content")
    calls = message.get("tool_calls")
    for index, call in enumerate(need(calls, list, f"{where}.tool_calls") if calls is not None else ()):
        here = f"{where}.tool_calls.{index}"
        function = need(need(call, dict, here).get("function"), dict, f"{here}.function")
        call_id = need(call.get("id"), str, f"{here}.id")
        names[call_id] = need(function.get("name"), str, f"{here}.function.name")
        arguments = function.get("arguments") or "{}"
        part: Json = {
            "function_call": {
                "id": call_id,
                "name": names[call_id],
                "args": _object(need(arguments, str, f"{here}.function.arguments"), f"{here}.function.arguments"),
            }
        }
        signature = _signature(call, here)
        if signature or (signed and index == 0):  # of parallel calls Gemini signs the first alone
            part["thought_signature"] = signature or NO_SIGNATURE
        yield part


def _signature(call: Json, where: str) -> bytes | None:
    value: Any = call
    for key in ("extra_content", "google", "thought_signature"):
        value = value.get(key) if isinstance(value, dict) else None
    field = f"{where}.extra_content.google.thought_signature"
    return None if value is None else _decoded(need(value, str, field), field)


def _object(text: str, where: str) -> Json:
    try:
        return need(json.loads(text), dict, where)
    except (ValueError, RecursionError):
        raise BadRequest(f"{where}: must be a JSON object.", field=where) from None


def _result(message: Json, where: str, names: dict[str, str]) -> Json:
    call_id = need(message.get("tool_call_id"), str, f"{where}.tool_call_id")
    if call_id not in names:
        raise BadRequest(f"{where}.tool_call_id: no tool call before it has this id.", field=f"{where}.tool_call_id")
    text = _text(message.get("content"), f"{where}.content")
    return {"function_response": {"id": call_id, "name": names[call_id], "response": {"output": text}}}
