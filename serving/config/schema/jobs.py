"""The section `jobs`: background jobs and their schedules."""

from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from serving.config.frozen import Frozen
from storage.jobs.kinds import kind_of


class JobScheduleSpec(Frozen):
    """When a kind of job is due: at a time of day, where the person is; or every so many hours."""

    enabled: bool = Field(default=True, description="start by schedule; if false, only on request")
    at: str = Field(default="04:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="local time, HH:MM")
    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | None = Field(
        default=None, description="only on this day of the week; default: every day"
    )
    every_h: int | None = Field(default=None, ge=1, le=24, description="interval instead of a time of day, h")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.every_h is not None and {"at", "weekday"} & self.model_fields_set:
            raise ValueError("give either every_h, or at and weekday")
        return self


class JobsSettings(Frozen):
    """Jobs that the worker does in the background, by kind (docs/jobs.md). New messages start extraction."""

    every_s: float = Field(default=10, gt=0, description="interval between two checks for due jobs, s")
    max_attempts: int = Field(
        default=5, ge=1, description="attempts until a job pauses for a day, or until `bondhu jobs retry`"
    )
    zone: str = Field(default="UTC", description="IANA zone of the service, and of people whose profile names none")
    schedules: dict[str, JobScheduleSpec] = Field(
        default={
            "inbox": JobScheduleSpec(every_h=1),
            "personality": JobScheduleSpec(at="04:15"),
            "videos": JobScheduleSpec(at="05:00"),
            "history": JobScheduleSpec(at="04:30"),
            "playlists": JobScheduleSpec(at="05:30", weekday="mon"),
            "expire_videos": JobScheduleSpec(at="03:00"),
            "retention": JobScheduleSpec(at="03:30"),
            "stats": JobScheduleSpec(every_h=1),
        },
        description="by kind: enabled, at, weekday, every_h",
    )

    @field_validator("zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError):
            raise ValueError(f"zone: {name!r} is not an IANA time zone; give one like Asia/Dhaka") from None
        return name

    @field_validator("schedules")
    @classmethod
    def _are_kinds(cls, schedules: dict[str, JobScheduleSpec]) -> dict[str, JobScheduleSpec]:
        for name in schedules:
            kind_of(name)
        return schedules
