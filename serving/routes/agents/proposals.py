"""/api/v1/proposals: confirm or undo what an agent proposed, for example with a button.

Both run the agent that made the proposal, with limits and a row in the ledger.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import JsonValue

from memory.schemas import Accepted, Name
from serving.errors import DatabaseAway, InvalidRequest, UnknownProposal
from serving.routes import openapi
from serving.routes.agents.agents import RunAnswer, run_whole
from serving.routes.body_limit import BoundedRoute
from serving.routes.counted import throttled
from serving.routes.dependencies import Caller, Gateway, Worker
from serving.routes.identity import USER_HEADER, check_user, end_user, named_conversation
from storage.agents.states import StateKey
from storage.database import AWAY
from storage.memory.owner import Owner

router = APIRouter(
    tags=["agents"],
    route_class=BoundedRoute,
    responses=openapi.AGENT_RESPONSES,
    dependencies=[Depends(throttled)],  # who proposed it is in the database
)

DOCUMENT = "proposals"  # of `agents.proposals`
PathProposal = Annotated[Name, Path(description="the id in the event `proposal`")]


class ProposalBody(Accepted):
    """The user and the conversation of the proposal; both can be set by headers instead."""

    user: Name | None = None
    conversation: Name | None = None


@router.post("/api/v1/proposals/{proposal}/confirm", response_model=RunAnswer)
async def confirm(
    proposal: PathProposal, body: ProposalBody, http_request: Request, gateway: Worker, caller: Caller
) -> Response:
    """Execute a proposal, once."""
    return await _settle("confirm", "Yes.", proposal, body, http_request, gateway, caller)


@router.post("/api/v1/proposals/{proposal}/undo", response_model=RunAnswer)
async def undo(
    proposal: PathProposal, body: ProposalBody, http_request: Request, gateway: Worker, caller: Caller
) -> Response:
    """Undo a proposal that was executed, if it can be undone."""
    return await _settle("undo", "Undo that.", proposal, body, http_request, gateway, caller)


async def _settle(
    how: str, text: str, proposal: str, body: ProposalBody, http_request: Request, gateway: Gateway, caller: Any
) -> Response:
    user = end_user(http_request, {"user": body.user})
    check_user(user)
    if user is None:
        raise InvalidRequest(f"user: required; set it here or in the header {USER_HEADER}.", param="user")
    conversation = body.conversation or named_conversation(http_request)
    agent = await _proposer(gateway, Owner(caller.app, user), conversation, proposal)
    messages: list[dict[str, JsonValue]] = [{"role": "user", "content": text}]
    return await run_whole(
        http_request, gateway.generating, caller, agent, messages, user, conversation, {how: proposal}
    )


async def _proposer(gateway: Gateway, owner: Owner, conversation: str, proposal: str) -> str:
    """The id of the agent that made the proposal; raises UnknownProposal."""
    try:
        for agent in gateway.agents.registry:
            stored = await gateway.agents.states.load(StateKey(owner, agent.id, conversation, DOCUMENT))
            if stored is not None and proposal in stored.value.get("entries", {}):
                return agent.id
    except AWAY as problem:
        raise DatabaseAway from problem
    raise UnknownProposal(f"There is no proposal '{proposal[:64]}' for this person in this conversation.")
