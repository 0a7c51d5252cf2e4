"""/api/v1/muted-topics: topics that a person does not want to be reminded of ("never bring up X")."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from memory.schemas import Name
from serving.errors import UnknownMemory
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, User
from storage.memory.mutes.items import lift_topics

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

PathTopic = Annotated[Name, Path(description="the id of the topic, from the list")]


class MutedTopicAnswer(BaseModel):
    """A topic in words; turns and memories about it are not recalled, whenever they were said."""

    object: Literal["muted_topic"] = "muted_topic"
    id: str
    about: str
    language: str
    created_at: datetime


class MutedTopicList(BaseModel):
    """The topics, oldest first."""

    object: Literal["list"] = "list"
    data: list[MutedTopicAnswer]


class LiftedTopic(BaseModel):
    """The topic was lifted; memories that were muted one by one stay muted."""

    object: Literal["muted_topic.deleted"] = "muted_topic.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("/api/v1/muted-topics")
async def muted_topics(access: Access, user: User = None) -> MutedTopicList:
    """List the person's muted topics."""
    async with access.about(user) as owner:
        topics = await access.gateway.memory.topics(owner)
    return MutedTopicList(data=[MutedTopicAnswer.model_validate(each, from_attributes=True) for each in topics])


@router.delete("/api/v1/muted-topics/{topic}")
async def lift(topic: PathTopic, access: Access, user: User = None) -> LiftedTopic:
    """Lift a muted topic: items about it may be recalled again."""
    async with access.about(user) as owner:
        if await lift_topics(access.gateway.database, owner, [topic], now=access.gateway.now()) is None:
            raise UnknownMemory(f"This person has no muted topic '{topic}'.")
    return LiftedTopic(id=topic)
