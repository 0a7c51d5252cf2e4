"""A whole agent: what `agents/games/` is for games."""

from collections.abc import AsyncGenerator

from agents.base import AgentRequest, Need, PassedOn, RunContext
from agents.events import Done, Event, Token


class EchoAgent:
    """See `agents.base.Agent`."""

    id = "echo"
    description = "Says what it is told."
    needs: frozenset[Need] = frozenset()
    passes_on: frozenset[PassedOn] = frozenset()

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer."""
        yield Token(request.messages[-1].text)
        yield Done()


def make_agent(_: object) -> EchoAgent:
    """The agent; it needs no parts."""
    return EchoAgent()
