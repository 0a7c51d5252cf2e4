"""Asks people who return after a while about what was planned, or what hurt: once, not each time.

The friend stores the time of the last visit in a document of the person. This module does not phrase the question.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agents.base import LooksBack, RunContext

ABSENCE = timedelta(hours=8)
NOTED_EVERY = timedelta(minutes=10)
MAX_LINES = 2
MAX_KEPT = 200
NAME = "seen"
BACK = (
    "They are back after a while. If it fits what they say, ask about one of these, briefly and once; if they do not "
    "want to speak of it, leave it:"
)


async def meanwhile(agent: str, context: RunContext) -> Sequence[str]:
    """What to ask a person who returns; stores the time of this visit. Empty without memory or state."""
    if context.state is None or context.owner is None or not isinstance(context.memory, LooksBack):
        return ()
    key = context.state_key(agent, NAME, of_person=True)
    kept = await context.state.load(key)
    now = context.now()
    seen = None if kept is None else datetime.fromisoformat(kept.value["at"])
    greeted: list[str] = [] if kept is None else list(kept.value.get("greeted", ()))
    if seen is not None and now - seen < NOTED_EVERY:
        return ()
    found: list[tuple[str, str]] = []
    if seen is not None and now - seen >= ABSENCE:
        back = await context.memory.look_back(seen, now)
        if back is None:
            return ()  # memory is away: their next message asks
        found = [each for each in back if each[0] not in greeted][:MAX_LINES]
    value = {"at": now.isoformat(), "greeted": [*greeted, *(key_ for key_, _ in found)][-MAX_KEPT:]}
    if not await context.state.save(key, value, expected=0 if kept is None else kept.version):
        return ()  # another message of theirs asks
    return [line for _, line in found]
