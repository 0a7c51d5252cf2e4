"""/api/v1/proposals: a person's yes to what an agent proposed, or their wish to have it undone, as a button gives it.

Either is a run of the agent that proposed it, with its limits and its row in the ledger.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import JsonValue

from memory.schemas import Accepted, Name
from serving.errors import DatabaseAway, InvalidRequest, UnknownProposal
from serving.routes import openapi
from serving.routes.agents.agents import RunAnswer, run_whole
from serving.routes.body_limit import BoundedRoute
from serving.routes.dependencies import Caller, Gateway, Worker
from serving.routes.identity import USER_HEADER, check_user, end_user, named_conversation
from storage.agents.states import StateKey
from storage.database import AWAY
from storage.memory.owner import Owner

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.AGENT_RESPONSES)

DOCUMENT = "proposals"  # of `agents.proposals`
PathProposal = Annotated[Name, Path(description="its id, as the event `proposal` told it")]


class ProposalBody(Accepted):
    """Whose proposal it is, and in which conversation it was made; or as headers say."""

    user: Name | None = None
    conversation: Name | None = None


@router.post("/api/v1/proposals/{proposal}/confirm", response_model=RunAnswer)
async def confirm(
    proposal: PathProposal, body: ProposalBody, request: Request, gateway: Worker, caller: Caller
) -> Response:
    """Do what was proposed, once."""
    return await _settle("confirm", "Yes.", proposal, body, request, gateway, caller)


@router.post("/api/v1/proposals/{proposal}/undo", response_model=RunAnswer)
async def undo(
    proposal: PathProposal, body: ProposalBody, request: Request, gateway: Worker, caller: Caller
) -> Response:
    """Undo it, if it was done and can be undone."""
    return await _settle("undo", "Undo that.", proposal, body, request, gateway, caller)


async def _settle(
    how: str, says: str, proposal: str, body: ProposalBody, request: Request, gateway: Gateway, caller: Any
) -> Response:
    user = end_user(request, {"user": body.user})
    check_user(user)
    if user is None:
        raise InvalidRequest(f"user: name the end user, here or in the header {USER_HEADER}.", param="user")
    conversation = body.conversation or named_conversation(request)
    agent = await _proposer(gateway, Owner(caller.app, user), conversation, proposal)
    messages: list[dict[str, JsonValue]] = [{"role": "user", "content": says}]
    return await run_whole(request, gateway, caller, agent, messages, user, conversation, {how: proposal})


async def _proposer(gateway: Gateway, owner: Owner, conversation: str, proposal: str) -> str:
    """The agent that proposed it; raises UnknownProposal."""
    try:
        for agent in gateway.agents.registry:
            kept = await gateway.agents.states.load(StateKey(owner, agent.id, conversation, DOCUMENT))
            if kept is not None and proposal in kept.value.get("entries", {}):
                return agent.id
    except AWAY as problem:
        raise DatabaseAway from problem
    raise UnknownProposal(f"Nothing was proposed to this person in this conversation as '{proposal[:64]}'.")
