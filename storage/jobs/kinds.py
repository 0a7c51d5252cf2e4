"""The kinds of background jobs: purpose, owner, parameters. Their handlers are in `jobs.handlers`.

They are declared here, in a lower layer, because the gateway, the command line and the worker all need them and none of
these imports another. A new kind is a line here and one in `jobs.handlers`; its name is stored in rows and must not
change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")  # the number in a row is the place here


class JobParams(BaseModel):
    """Parameters of a kind; none by default. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractParams(JobParams):
    """Which served model extracts."""

    model: str | None = Field(default=None, max_length=128, description="default: the configured one")


class VideosParams(JobParams):
    """The videos to prepare; by default, the person's taste decides."""

    topics: tuple[str, ...] = Field(default=(), max_length=4)
    languages: tuple[str, ...] = Field(default=(), max_length=3)
    minutes: int = Field(default=0, ge=0, le=600, description="the time that they have; 0: any")


class PlaylistsParams(JobParams):
    """Which playlists to refresh."""

    older_than_days: int = Field(default=30, ge=0, le=3650, description="not changed for so long")


class StatsParams(JobParams):
    """The days to count again."""

    days: int = Field(default=2, ge=1, le=400, description="up to today, UTC")


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job.

    Attributes:
        name: at most 32 characters.
        about: its purpose in one sentence.
        priority: its queue.
        of: a person, or the service itself (`storage.jobs.queue.SERVICE`).
        params: the model of its parameters.
        needs: the name of a table; without a row of the person in it, there is nothing to do for them.

    """

    name: str
    about: str
    priority: Priority = "low"
    of: Literal["person", "service"] = "person"
    params: type[JobParams] = JobParams
    needs: str = ""


KINDS: Mapping[str, JobKind] = {
    kind.name: kind
    for kind in (
        JobKind("extract", "Makes memories of what they said.", "normal", params=ExtractParams, needs="people"),
        JobKind("summarise", "Summarises long conversations of theirs.", needs="people"),
        JobKind("inbox", "Leaves messages for those who want them.", "normal", needs="agent_states"),
        JobKind("personality", "Reads how they write, if they allowed it.", needs="agent_states"),
        JobKind("videos", "Prepares videos for them.", params=VideosParams, needs="agent_states"),
        JobKind(
            "playlists", "Brings new songs into old playlists of theirs.", params=PlaylistsParams, needs="playlists"
        ),
        JobKind("history", "Takes what they listened to into their taste.", needs="service_links"),
        JobKind("expire_videos", "Deletes data from YouTube that is 30 days old.", of="service"),
        JobKind("stats", "Counts what was used, by application and day.", of="service", params=StatsParams),
        JobKind("retention", "Deletes what has been kept for as long as it may be.", of="service"),
    )
}


class UnknownKind(ValueError):
    """There is no such kind; the message lists the existing ones."""


def kind_of(name: str) -> JobKind:
    """The kind of that name; raises UnknownKind."""
    if name not in KINDS:
        raise UnknownKind(f"must be one of {', '.join(sorted(KINDS))}")
    return KINDS[name]


def params_of(kind: JobKind, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON with all defaults; raises pydantic's ValidationError."""
    return kind.params.model_validate(dict(params)).model_dump(mode="json")
