"""/api/v1/profile, /api/v1/export, /api/v1/import: what is kept of a person, and all of it, out and in."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from memory.schemas import About, AgentDocument, Document
from serving.routes import openapi
from serving.routes.body import read_bytes
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Asker, User
from storage.memory.export import read_history
from storage.memory.other_rows import read_other_rows
from storage.memory.people import Profile, read_profile, write_profile


class Taken(BaseModel):
    """How many are new here, and how many were here before."""

    new: int
    known: int


class Imported(About):
    """The profile after an import, and what became of the document."""

    messages: Taken
    memories: Taken


router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
imports = APIRouter(tags=["memory"], responses=openapi.MEMORY_RESPONSES)  # whose bodies are not FastAPI's to read


@router.get("/api/v1/profile")
async def profile(asker: Asker, user: User = None) -> About:
    """What the application said of the person."""
    async with asker.about(user) as owner:
        return About.model_validate(await read_profile(asker.gateway.database, owner))


@router.put("/api/v1/profile")
async def set_profile(body: About, asker: Asker, user: User = None) -> About:
    """Replace what the application said of the person."""
    async with asker.about(user) as owner:
        said = Profile(body.name, dict(body.details))
        await write_profile(asker.gateway.database, owner, said, now=asker.gateway.now())
    return body


@router.get("/api/v1/export")
async def export(asker: Asker, user: User = None) -> Document:
    """All that is kept of the person, as one document."""
    async with asker.about(user) as owner:
        kept = await asker.gateway.agents.states.of_person(owner)
        agents = [
            AgentDocument(agent=key.agent, conversation=key.conversation, name=key.name, value=dict(value))
            for key, value in kept
        ]
        others = await read_other_rows(asker.gateway.database, owner)
        return Document.of(await read_history(asker.gateway.database, owner), agents, others)


@imports.post("/api/v1/import", openapi_extra=openapi.IMPORT)
async def take_in(request: Request, asker: Asker, user: User = None) -> Imported:
    """Add the content of an exported document; what is there already stays as it is.

    All of it is checked before anything is written. Sent again, it adds what is missing.
    """
    gateway = asker.gateway
    body = await read_bytes(request, gateway.settings.memory.max_import_bytes)
    async with asker.about(user) as owner:
        moved = await gateway.memory.take_in(owner, await gateway.documents.read(body))
        about = await read_profile(gateway.database, owner)
    return Imported(
        name=about.name,
        details=about.details,
        messages=Taken(new=moved.new_messages, known=moved.known_messages),
        memories=Taken(new=moved.new_memories, known=moved.known_memories),
    )
