"""Whether a person wants messages, how many, and at which hours not. By default, nobody gets any."""

from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class InboxSettings(BaseModel):
    """A person's settings. Quiet hours are local and may span midnight; equal times mean none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    max_per_week: int = Field(default=3, ge=1, le=14)
    quiet_from: Clock = "22:00"
    quiet_until: Clock = "08:00"
    webhook: bool = Field(default=False, description="also sent to the application's own address")

    def is_quiet(self, now: datetime, zone: tzinfo | None) -> bool:
        """Whether it is a quiet hour in the person's time zone; UTC if that is unknown."""
        clock = now.astimezone(zone).time() if zone is not None else now.time()
        begin, end = time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until)
        return begin <= clock < end if begin <= end else clock >= begin or clock < end


def read_settings(value: Mapping[str, Any]) -> InboxSettings:
    """The settings in a document; the default if it is invalid."""
    try:
        return InboxSettings.model_validate(dict(value))
    except ValidationError:
        return InboxSettings()
