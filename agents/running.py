"""Runs an agent and guarantees the contract: its needs are met, it ends with one Done, and it keeps to its time.

Everything that serves agents calls `run_agent`. An exception that an agent should have handled is logged, and the
person gets a plain answer. If the request is refused before the first event, the caller reports that.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from agents.base import Agent, AgentRequest, RequestRefused, RunContext, check_fields, missing_needs
from agents.budget import LimitReached
from agents.events import Done, Event, Token
from agents.loop import done
from agents.tool import ToolFailed
from agents.toolbox import UNABLE
from models.chat import ChatFailure

log = logging.getLogger(__name__)
GRACE_S = 1.0  # for an answer about what took too long
_FIELDS = {"person": "user", "conversation": "conversation", "state": "user", "model": "model"}


async def run_agent(agent: Agent, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
    """All events of the agent, ending with Done; raises RequestRefused before the first event."""
    check_fields(agent, request)
    for need in missing_needs(agent, context):
        raise RequestRefused(f"{agent.id} cannot do without: {need}.", _FIELDS[need])
    has_spoken, limit = False, None
    async with aclosing(agent.run(request, context)) as events:
        try:
            while True:
                async with asyncio.timeout(context.budget.left_s + GRACE_S):
                    event = await anext(events, None)
                if event is None:
                    log.error("the agent %s ended without its end", agent.id)
                    break
                has_spoken = has_spoken or isinstance(event, Token)
                yield event
                if isinstance(event, Done):
                    return
        except TimeoutError:
            limit = "max_s"
        except LimitReached as reached:
            limit = reached.limit
        except (ChatFailure, ToolFailed) as failure:
            log.error("the agent %s let through: %r", agent.id, failure)
    if not has_spoken:
        yield Token(UNABLE)
    yield done(context, limit)
