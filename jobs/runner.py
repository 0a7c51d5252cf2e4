"""Runs one job: claims it, runs it, and stores its result together with its end, or schedules a retry.

The handler of a kind (`jobs.kinds`) gets a `JobRun`. All permanent writes go through `JobRun.finishing`, one
transaction with the job's end: they happen once, however often the job starts, and not at all after the job was claimed
by another worker or cancelled, or its person was deleted. Anything done earlier must be safe to repeat. This module
does not know the kinds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.jobs import queue as jobs
from storage.jobs.kinds import JobParams, kind_of
from storage.memory.owner import Owner
from storage.memory.tables import Person

log = logging.getLogger(__name__)

MARGIN_S = 60.0  # of a lease, for what is not the work itself
ANOTHER_WORKER = timedelta(
    seconds=1
)  # until a job goes to one that knows its kind; after the beat has noted it as sent
FIRST_RETRY_S, LONGEST_RETRY_S = 30.0, 3600.0


class JobFailed(Exception):
    """This attempt failed; the first argument is the kind of failure, for operators, without personal data.

    `retry_after_s`: how long the refusing service wants no further requests.
    """

    def __init__(self, kind: str, retry_after_s: float = 0) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after_s = retry_after_s


class NotOurs(Exception):
    """The job no longer belongs to this attempt: another has it, it was cancelled, or its person was deleted."""


class JobRun:
    """One attempt at a job, as its handler sees it.

    Args:
        engine: the database.
        claim: the right to it.
        now: the time, aware.
        lease_s: how long it is held without a sign of life.

    """

    def __init__(
        self, engine: AsyncEngine, claim: jobs.Claim, now: Callable[[], datetime], *, lease_s: float = MARGIN_S
    ) -> None:
        self.engine = engine
        self.claim = claim
        self.now = now
        self._lease = timedelta(seconds=lease_s)

    @property
    def id(self) -> str:
        """The job's id, the same in every attempt, so it serves as an idempotency key."""
        return self.claim.id

    @property
    def owner(self) -> Owner:
        """The owner of the job."""
        return self.claim.owner

    @property
    def params(self) -> JobParams:
        """The parameters of the job."""
        return kind_of(self.claim.kind).params.model_validate(dict(self.claim.params))

    async def progress(self, done: int, of: int) -> None:
        """Report progress and extend the lease; raises NotOurs."""
        now = self.now()
        if not await jobs.note_progress(self.engine, self.claim, now=now, until=now + self._lease, done=done, of=of):
            raise NotOurs(self.id)

    @asynccontextmanager
    async def finishing(
        self, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that ends the job, for its permanent writes; raises NotOurs before any write.

        It locks rows in the same order as erasure.
        """
        async with self.engine.begin() as connection:
            if self.owner != jobs.SERVICE:
                await connection.execute(self.owner.update(Person).values(version=Person.version))
            if not await jobs.finish_job(connection, self.claim, now=self.now(), result=result, error=error):
                raise NotOurs(self.id)
            yield connection


@dataclass(frozen=True, slots=True)
class Handler:
    """How to run a kind of job.

    Attributes:
        run: does it.
        timeout_s: the longest that it takes.
        max_attempts: then it is given up.
        find: whose turn it is, for a kind that is due by what there is rather than by the clock.

    """

    run: Callable[[JobRun], Awaitable[Any]]
    timeout_s: float = 120.0
    max_attempts: int = 5
    find: Callable[[AsyncEngine, datetime], Awaitable[list[Owner]]] | None = None


async def run_job(
    engine: AsyncEngine,
    handlers: Mapping[str, Handler],
    id_: str,
    *,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> Any:
    """Run the job or schedule a retry; returns the handler's result, or None if nothing ran.

    `jitter` is from 0 to 1 and spreads the retries of jobs that failed together.
    """
    handler = handlers.get(await jobs.kind_of_job(engine, id_) or "")
    if handler is None:  # another worker can: a later beat sends it again
        await jobs.send_again(engine, id_, at=now() + ANOTHER_WORKER)
        return None
    lease_s = handler.timeout_s + MARGIN_S
    until = now() + timedelta(seconds=lease_s)
    claim = await jobs.claim_job(engine, id_, now=now(), until=until, max_attempts=handler.max_attempts)
    if claim is None:
        return None
    try:
        async with asyncio.timeout(handler.timeout_s):
            done = await handler.run(JobRun(engine, claim, now, lease_s=lease_s))
    except NotOurs:
        log.info("job %s (%s): not ours any more", id_, claim.kind)
        return None
    except JobFailed as problem:
        await _try_later(engine, handler, claim, problem.kind, now(), jitter(), problem.retry_after_s)
        return None
    except TimeoutError:
        await _try_later(engine, handler, claim, "timeout", now(), jitter())
        return None
    except Exception as problem:  # the worker's edge: whatever it is, the job is tried again
        log.exception("job %s (%s), attempt %d", id_, claim.kind, claim.attempt)
        await _try_later(engine, handler, claim, type(problem).__name__, now(), jitter())
        return None
    log.info("job %s (%s): %s", id_, claim.kind, done)
    return done


async def _try_later(
    engine: AsyncEngine,
    handler: Handler,
    claim: jobs.Claim,
    kind: str,
    at: datetime,
    jitter: float,
    wait_s: float = 0,
) -> None:
    again_at = at + timedelta(seconds=max(retry_after_s(claim.attempt, jitter), wait_s))
    log.warning("job %s (%s), attempt %d: %s", claim.id, claim.kind, claim.attempt, kind)
    await jobs.fail_job(engine, claim, kind, now=at, again_at=again_at, max_attempts=handler.max_attempts)


def retry_after_s(attempt: int, jitter: float) -> float:
    """The delay after this many attempts: doubled each time, and up to half shorter by `jitter`."""
    return float(min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S) * (1 - jitter / 2))
