"""When memories are made of what people said: finding whose turns are due, and running a job, which may fail.

SQL says what is to be done. A beat adds jobs and sends their ids; a message that is lost is sent again, one that comes
twice finds nothing to claim. A failure is tried again later and later, and in the end given up: the job is `dead`, its
turns stay unread, and the person gets no other job until it is tried again: a day later, so that the longest failure of
a model ends by itself, or when an operator says so (`bondhu jobs retry`).
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import Rules
from memory.extraction.extractor import Extracted, Extractor, Model, ModelAway
from storage import jobs
from storage.memory.unread_turns import find_people

log = logging.getLogger(__name__)

CHARACTERS_PER_TOKEN = 4
AT_ONCE = 100  # jobs added, and sent, by a beat
SEND_AGAIN = timedelta(minutes=10)  # what nobody has taken by then
KEEP_DONE = timedelta(days=7)
REST = timedelta(days=1)  # of a job that was given up
MARGIN_S = 60.0  # of a lease, for what is not the model's time
FIRST_RETRY_S, LONGEST_RETRY_S = 30.0, 3600.0


async def send_due(engine: AsyncEngine, rules: Rules, send: Callable[[str], object], *, now: datetime) -> int:
    """Add jobs for those whose turns are due, and send the ids of all jobs that are; how many were sent."""
    await jobs.prune_jobs(engine, before=now - KEEP_DONE)
    await jobs.retry_jobs(engine, now=now, before=now - REST)
    characters = rules.turn_tokens * CHARACTERS_PER_TOKEN
    idle_since = now - timedelta(seconds=rules.idle_s)
    for owner in await find_people(engine, characters=characters, before=idle_since, limit=AT_ONCE):
        await jobs.add_job(engine, owner, "extract", now=now)
    due = await jobs.find_due(engine, now=now, limit=AT_ONCE)
    for id_ in due:
        send(id_)
    await jobs.note_sent(engine, due, now=now, again_at=now + SEND_AGAIN)
    return len(due)


async def run_job(
    engine: AsyncEngine,
    rules: Rules,
    model: Model,
    id_: str,
    *,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> Extracted | None:
    """Do the job, or see to it that it is done later; None when nothing was done.

    `jitter` is from 0 to 1, so that what failed together is not tried again together.
    """
    until = now() + timedelta(seconds=rules.timeout_s + MARGIN_S)
    claim = await jobs.claim_job(engine, id_, now=now(), until=until, max_attempts=rules.max_attempts)
    if claim is None:
        return None
    characters = rules.batch_tokens * CHARACTERS_PER_TOKEN
    extractor = Extractor(engine, model, now, characters=characters, timeout_s=rules.timeout_s)
    try:
        extracted = await extractor.run(claim)
    except ModelAway as problem:
        wait_s = max(retry_after_s(claim.attempt, jitter()), problem.retry_after_s)
        at = now()
        await jobs.fail_job(
            engine,
            claim,
            problem.kind,
            now=at,
            again_at=at + timedelta(seconds=wait_s),
            max_attempts=rules.max_attempts,
        )
        log.warning("job %s, attempt %d: %s", id_, claim.attempt, problem.kind)
        return None
    log.info("job %s: %s", id_, "not ours any more" if extracted is None else extracted)
    return extracted


def retry_after_s(attempt: int, jitter: float) -> float:
    """How long to wait after so many attempts: twice as long each time, and up to a half less by `jitter`."""
    return float(min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S) * (1 - jitter / 2))
