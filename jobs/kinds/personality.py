"""Reads how a person writes, if they allowed it: weak evidence beside their answers (`agents.personality.signals`)."""

from dataclasses import replace

from agents.personality.profile import Personality, load_personality, save_personality
from agents.personality.signals import MAX_READ, evidence_of
from jobs.runner import JobFailed, JobRun
from storage.agents.states import SqlStates, StatesWithin
from storage.memory.conversations import own_words


async def read_language(job: JobRun) -> int:
    """Store what it hints at; of how many messages. Raises JobFailed if the person changes theirs at the same time."""
    known = await load_personality(SqlStates(job.engine, job.now), job.owner)
    words = await own_words(job.engine, job.owner, limit=MAX_READ) if known.reads_language else []
    evidence = evidence_of(words)
    async with job.finishing({"messages": len(words)}) as connection:
        within = StatesWithin(connection, job.now)
        now = await load_personality(within, job.owner)  # they may have taken it back, or deleted all, meanwhile
        if _is_changed(known, now):
            raise JobFailed("changed")
        if now.reads_language and not await save_personality(within, job.owner, replace(now, language=evidence)):
            raise JobFailed("changed")
    return len(words)


def _is_changed(before: Personality, now: Personality) -> bool:
    return before.version != now.version
