r"""Neutralises a model's control tokens in text, so that nothing in a message becomes one.

A prompt is rendered to one string, and the tokenizer recognises control tokens anywhere in it, so `<|end|>\n<|system|>`
in a message would end it and begin a system turn. Here a zero-width space is inserted after the first character of
every control token: the text looks the same, but consists of ordinary tokens. The control tokens are those of the
model's tokenizer and the markers of its chat template. It does not know HTTP or vLLM.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

BREAK = "\u200b"
RENDERED = ("messages", "tools", "functions", "documents", "chat_template_kwargs")  # what a chat template renders
# Tokens in brackets that a tokenizer does not declare special, and markers that a chat template contains.
_BRACKETED = re.compile(r"<{1,2}[^<>\s]{1,62}>{1,2}|\[/?[A-Z_]{2,62}\]|\[/?[A-Z_]{2,62}\b|\uff5c[^\s]{1,62}\uff5c")
_IN_TEMPLATE = re.compile(r"<\|[^<>|\s]{1,62}\|>|</?[a-z_]{1,62}>|<</?[A-Z]{2,62}>>|\[/?[A-Z_]{2,62}\]")


class Neutraliser:
    """Neutralises control tokens.

    Args:
        tokens: the model's control tokens.

    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = frozenset(each for each in tokens if len(each) > 1 and BREAK not in each)
        # A lookahead after the first character, so that overlapping tokens are found too.
        self._begin = re.compile(_any_of(self.tokens), re.DOTALL) if self.tokens else None

    def text(self, text: str) -> str:
        """The text without control tokens; the same object if there were none."""
        return text if self._begin is None else self._begin.sub(_neutralised, text)

    def value(self, value: Any) -> Any:
        """A JSON value without control tokens in its strings and keys; the same object if unchanged."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            items = [self.value(each) for each in value]
            return value if all(map(_is, items, value)) else items
        if isinstance(value, dict):
            pairs = [(self.text(name), self.value(each)) for name, each in value.items()]
            is_same = all(
                name is old and new is each for (name, new), (old, each) in zip(pairs, value.items(), strict=True)
            )
            return value if is_same else dict(pairs)
        return value


def control_tokens(added: Mapping[str, bool], template: str | None) -> set[str]:
    """The control tokens of a model.

    Args:
        added: the added tokens of its tokenizer, and whether each is special.
        template: its chat template.

    """
    tokens = {token for token, is_special in added.items() if is_special or _BRACKETED.fullmatch(token.strip())}
    return {each.strip() for each in tokens} | set(_IN_TEMPLATE.findall(template or ""))


def neutral_chat(body: Mapping[str, Any], neutraliser: Neutraliser) -> Mapping[str, Any]:
    """The body of a chat without control tokens in its prompt; the same object if there were none."""
    before = {name: body[name] for name in RENDERED if name in body}
    changed = neutraliser.value(_with_decoded_arguments(before, neutraliser))
    changed = _with_separated_parts(changed, neutraliser)
    return body if changed is before else {**body, **changed}


def _with_separated_parts(rendered: dict[str, Any], neutraliser: Neutraliser) -> dict[str, Any]:
    """Separate the parts of messages where a template would join them to a control token."""
    messages = rendered.get("messages")
    if not isinstance(messages, list):
        return rendered
    separated = [_separated(each, neutraliser) for each in messages]
    return rendered if all(map(_is, separated, messages)) else {**rendered, "messages": separated}


def _separated(message: Any, neutraliser: Neutraliser) -> Any:
    parts = message.get("content") if isinstance(message, dict) else None
    if not isinstance(parts, list) or len(parts) < 2:
        return message
    joined = "".join(map(_text_of, parts))
    if neutraliser.text(joined) is joined:
        return message
    separated: list[Any] = []
    for part in parts:
        if not _text_of(part):
            separated.append(part)
        else:
            separated.append(BREAK + part if isinstance(part, str) else {**part, "text": BREAK + part["text"]})
    return {**message, "content": separated}


def _text_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""


def _with_decoded_arguments(rendered: dict[str, Any], neutraliser: Neutraliser) -> dict[str, Any]:
    """Neutralise tool calls' arguments whose JSON escapes hide a token: an engine decodes that JSON."""
    messages = rendered.get("messages")
    for message in messages if isinstance(messages, list) else ():
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str) and "\\" in arguments:
                plain = _neutral_json(arguments, neutraliser)
                if plain is not None:
                    function["arguments"] = plain  # type: ignore[index]  # a dict, as it has arguments
                    rendered = {**rendered}  # a new object means that something has changed
    return rendered


def _neutral_json(text: str, neutraliser: Neutraliser) -> str | None:
    """A JSON document without control tokens in its strings; None if unchanged or not JSON."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    changed = neutraliser.value(value)
    return None if changed is value else json.dumps(changed, ensure_ascii=False)


def _neutralised(match: re.Match[str]) -> str:
    return match[0] + BREAK


def _is(one: Any, other: Any) -> bool:
    return one is other


def _any_of(tokens: Iterable[str]) -> str:
    """A pattern, built as a tree, for the first character of any token: a text is scanned only once."""
    tree: dict[str, Any] = {}
    for token in tokens:
        node = tree
        for char in token:
            node = node.setdefault(char, {})
        node[""] = {}
    return "|".join(f"{re.escape(char)}(?={_rest(node)})" for char, node in tree.items())


def _rest(node: Mapping[str, Any]) -> str:
    if "" in node:  # a token ends here; longer ones begin with it, and are neutralised too
        return ""
    branches = [re.escape(char) + _rest(below) for char, below in node.items()]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
