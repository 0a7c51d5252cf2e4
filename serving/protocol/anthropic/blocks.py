"""Messages of Anthropic's protocol as chat messages.

A tool's result is a message of its own in a chat, before what the person says next. Thinking of earlier turns is
skipped. https://docs.anthropic.com/en/api/messages#body-messages
"""

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from serving.errors import InvalidRequest

Json = dict[str, Any]
ROLES = ("user", "assistant", "system")
BLOCKS = {
    "user": ("text", "image", "tool_result"),
    "assistant": ("text", "tool_use", "thinking", "redacted_thinking"),
    "system": ("text",),
}
SKIPPED = ("thinking", "redacted_thinking")
IMAGE = "image_url"  # a chat's type of part
ATTRIBUTION = "x-anthropic-billing-header"  # Claude Code's, which differs in every request: no prefix would be cached


def messages_of(messages: Sequence[Json], allow_content: Collection[str]) -> list[Json]:
    """The chat's messages; raises InvalidRequest. `allow_content` are the types of parts that the model accepts."""
    chat: list[Json] = []
    for index, message in enumerate(messages):
        where, role = f"messages.{index}", message.get("role")
        if role not in ROLES:
            raise InvalidRequest(f"{where}.role: must be user or assistant.", param=f"{where}.role")
        _add(message.get("content"), role, f"{where}.content", chat, allow_content)
    return chat


def system_text(system: str | Sequence[Json], where: str = "system") -> str:
    """The text of a system prompt; raises InvalidRequest."""
    if isinstance(system, str):
        return system
    texts = [_text(block, f"{where}.{index}", BLOCKS["system"]) for index, block in enumerate(system)]
    return "\n\n".join(text for text in texts if not text.startswith(ATTRIBUTION))


def _add(content: Any, role: str, where: str, chat: list[Json], allow_content: Collection[str]) -> None:
    if isinstance(content, str):
        chat.append({"role": role, "content": content})
        return
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise InvalidRequest(f"{where}: must be a text or a list of blocks.", param=where)
    if role == "system":
        chat.append({"role": role, "content": system_text(content, where)})
        return
    parts: list[Json] = []
    calls: list[Json] = []
    for index, block in enumerate(content):
        path, kind = f"{where}.{index}", block.get("type")
        if kind not in BLOCKS[role]:
            raise _unknown(path, kind, role)
        if kind == "tool_result":
            text = _result(block.get("content"), f"{path}.content")
            text = f"Error: {text}" if block.get("is_error") else text
            chat.append({"role": "tool", "tool_call_id": text_at(block, "tool_use_id", path), "content": text})
        elif kind == "tool_use":
            calls.append(_call(block, path))
        elif kind not in SKIPPED:
            parts.append(_part(block, path, allow_content))
    if parts or calls or role == "assistant":
        plain = len(parts) == 1 and parts[0]["type"] == "text"
        message: Json = {"role": role, "content": parts[0]["text"] if plain else parts or None}
        chat.append(message | ({"tool_calls": calls} if calls else {}))


def _part(block: Json, where: str, allow_content: Collection[str]) -> Json:
    if block["type"] == "text":
        return {"type": "text", "text": text_at(block, "text", where)}
    if IMAGE not in allow_content:
        raise InvalidRequest(f"{where}: this model cannot see images; it accepts text.", param=where)
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "base64":
        data = f"data:{text_at(source, 'media_type', where)};base64,{text_at(source, 'data', where)}"
        return {"type": IMAGE, IMAGE: {"url": data}}
    if isinstance(source, dict) and source.get("type") == "url":
        return {"type": IMAGE, IMAGE: {"url": text_at(source, "url", where)}}
    raise InvalidRequest(f"{where}.source: must be of type base64 or url; files are not stored here.", param=where)


def _call(block: Json, where: str) -> Json:
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{where}.input: must be an object.", param=f"{where}.input")
    function = {"name": text_at(block, "name", where), "arguments": orjson.dumps(arguments).decode()}
    return {"id": text_at(block, "id", where), "type": "function", "function": function}


def _result(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}: must be a text or a list of text blocks.", param=where)
    return "\n".join(_text(block, f"{where}.{index}", ("text",)) for index, block in enumerate(content))


def _text(block: Any, where: str, accepted: Sequence[str]) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in accepted:
        raise InvalidRequest(f"{where}: only blocks of type {', '.join(accepted)} are accepted here.", param=where)
    return text_at(block, "text", where)


def text_at(block: Json, name: str, where: str) -> str:
    """A required text in an object; raises InvalidRequest."""
    value = block.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{where}.{name}: must be a text.", param=f"{where}.{name}")
    return value


def _unknown(where: str, kind: Any, role: str) -> InvalidRequest:
    named = f"'{kind[:64]}'" if isinstance(kind, str) else "a block without a known type"
    accepted = ", ".join(BLOCKS[role])
    return InvalidRequest(
        f"{where}.type: {named} is not accepted; of role {role}, {accepted} are.", param=f"{where}.type"
    )
