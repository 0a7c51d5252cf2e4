"""/api/v1/profile, /api/v1/export, /api/v1/import: a person's profile, and export and import of all their data."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from memory.document_writer import write_document
from memory.schemas import About, AgentDocument, Document
from serving.routes import openapi
from serving.routes.body import read_bytes
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, User
from storage.memory.export import read_history
from storage.memory.other_rows import read_other_rows
from storage.memory.people import Profile, read_profile, write_profile


class ImportCounts(BaseModel):
    """The number of new and of already known items."""

    new: int
    known: int


class Imported(About):
    """The profile after an import, and what was imported.

    `taken` are the fields of the profile that came from the document; others were there before. `differing` messages
    were there with another text, which was kept. `not_imported` counts what else the document has: an export shows it,
    and its owners make it themselves.
    """

    taken: list[str]
    conversations: ImportCounts
    messages: ImportCounts
    differing: int
    memories: ImportCounts
    not_imported: dict[str, int]


router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
imports = APIRouter(tags=["memory"], responses=openapi.MEMORY_RESPONSES)  # bodies are read by the route itself


@router.get("/api/v1/profile")
async def profile(access: Access, user: User = None) -> About:
    """The person's profile, as set by the application."""
    async with access.about(user) as owner:
        return About.model_validate(await read_profile(access.gateway.database, owner))


@router.put("/api/v1/profile")
async def set_profile(body: About, access: Access, user: User = None) -> About:
    """Replace the person's profile."""
    async with access.about(user) as owner:
        new_profile = Profile(body.name, dict(body.details))
        await write_profile(access.gateway.database, owner, new_profile, now=access.gateway.now())
    return body


@router.get("/api/v1/export", response_model=Document)
async def export(access: Access, response: Response, user: User = None) -> Response:
    """Export all data of the person as one document."""
    async with access.about(user) as owner:
        states = await access.gateway.agents.states.of_person(owner)
        agents = [
            AgentDocument(agent=key.agent, conversation=key.conversation, name=key.name, value=dict(value))
            for key, value in states
        ]
        other_rows = await read_other_rows(access.gateway.database, owner)
        history = await read_history(access.gateway.database, owner)
        document = await asyncio.to_thread(write_document, history, agents, other_rows)
    return Response(document, headers=dict(response.headers), media_type="application/json")


@imports.post("/api/v1/import", openapi_extra=openapi.IMPORT)
async def take_in(http_request: Request, access: Access, user: User = None) -> Imported:
    """Import an exported document; existing data is not changed.

    The whole document is validated before anything is written. A repeated import adds what is missing.
    """
    gateway = access.gateway
    body = await read_bytes(http_request, gateway.settings.memory.max_import_bytes)
    async with access.about(user) as owner:
        history = await gateway.documents.read(body)
        moved = await gateway.memory.take_in(owner, history)
        about = await read_profile(gateway.database, owner)
    return Imported(
        name=about.name,
        details=about.details,
        taken=list(moved.profile),
        conversations=ImportCounts(new=moved.new_conversations, known=moved.known_conversations),
        messages=ImportCounts(new=moved.new_messages, known=moved.known_messages),
        differing=moved.differing,
        memories=ImportCounts(new=moved.new_memories, known=moved.known_memories),
        not_imported=dict(history.left),
    )
