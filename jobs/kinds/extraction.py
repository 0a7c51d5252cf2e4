"""Extracts memories from conversations: when turns are due, and one batch of them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import Plan, Rules
from jobs.gateway_client import Endpoint
from jobs.runner import Handler, JobFailed, JobRun, NotOurs
from memory.extraction.extractor import Extracted, Extractor, Model, ModelAway
from storage.memory.owner import Owner
from storage.memory.unread_turns import find_people

CHARACTERS_PER_TOKEN = 4
MARGIN_S = 30.0  # beside what the model is asked, which has its own time
AT_ONCE = 100  # people for whom jobs are added by a beat


def extraction_handler(plan: Plan) -> Handler:
    """The handler of this plan; it opens connections to the gateway for each job."""

    async def run(job: JobRun) -> Extracted:
        async with Endpoint.open(plan.target, job.id) as model:
            return await extract(job, plan.rules, model)

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
