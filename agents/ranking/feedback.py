"""A person's feedback on songs or videos, stored as a document: signals, shown items, blocked items."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from agents.base import RunContext
from agents.ranking.taste import Signal
from agents.tool import ToolFailed

MAX_SIGNALS = 300
MAX_SHOWN = 60
ATTEMPTS = 5
Document = dict[str, Any]


@dataclass(slots=True)
class Feedback:
    """All of it."""

    signals: list[Signal] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    blocked_items: list[str] = field(default_factory=list)
    blocked_groups: list[str] = field(default_factory=list)


class FeedbackBook:
    """The person's feedback to one agent; without a state store, nothing is remembered."""

    def __init__(self, agent: str, context: RunContext) -> None:
        self._context = context
        self._key = None if context.owner is None else context.state_key(agent, "feedback", of_person=True)

    async def read(self) -> Feedback:
        """The stored feedback."""
        if self._context.state is None or self._key is None:
            return Feedback()
        kept = await self._context.state.load(self._key)
        return Feedback() if kept is None else _feedback(dict(kept.value))

    async def add(self, signals: Sequence[Signal]) -> bool:
        """Store signals, only the latest for each item and context; False without a state store."""

        def change(feedback: Feedback) -> None:
            new = {(each.item, each.context) for each in signals}
            kept = [each for each in feedback.signals if (each.item, each.context) not in new]
            feedback.signals = [*kept, *signals][-MAX_SIGNALS:]

        return await self._change(change)

    async def block(self, *, item: str = "", group: str = "") -> bool:
        """Never show an item, or a group, again."""

        def change(feedback: Feedback) -> None:
            feedback.blocked_items = _with(feedback.blocked_items, item)
            feedback.blocked_groups = _with(feedback.blocked_groups, group)

        return await self._change(change)

    async def show(self, items: Sequence[str]) -> bool:
        """Record what was shown, so that it is not repeated soon."""

        def change(feedback: Feedback) -> None:
            feedback.shown = [*(each for each in feedback.shown if each not in items), *items][-MAX_SHOWN:]

        return await self._change(change)

    async def _change(self, change: Callable[[Feedback], None]) -> bool:
        if self._context.state is None or self._key is None:
            return False
        for _ in range(ATTEMPTS):
            kept = await self._context.state.load(self._key)
            feedback = Feedback() if kept is None else _feedback(dict(kept.value))
            change(feedback)
            expected = 0 if kept is None else kept.version
            if await self._context.state.save(self._key, _document(feedback), expected=expected):
                return True
        raise ToolFailed("Too much happens at once here. Try again in a moment.")


def _with(entries: list[str], new: str) -> list[str]:
    return [*entries, new] if new and new not in entries else entries


def _feedback(document: Document) -> Feedback:
    signals = [Signal(**(each | {"at": datetime.fromisoformat(each["at"])})) for each in document.pop("signals", ())]
    return Feedback(signals, **document)


def _document(feedback: Feedback) -> Document:
    document = asdict(feedback)
    for signal in document["signals"]:
        signal["at"] = signal["at"].isoformat()
    return document
