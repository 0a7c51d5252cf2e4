"""Whether somebody wants messages of their own accord, how many, and when not. Nobody does until they say so."""

from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class InboxSettings(BaseModel):
    """A person's. Quiet hours are by their own clock and may go over midnight; two equal times: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    max_per_week: int = Field(default=3, ge=1, le=14)
    quiet_from: Clock = "22:00"
    quiet_until: Clock = "08:00"
    webhook: bool = Field(default=False, description="also sent to the application's own address")

    def is_quiet(self, now: datetime, zone: tzinfo | None) -> bool:
        """Whether nothing is said now, where the person is; UTC where that is not known."""
        clock = now.astimezone(zone).time() if zone is not None else now.time()
        begin, end = time.fromisoformat(self.quiet_from), time.fromisoformat(self.quiet_until)
        return begin <= clock < end if begin <= end else clock >= begin or clock < end


def read_settings(value: Mapping[str, Any]) -> InboxSettings:
    """Those of a document; nobody wants anything where it means nothing."""
    try:
        return InboxSettings.model_validate(dict(value))
    except ValidationError:
        return InboxSettings()
