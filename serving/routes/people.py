"""/api/v1/profile, /api/v1/export, /api/v1/import: what is kept of a person, and all of it, out and in."""

from fastapi import APIRouter

from memory.document import About, Document
from serving import openapi
from serving.config_schema import Settings
from serving.routes.bounded import BoundedRoute
from serving.routes.personal import Asker, User
from storage.people import Profile, read_profile, write_profile
from storage.transfer import read_history


class ImportRoute(BoundedRoute):
    """Takes bodies of at most `memory.max_import_bytes`."""

    def most_bytes(self, settings: Settings) -> int:
        """How many bytes a body may have."""
        return settings.memory.max_import_bytes


router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
imports = APIRouter(tags=["memory"], route_class=ImportRoute, responses=openapi.MEMORY_RESPONSES)


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
        return Document.of(await read_history(asker.gateway.database, owner))


@imports.post("/api/v1/import")
async def take_in(body: Document, asker: Asker, user: User = None) -> About:
    """Add the content of an exported document, all of it or nothing; what is there already stays as it is."""
    async with asker.about(user) as owner:
        await asker.gateway.memory.take_in(owner, body.history())
        return About.model_validate(await read_profile(asker.gateway.database, owner))
