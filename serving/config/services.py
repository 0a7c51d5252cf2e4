"""The shape of the configuration's part about services outside, which agents ask. Their keys are in the environment."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

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
    history: bool = Field(
        default=False, description="people can link accounts at ListenBrainz and Last.fm by name, for their taste"
    )
    lastfm_url: str = Field(
        default="https://ws.audioscrobbler.com", description="Last.fm, used when LASTFM_API_KEY is in the environment"
    )
    spotify_client_id: str = Field(
        default="",
        description="of the operator's application; people can link accounts when BONDHU_TOKENS_KEY is there too",
    )
    spotify_redirect_uri: str = Field(
        default="http://127.0.0.1:8000/api/v1/services/spotify/callback",
        description="where Spotify sends people back; as it is registered there",
    )
    spotify_url: str = Field(default="https://api.spotify.com/v1", description="its Web API")
    spotify_accounts_url: str = Field(default="https://accounts.spotify.com", description="where it gives tokens")

    @field_validator("spotify_redirect_uri")
    @classmethod
    def _is_taken_there(cls, uri: str) -> str:
        parts = urlsplit(uri)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1"):
            raise ValueError("Spotify takes https, or http on 127.0.0.1 or [::1]; not localhost")
        return uri
