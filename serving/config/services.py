"""The shape of the configuration's part about services outside, which agents ask. Their keys are in the environment."""

from pydantic import Field

from serving.config.frozen import Frozen


class ServicesSettings(Frozen):
    """Services outside for music and videos; each is off until it is switched on here, or by its key."""

    feeds: bool = Field(default=False, description="fetch feeds of YouTube's channels, which needs no key")
    feeds_url: str = Field(default="https://www.youtube.com", description="where they are")
    youtube_url: str = Field(
        default="https://www.googleapis.com/youtube/v3",
        description="YouTube's Data API, used for search when YOUTUBE_API_KEY is in the environment",
    )
    region: str = Field(default="", pattern="^([A-Z]{2})?$", description="for its search, by ISO 3166; empty: none")
    radio: bool = Field(default=False, description="ask ListenBrainz' radio for songs, which needs no key")
    listenbrainz_url: str = Field(default="https://api.listenbrainz.org", description="where it is")
    timeout_s: float = Field(default=5.0, gt=0, le=30, description="for one answer of a service, s")
