"""Extracts memories from conversations: when turns are due, and one batch of them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import Plan, Rules
from jobs.gateway_client import Endpoint
from jobs.runner import Handler, JobFailed, JobRun, NotOurs
from memory.extraction.extractor import Extracted, Extractor, Model, ModelAway
from storage.jobs.kinds import ExtractParams
from storage.jobs.queue import add_job
from storage.memory.owner import Owner
from storage.memory.unread_turns import find_people, has_unread

CHARACTERS_PER_TOKEN = 4
MARGIN_S = 30.0  # beside what the model is asked, which has its own time
AT_ONCE = 100  # people for whom jobs are added by a beat


def extraction_handler(plan: Plan) -> Handler:
    """The handler of this plan; it opens connections to the gateway for each job."""

    async def run(job: JobRun) -> Extracted:
        named = job.params.model if isinstance(job.params, ExtractParams) else None
        async with Endpoint.open(replace(plan.target, model=named or plan.target.model), job.id) as model:
            extracted = await extract(job, plan.rules, model)
        if named is not None and await has_unread(job.engine, job.owner):
            await add_job(job.engine, job.owner, "extract", now=job.now(), params={"model": named})
        return extracted

    return handler(plan.rules, run)


def handler(rules: Rules, run: Callable[[JobRun], Awaitable[Extracted]]) -> Handler:
    """The handler with these rules."""

    async def find(engine: AsyncEngine, now: datetime) -> list[Owner]:
        characters = rules.turn_tokens * CHARACTERS_PER_TOKEN
        idle_since = now - timedelta(seconds=rules.idle_s)
        return await find_people(engine, characters=characters, before=idle_since, limit=AT_ONCE)

    return Handler(run, rules.timeout_s + MARGIN_S, rules.max_attempts, find)


async def extract(job: JobRun, rules: Rules, model: Model) -> Extracted:
    """Process the person's next batch; raises JobFailed, NotOurs."""
    characters = rules.batch_tokens * CHARACTERS_PER_TOKEN
    extractor = Extractor(job.engine, model, job.now, characters=characters, timeout_s=rules.timeout_s)
    try:
        extracted = await extractor.run(job.claim)
    except ModelAway as problem:
        raise JobFailed(problem.kind, problem.retry_after_s) from problem
    if extracted is None:
        raise NotOurs(job.id)
    return extracted
