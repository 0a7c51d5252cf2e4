"""Summarises long conversations: whose turns are due, and one segment of them.

The model is asked through the gateway, as extraction does; if it gives no answer that holds, or none at all in as many
attempts, the summary is made of the person's own sentences. Without a model it always is.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import SummaryPlan
from jobs.runner import Handler, JobFailed, JobRun
from storage.memory.memories import NewMemory, put_memory
from storage.memory.owner import Owner
from storage.memory.people import bump, names_of, read_profile
from storage.memory.summaries import Segment, find_people, mark_summarised, put_sources, read_segment
from storage.memory.unread_turns import Turn

if TYPE_CHECKING:
    from memory.extraction.extractor import Model

LOOK_EVERY = timedelta(minutes=5)  # short conversations are looked at each time, and never due
AT_ONCE = 100  # people for whom jobs are added at a time
MARGIN_S = 30.0  # beside what the model is asked
CONFIDENCE = {"model": 0.8, "rules": 1.0}
TEMPERATURE = 0.0


def summaries_handler(plan: SummaryPlan) -> Handler:
    """The handler of this plan; it opens a connection to the gateway for each job, if there is a model."""

    async def run(job: JobRun) -> Any:
        if plan.target is None:
            return await summarise(job, plan, None)
        from jobs.gateway_client import Endpoint

        async with Endpoint.open(plan.target, job.id) as model:
            return await summarise(job, plan, model)

    timeout_s = MARGIN_S + (0.0 if plan.target is None else plan.target.timeout_s)
    return Handler(run, timeout_s, plan.max_attempts, _finder(plan))


async def summarise(job: JobRun, plan: SummaryPlan, model: "Model | None") -> dict[str, Any]:
    """Summarise the earliest turns that are due; raises JobFailed, NotOurs."""
    from memory.summaries.own_sentences import summary_of  # numpy, which a worker without such a job does without

    segment = await read_segment(job.engine, job.owner, plan.rules, before=_silent_since(plan, job.now()))
    if segment is None:
        async with job.finishing({"turns": 0}):
            return {"turns": 0}
    names = names_of(job.owner, (await read_profile(job.engine, job.owner)).name)
    own = [turn for turn in segment.turns if turn.text.strip() and turn.speaker.casefold() in names]
    text = await _from_model(job, plan, model, segment.turns, own) if model is not None and own else None
    by = "rules" if text is None else "model"
    text = text or summary_of(segment.turns, own)
    id_ = _id_of(segment)
    result = {"turns": len(segment.ids), "by": by, "memory": None if text is None else id_}
    async with job.finishing(result) as connection:
        now = job.now()
        version = await bump(connection, job.owner, now=now)
        if await mark_summarised(connection, job.owner, segment, now=now) and text is not None:
            new = _memory(segment, text, CONFIDENCE[by])
            _, is_new = await put_memory(connection, job.owner, new, version=version, now=now, id_=id_)
            if is_new:
                await put_sources(connection, job.owner, {id_: [turn.id for turn in segment.turns]})
    return result


async def _from_model(
    job: JobRun, plan: SummaryPlan, model: "Model", turns: Sequence[Turn], own: Sequence[Turn]
) -> str | None:
    """What the model wrote, if it holds; None in the last attempt if the model is away."""
    from memory.extraction.extractor import ModelAway
    from memory.summaries.question import question_on, read_answer

    messages, schema = question_on(turns, own)
    try:
        return read_answer(await model.ask(messages, schema, TEMPERATURE), turns)
    except ModelAway as problem:
        if job.claim.attempt < plan.max_attempts:
            raise JobFailed(problem.kind, problem.retry_after_s) from problem
        return None


def _memory(segment: Segment, text: str, confidence: float) -> NewMemory:
    return NewMemory(
        text,
        kind="summary",
        event_at=segment.turns[-1].said_at,
        confidence=confidence,
        sensitivity="sensitive" if segment.is_sensitive else "ordinary",
        painful_at=segment.painful_at,
    )


def _id_of(segment: Segment) -> str:
    """The same for the same turns, however often they are summarised."""
    ids = "\0".join([segment.conversation, *(turn.id for turn in segment.turns)])
    return "summary-" + hashlib.blake2b(ids.encode(), digest_size=16).hexdigest()


def _silent_since(plan: SummaryPlan, now: datetime) -> datetime:
    return now - timedelta(seconds=plan.rules.idle_s)


def _finder(plan: SummaryPlan) -> Callable[[AsyncEngine, datetime], Awaitable[list[Owner]]]:
    looked_at: datetime | None = None

    async def find(engine: AsyncEngine, now: datetime) -> list[Owner]:
        nonlocal looked_at
        if looked_at is not None and timedelta(0) <= now - looked_at < LOOK_EVERY:
            return []
        looked_at = now
        return await find_people(engine, plan.rules, before=_silent_since(plan, now), limit=AT_ONCE)

    return find
