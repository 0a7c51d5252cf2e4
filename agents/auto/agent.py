"""The router: passes each message to one other agent, by rules, by names that it knows, by a model, or to the friend.

An agent with an unfinished activity (a game) gets the messages of its conversation, unless another agent is clearly
meant, or the person says how they are: then the friend answers until the person returns to the activity. The answer
to a proposal goes to the agent that made it, found by the proposal's id or because the answer follows it directly. So
does the same answer said again soon after, and so does a message that ended an activity, if the very same request comes
once more: its answer may not have arrived. What a card's button says goes to the agent that showed the card, until
another shows one. So does a typed rating that names what was shown by its place ("I like the second one"), for a few
turns, while nobody else has numbered something.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, runtime_checkable

from agents.asking import choose
from agents.auto.rules import confides, possibly, resumes, surely
from agents.base import Agent, AgentRequest, Need, PassedOn, RunContext, client_fields
from agents.budget import LimitReached
from agents.events import Card, Done, Event, Proposal, ToolStep
from agents.proposals import answer_of, answered_by, is_again
from agents.ranking.positions import pointed_of
from agents.toolbox import turns_of
from models.chat import ChatMessage

ROUTED_TURNS = 3
ANSWER_WORDS = 4  # at most, of a yes or no
BY_DEFAULT, HOW_THEY_ARE = "by default", "for how they are"  # reasons of a route
MAX_KEPT, MAX_OFFERED = 20, 100
RATED_TURNS = 3  # after something was shown, or rated
_BUTTONS = frozenset({"like 1", "skip 1", "never 1 again"})  # of what can be rated by its place
_NUMBERED = re.compile(r"^\W{0,4}[1-9][.)]\s", re.MULTILINE)  # a list in a reply
ASIDE = "aside"  # the document that says so


@runtime_checkable
class HoldsConversation(Protocol):
    """An agent that can have an unfinished activity."""

    async def is_playing(self, context: RunContext) -> bool:
        """Whether it has one in this conversation."""

    async def has_answered(self, request: AgentRequest, context: RunContext) -> bool:
        """Whether this very request was its last: it comes again, as its answer did not arrive."""


@runtime_checkable
class KnowsNames(Protocol):
    """An agent that knows things by their names, which rules do not have."""

    async def is_named(self, text: str, context: RunContext) -> bool:
        """Whether a text asks for one."""


class AutoAgent:
    """See `agents.base.Agent`.

    Args:
        agents: the agents that it chooses from.
        default: the id of the one that answers everything else.

    """

    id = "auto"
    description = "Hands on to whichever agent fits."
    needs: frozenset[Need] = frozenset()

    def __init__(self, agents: Sequence[Agent], default: str) -> None:
        self._agents: Mapping[str, Agent] = {agent.id: agent for agent in agents}
        self._default = self._agents[default]

    @property
    def passes_on(self) -> frozenset[PassedOn]:
        """The client's fields that the friend passes on; a request with one of them goes to the friend."""
        return self._default.passes_on

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer as the other agent does; raises RequestRefused."""
        with context.spans("route", {}) as span:
            agent, how = await self._choose(request, context)
            noted = BY_DEFAULT if how == HOW_THEY_ARE else how  # the ledger does not know how somebody is
            span.note("bondhu.route", f"{agent.id} {noted}")
        yield ToolStep("agent", "done", f"{agent.id} {how}")
        proposed: list[str] = []
        answered: dict[str, Any] | None = None
        offered: list[str] = []
        async with aclosing(agent.run(request, context)) as events:
            async for event in events:
                if isinstance(event, Proposal) and event.state == "pending":
                    proposed.append(event.id)
                elif isinstance(event, Proposal):
                    answered = _answered(event, request, context)
                if isinstance(event, Card):
                    offered += [action.says for action in event.actions]
                if isinstance(event, Done):  # before it: whoever reads the events stops there
                    await self._note(agent, proposed, answered, offered, _turns(request), context)
                yield event

    async def _choose(self, request: AgentRequest, context: RunContext) -> tuple[Agent, str]:
        if client_fields(request):
            return self._default, "for the client's own fields"
        noted = await self._noted(context)
        proposer = self._proposer(request, noted, context)
        if proposer is not None:
            return proposer, "as it asked"
        if _folded(request.text) in noted.get("offered", ()):
            return self._agents.get(noted["offers"], self._default), "as it offered"
        rated = self._rated(request, noted)
        sure = surely(request.text, self._agents)
        if sure is not None:
            await self._set_aside(False, context)
            return self._agents[sure], "by rule"
        playing = await self._playing(context)
        if playing is not None:
            if confides(request.text):
                await self._set_aside(True, context)
                return self._default, HOW_THEY_ARE
            if not await self._is_aside(context):
                return playing, "as it goes on"
            if resumes(request.text):
                await self._set_aside(False, context)
                return playing, "as it goes on"
            return self._default, HOW_THEY_ARE
        ended = await self._ended(request, context)
        if ended is not None:
            return ended, "as before"
        if rated is not None:
            return rated, "as it showed that"
        named = [agent for agent in self._agents.values() if await _is_named(agent, request, context)]
        if len(named) == 1:
            return named[0], "by name"
        maybe = possibly(request.text, self._agents)
        if maybe and context.model is not None and context.traits.chooses:
            choice = await self._ask([*maybe, self._default.id], request, context)
            if choice is not None:
                return self._agents[choice], "by model"
        return self._default, BY_DEFAULT

    async def _ask(self, ids: Sequence[str], request: AgentRequest, context: RunContext) -> str | None:
        lines = [f"{id_}: {self._agents[id_].description}" for id_ in ids]
        task = "\n".join(["Choose who should answer what they say last. Answer with one word.", *lines])
        try:
            return await choose(context, [ChatMessage("system", task), *turns_of(request)[-ROUTED_TURNS:]], ids)
        except LimitReached:
            return None

    async def _playing(self, context: RunContext) -> Agent | None:
        """The agent with an unfinished activity."""
        for agent in self._agents.values():
            if isinstance(agent, HoldsConversation) and await agent.is_playing(context):
                return agent
        return None

    async def _ended(self, request: AgentRequest, context: RunContext) -> Agent | None:
        """The agent whose activity this very request has ended before."""
        for agent in self._agents.values():
            if isinstance(agent, HoldsConversation) and await agent.has_answered(request, context):
                return agent
        return None

    async def _is_aside(self, context: RunContext) -> bool:
        """Whether the unfinished activity waits, because the person said how they are."""
        if context.state is None or context.owner is None:
            return False
        kept = await context.state.load(context.state_key(self.id, ASIDE))
        return kept is not None and bool(kept.value.get("aside"))

    async def _set_aside(self, aside: bool, context: RunContext) -> None:  # the value that is kept
        """Let the unfinished activity wait, or continue; stored only if that changes."""
        if context.state is None or context.owner is None:
            return
        key = context.state_key(self.id, ASIDE)
        kept = await context.state.load(key)
        if aside != (kept is not None and bool(kept.value.get("aside"))):
            await context.state.save(key, {"aside": aside}, expected=0 if kept is None else kept.version)

    def _proposer(self, request: AgentRequest, noted: Mapping[str, Any], context: RunContext) -> Agent | None:
        """The agent whose proposal this answers, or answers again."""
        id_ = request.confirm or request.undo
        if id_:
            return self._agents.get(noted.get("made", {}).get(id_, ""))
        answered = noted.get("answered")
        if answered:
            is_answer = _turns(request) - answered["turn"] in (0, 1)
            is_answer &= is_again(answer_of(request.text), answered["answer"], answered["at"], context.now())
        else:
            is_answer = len(request.text.split()) <= ANSWER_WORDS
        return self._agents.get(noted.get("last", "")) if is_answer else None

    def _rated(self, request: AgentRequest, noted: Mapping[str, Any]) -> Agent | None:
        """The agent that showed what this rates by its place."""
        if pointed_of(request.text) is None or not _BUTTONS.intersection(noted.get("offered", ())):
            return None
        since = max(_turns(request) - int(noted.get("turn", 0)), 1)
        said = [message.text for message in request.messages if message.role == "assistant"]
        others = said[len(said) - since + 1 :] if since > 1 else []  # the first after it showed them is its own
        if since > RATED_TURNS or any(_NUMBERED.search(text) for text in others):
            return None
        return self._agents.get(noted["offers"])

    async def _noted(self, context: RunContext) -> Mapping[str, Any]:
        """Which agents made which proposals and showed the last buttons in this conversation."""
        if context.state is None or context.owner is None:
            return {}
        kept = await context.state.load(context.state_key(self.id, "proposers"))
        return {} if kept is None else kept.value

    async def _note(
        self,
        agent: Agent,
        proposed: Sequence[str],
        answered: Mapping[str, Any] | None,
        offered: Sequence[str],
        turn: int,
        context: RunContext,
    ) -> None:
        """Store what the agent proposed and offered, if that changes. A conflict loses a convenience, no effect."""
        if context.state is None or context.owner is None:
            return
        if isinstance(agent, HoldsConversation) and await agent.is_playing(context):
            offered = ()  # its moves, which reach it anyway
        key = context.state_key(self.id, "proposers")
        kept = await context.state.load(key)
        document: Mapping[str, Any] = {} if kept is None else kept.value
        before = document.get("answered")
        if answered and before and (answered["id"], answered["answer"]) == (before["id"], before["answer"]):
            answered = before  # the first time counts
        last = agent.id if proposed or answered else ""
        is_later = document.get("offers") == agent.id and document.get("turn", turn) != turn
        is_noted = document.get("last", "") == last and before == answered
        if is_noted and not proposed and not offered and not is_later:
            return
        made = {**document.get("made", {}), **dict.fromkeys(proposed, agent.id)}
        value = {**document, "last": last, "answered": answered, "made": dict(list(made.items())[-MAX_KEPT:])}
        if offered or is_later:
            value |= {"turn": turn}
        if offered:
            value |= {"offers": agent.id, "offered": [_folded(each) for each in offered[:MAX_OFFERED]]}
        await context.state.save(key, value, expected=0 if kept is None else kept.version)


def _answered(proposal: Proposal, request: AgentRequest, context: RunContext) -> dict[str, Any]:
    """What is stored of an answer, so that it is known when it is said again."""
    answer, at = answered_by(proposal.state), context.now().isoformat()
    return {"id": proposal.id, "answer": answer, "turn": _turns(request), "at": at}


def _turns(request: AgentRequest) -> int:
    return sum(message.role == "user" for message in request.messages)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


async def _is_named(agent: Agent, request: AgentRequest, context: RunContext) -> bool:
    return isinstance(agent, KnowsNames) and await agent.is_named(request.text, context)
