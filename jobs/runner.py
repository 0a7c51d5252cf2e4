"""Running one job: claim it, do it, and store what came of it together with its end, or have it tried again later.

Whoever does a kind of job (`jobs.kinds`) is given a `JobRun`. All that it stores for good it writes within
`JobRun.finishing`, which is one transaction with the job's end: so it is stored once, however often the job was begun,
and not at all once the job is somebody else's, or cancelled, or its person forgotten. What it does before that must
bear to be done twice. It does not know what kinds there are.
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
FIRST_RETRY_S, LONGEST_RETRY_S = 30.0, 3600.0


class JobFailed(Exception):
    """It could not be done this time; the first argument is the kind of failure, for operators, in no person's words.

    `retry_after_s`: how long whoever refused wants to be left alone.
    """

    def __init__(self, kind: str, retry_after_s: float = 0) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retry_after_s = retry_after_s


class NotOurs(Exception):
    """The job is not this attempt's any more: another has it, it was cancelled, or its person forgotten."""


class JobRun:
    """One attempt at a job, as whoever does it has it.

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
        """The job's id: the same in every attempt, so a key of idempotence."""
        return self.claim.id

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return self.claim.owner

    @property
    def params(self) -> JobParams:
        """What it takes."""
        return kind_of(self.claim.kind).params.model_validate(dict(self.claim.params))

    async def progress(self, done: int, of: int) -> None:
        """Tell how far it is, and hold it for another lease; raises NotOurs."""
        now = self.now()
        if not await jobs.note_progress(self.engine, self.claim, now=now, until=now + self._lease, done=done, of=of):
            raise NotOurs(self.id)

    @asynccontextmanager
    async def finishing(
        self, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that ends the job, for what is to be stored with it; raises NotOurs before anything is.

        It takes rows in the order in which erasure does.
        """
        async with self.engine.begin() as connection:
            if self.owner != jobs.SERVICE:
                await connection.execute(self.owner.update(Person).values(version=Person.version))
            if not await jobs.finish_job(connection, self.claim, now=self.now(), result=result, error=error):
                raise NotOurs(self.id)
            yield connection


@dataclass(frozen=True, slots=True)
class Handler:
    """How a kind of job is done.

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
    """Do the job, or see to it that it is done later; what its handler returns, None when nothing was done.

    `jitter` is from 0 to 1, so that what failed together is not tried again together.
    """
    handler = handlers.get(await jobs.kind_of_job(engine, id_) or "")
    if handler is None:
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
    """How long to wait after so many attempts: twice as long each time, and up to a half less by `jitter`."""
    return float(min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S) * (1 - jitter / 2))
