"""The run context of a job for one person; it has no model."""

import random
import time

from agents.base import RunContext
from agents.budget import RunBudget, RunLimits
from agents.state import StateStore
from jobs.runner import JobRun
from storage.agents.states import SqlStates
from storage.memory.people import read_profile, zone_of

CONVERSATION = "jobs"  # where what jobs propose waits: a plain yes in a chat means none of it
LIMITS = RunLimits(max_steps=50, max_s=100.0, max_outside_calls=30)


async def context_of(job: JobRun, state: StateStore | None = None) -> RunContext:
    """The context; `state`: the store of documents, SQL by default."""
    profile = await read_profile(job.engine, job.owner)
    number = 0

    def new_id() -> str:
        nonlocal number
        number += 1
        return f"{job.id}-{number}"  # the same in every attempt

    return RunContext(
        owner=job.owner,
        conversation=CONVERSATION,
        budget=RunBudget(LIMITS, time.monotonic),
        now=job.now,
        rng=random.Random(job.id),  # noqa: S311 - which songs come up is no secret, and the same in every attempt
        new_id=new_id,
        zone=zone_of(profile.details),
        state=SqlStates(job.engine, job.now) if state is None else state,
    )
