"""The questionnaire as a conversation: one phrase at a time, with buttons; it can be stopped and continued at any time.

It uses no model: phrases and the values of answers are fixed. It does not know what the scores are used for.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agents.base import AgentRequest, Need, PassedOn, RunContext, check_fields
from agents.events import Action, Card, Event, Token
from agents.loop import done
from agents.personality.items import ANSWERS, HIGHEST, ITEMS, LOWEST, Item
from agents.personality.profile import key_of, load_personality, save_personality
from agents.personality.scores import Score, scores_of

INTRODUCTION = (
    "Twenty short phrases: say how well each describes you, from 1 (very inaccurate) to 5 (very accurate). You can "
    "stop at any time, see what I make of it, correct it, and delete it."
)

if TYPE_CHECKING:
    from agents.registry import Parts
_BEGINS = re.compile(r"\b(?:personality|questionnaire|test|start|begin|continue|go on|again)\b", re.IGNORECASE)
_STOPS = re.compile(r"^\W*(?:stop|enough|later|quit|no more|not now|leave it|bye|goodbye|good night)\b", re.IGNORECASE)
_CLEARS = re.compile(r"\b(?:delete|forget|erase|start over)\b", re.IGNORECASE)


class PersonalityAgent:
    """See `agents.base.Agent`."""

    id = "personality"
    description = "Asks twenty short questions about how somebody is, and shows what it makes of the answers."
    needs: frozenset[Need] = frozenset({"person", "state"})
    passes_on: frozenset[PassedOn] = frozenset()

    async def is_playing(self, context: RunContext) -> bool:
        """Whether it waits for an answer in this conversation."""
        if context.state is None or context.owner is None:
            return False
        return bool((await self._talk(context)).get("asks"))

    async def has_answered(self, request: AgentRequest, context: RunContext) -> bool:
        """Whether this very request was its last: it comes again, as its answer did not arrive."""
        if context.state is None or context.owner is None or not request.turn_id:
            return False
        return bool((await self._talk(context)).get("turn") == request.turn_id)

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Store an answer and ask the next question; raises RequestRefused."""
        check_fields(self, request)
        assert context.state is not None, "it is among the needs"
        assert context.owner is not None, "so is the person"
        known = await load_personality(context.state, context.owner)
        talk = await self._talk(context)
        asks = bool(talk.get("asks"))
        text, prefix = request.text, ""
        if _CLEARS.search(text):
            await context.state.delete(key_of(context.owner))
            await self._note(context, {"asks": False, "turn": request.turn_id})
            yield Token("Your answers are deleted.")
            yield done(context)
            return
        if _STOPS.search(text):
            await self._note(context, {"asks": False, "turn": request.turn_id})
            yield Token("All right. We can go on with it whenever you like.")
            yield done(context)
            return
        item, answer = known.next_item, answer_of(text) if asks else None
        if request.turn_id and request.turn_id == talk.get("turn"):
            pass  # a request that is repeated, because its answer did not arrive, is no second answer
        elif item is not None and answer is not None:
            number = int(talk.get("item") or item.number)  # of what was asked; a repeated answer counts for the same
            known = replace(known, answers={**known.answers, number: answer})
            await save_personality(context.state, context.owner, known)
        elif asks and item is not None and not _BEGINS.search(text):
            prefix = "I need a number from 1 to 5. "
        elif not known.answers:
            prefix = f"{INTRODUCTION}\n\n"
        item = known.next_item
        talk_state = {"asks": item is not None, "item": None if item is None else item.number, "turn": request.turn_id}
        await self._note(context, talk_state)
        for event in _events(
            item, prefix, scores_of(known.answers, corrected=known.corrected, language=known.language)
        ):
            yield event
        yield done(context)

    async def _talk(self, context: RunContext) -> Mapping[str, Any]:
        """What was asked last, in this conversation, and by which request."""
        if context.state is None or context.owner is None:
            return {}
        kept = await context.state.load(context.state_key(self.id, "talk"))
        return {} if kept is None else kept.value

    async def _note(self, context: RunContext, talk: Mapping[str, Any]) -> None:
        assert context.state is not None, "it is among the needs"
        key = context.state_key(self.id, "talk")
        kept = await context.state.load(key)
        if talk != (None if kept is None else kept.value):
            await context.state.save(key, talk, expected=0 if kept is None else kept.version)


def answer_of(text: str) -> int | None:
    """The answer in a message: a number, or its name; None if there is none."""
    plain = text.strip().strip(".!").casefold()
    if plain.isdecimal() and len(plain) == 1 and LOWEST <= int(plain) <= HIGHEST:
        return int(plain)
    return ANSWERS.index(plain) + 1 if plain in ANSWERS else None


def _events(item: Item | None, prefix: str, scores: Sequence[Score]) -> list[Event]:
    if item is None:
        lines = [f"{each.trait}: {each.estimate:g} of 5 (between {each.low:g} and {each.high:g})" for each in scores]
        summary = "\n".join(["That was all. In short, and only as far as twenty phrases can tell:", *lines])
        return [Token(prefix + summary), Card("personality", "How you described yourself", {"scores": _plain(scores)})]
    data = {"number": item.number, "of": len(ITEMS), "text": item.text}
    actions = [Action(label, str(number)) for number, label in enumerate(ANSWERS, LOWEST)]
    title = f"{item.number} of {len(ITEMS)}"
    return [
        Token(f'{prefix}{title}: "{item.text}" How well does it describe you, 1 to 5?'),
        Card("questionnaire", title, data, actions),
    ]


def _plain(scores: Sequence[Score]) -> list[dict[str, object]]:
    return [
        {"trait": each.trait, "estimate": each.estimate, "low": each.low, "high": each.high, "source": each.source}
        for each in scores
    ]


def make_agent(_: "Parts") -> PersonalityAgent:
    """The agent that asks about personality."""
    return PersonalityAgent()
