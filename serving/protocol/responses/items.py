"""Input items of the Responses protocol as chat messages.

A function call is added to the assistant's message before it, as in a chat. Reasoning is skipped: chat templates omit
that of earlier turns. Items that need OpenAI's servers are refused with the accepted types.
https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from collections.abc import Collection, Sequence
from typing import Any

from serving.errors import InvalidRequest
from serving.protocol.request_fields import MAX_NAME_CHARS

Json = dict[str, Any]
ROLES = ("user", "assistant", "system", "developer")
ITEMS = ("message", "function_call", "function_call_output", "reasoning")
TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
IMAGE = "image_url"  # a chat's type of part


def messages_of(input_: str | Sequence[Json], allow_content: Collection[str]) -> list[Json]:
    """The messages; raises InvalidRequest. `allow_content` are the types of a chat's parts that the model accepts."""
    if isinstance(input_, str):
        return [{"role": "user", "content": input_}]
    messages: list[Json] = []
    for index, item in enumerate(input_):
        _add(item, f"input.{index}", messages, allow_content)
    if not messages:
        raise InvalidRequest("input: there is no message in it.", param="input")
    return messages


def _add(item: Json, where: str, messages: list[Json], allow_content: Collection[str]) -> None:
    match item.get("type") or ("message" if "role" in item else None):
        case "message":
            messages.append(_message(item, where, allow_content))
        case "function_call":
            name, arguments = text_at(item, "name", where), text_at(item, "arguments", where)
            function = {"name": name, "arguments": arguments}
            call = {"id": text_at(item, "call_id", where), "type": "function", "function": function}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(call)
        case "function_call_output":
            output = item.get("output")
            content = output if isinstance(output, str) else _joined(output, f"{where}.output")
            messages.append({"role": "tool", "tool_call_id": text_at(item, "call_id", where), "content": content})
        case "reasoning":
            pass
        case "item_reference":
            raise InvalidRequest(f"{where}: items are not stored here; send the item itself.", param=where)
        case other:
            raise unknown_type(f"{where}.type", other, ITEMS)


def _message(item: Json, where: str, allow_content: Collection[str]) -> Json:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise InvalidRequest(f"{where}.role: must be one of {', '.join(ROLES)}.", param=f"{where}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}.content: must be a text or a list of parts.", param=f"{where}.content")
    parts = [_part(part, f"{where}.content.{number}", allow_content) for number, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return {"role": role, "content": parts[0]["text"]}
    return {"role": role, "content": parts}


def _part(part: Any, where: str, allow_content: Collection[str]) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS:
        return {"type": "text", "text": text_at(part, "text", where)}
    if kind == "refusal":
        return {"type": "text", "text": text_at(part, "refusal", where)}
    if kind == "input_image" and IMAGE in allow_content:
        if not isinstance(part.get("image_url"), str):
            raise InvalidRequest(f"{where}.image_url: must be a URL; files are not stored here.", param=where)
        detail = {"detail": part["detail"]} if isinstance(part.get("detail"), str) else {}
        return {"type": IMAGE, IMAGE: {"url": part["image_url"], **detail}}
    if kind == "input_image":
        raise InvalidRequest(f"{where}: this model cannot see images; it accepts input_text.", param=where)
    raise unknown_type(f"{where}.type", kind, ("input_text", "output_text", "refusal", "input_image"))


def _joined(parts: Any, where: str) -> str:
    if not isinstance(parts, list):
        raise InvalidRequest(f"{where}: must be a text or a list of input_text parts.", param=where)
    return "".join(_part(part, f"{where}.{number}", ())["text"] for number, part in enumerate(parts))


def text_at(item: Json, name: str, where: str) -> str:
    """A required text in an object; raises InvalidRequest."""
    value = item.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{where}.{name}: must be a text.", param=f"{where}.{name}")
    return value


def unknown_type(where: str, kind: Any, accepted: Sequence[str]) -> InvalidRequest:
    """The refusal of a type, with those that are accepted."""
    named = f"'{kind[:MAX_NAME_CHARS]}'" if isinstance(kind, str) else "a value without a known type"
    return InvalidRequest(f"{where}: {named} is not accepted here; accepted are {', '.join(accepted)}.", param=where)
