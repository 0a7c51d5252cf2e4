"""The output items of a response: texts, reasoning and calls of functions, each with the events of its stream.

https://platform.openai.com/docs/api-reference/responses/object#responses-object-output
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

Json = dict[str, Any]
Event = tuple[str, Json]  # type, and fields beside `type` and `sequence_number`


class Item:
    """An output item that grows; `index` is its place in the output."""

    PREFIX: ClassVar[str]  # of its id

    def __init__(self, index: int, id_: str) -> None:
        self.index = index
        self.id = f"{self.PREFIX}_{id_}{index:02x}"
        self._pieces: list[str] = []

    @property
    def whole(self) -> str:
        """All that was added."""
        return "".join(self._pieces)

    def document(self, status: str) -> Json:
        """The item as it is now."""
        raise NotImplementedError

    def opened(self) -> list[Event]:
        """The events before its first piece."""
        return [("response.output_item.added", {"output_index": self.index, "item": self.document("in_progress")})]

    def added(self, piece: str, logprobs: Sequence[Json] = ()) -> list[Event]:
        """The events of a piece."""
        raise NotImplementedError

    def closed(self, status: str) -> list[Event]:
        """The events after its last piece."""
        return [("response.output_item.done", {"output_index": self.index, "item": self.document(status)})]

    def _at(self, **fields: Any) -> Json:
        return {"item_id": self.id, "output_index": self.index, **fields}


class TextItem(Item):
    """A message of the assistant's with one text."""

    PREFIX = "msg"

    def __init__(self, index: int, id_: str) -> None:
        super().__init__(index, id_)
        self._logprobs: list[Json] = []
        self._is_empty = True  # it has no part yet

    def document(self, status: str) -> Json:
        """See Item."""
        content = [] if self._is_empty else [self._part()]
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": content}

    def opened(self) -> list[Event]:
        """See Item."""
        events, self._is_empty = super().opened(), False
        return [*events, ("response.content_part.added", self._at(content_index=0, part=self._part()))]

    def added(self, piece: str, logprobs: Sequence[Json] = ()) -> list[Event]:
        """See Item."""
        self._pieces.append(piece)
        self._logprobs += logprobs
        return [("response.output_text.delta", self._at(content_index=0, delta=piece, logprobs=list(logprobs)))]

    def closed(self, status: str) -> list[Event]:
        """See Item."""
        text = self._at(content_index=0, text=self.whole, logprobs=self._logprobs)
        part = self._at(content_index=0, part=self._part())
        return [("response.output_text.done", text), ("response.content_part.done", part), *super().closed(status)]

    def _part(self) -> Json:
        return {"type": "output_text", "text": self.whole, "annotations": [], "logprobs": self._logprobs}


class ReasoningItem(Item):
    """What a reasoning model thought."""

    PREFIX = "rs"

    def document(self, status: str) -> Json:
        """See Item."""
        content = [{"type": "reasoning_text", "text": self.whole}] if self._pieces else []
        return {"type": "reasoning", "id": self.id, "status": status, "summary": [], "content": content}

    def added(self, piece: str, logprobs: Sequence[Json] = ()) -> list[Event]:
        """See Item."""
        self._pieces.append(piece)
        return [("response.reasoning_text.delta", self._at(content_index=0, delta=piece))]

    def closed(self, status: str) -> list[Event]:
        """See Item."""
        return [
            ("response.reasoning_text.done", self._at(content_index=0, text=self.whole)),
            *super().closed(status),
        ]


class CallItem(Item):
    """A call of a function; `call` is its first piece in the chat."""

    PREFIX = "fc"

    def __init__(self, index: int, id_: str, call: Mapping[str, Any]) -> None:
        super().__init__(index, id_)
        self._call_id = call.get("id") or f"call_{id_}{index:02x}"
        self._name = (call.get("function") or {}).get("name") or ""

    def document(self, status: str) -> Json:
        """See Item."""
        called = {"call_id": self._call_id, "name": self._name, "arguments": self.whole}
        return {"type": "function_call", "id": self.id, "status": status, **called}

    def added(self, piece: str, logprobs: Sequence[Json] = ()) -> list[Event]:
        """See Item."""
        self._pieces.append(piece)
        return [("response.function_call_arguments.delta", self._at(delta=piece))]

    def closed(self, status: str) -> list[Event]:
        """See Item."""
        done = self._at(arguments=self.whole, name=self._name)
        return [("response.function_call_arguments.done", done), *super().closed(status)]
