"""The section `services` of the configuration: external services that agents use. Keys are in the environment."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from serving.config.frozen import Frozen


class ServicesSettings(Frozen):
    """External services for music and videos; each is off until it is switched on here or its key is set."""

    feeds: bool = Field(default=False, description="fetch the feeds of YouTube channels; needs no key")
    feeds_url: str = Field(default="https://www.youtube.com", description="base URL of the feeds")
    youtube_url: str = Field(
        default="https://www.googleapis.com/youtube/v3",
        description="base URL of YouTube's Data API, used for search if YOUTUBE_API_KEY is set",
    )
    region: str = Field(
        default="", pattern="^([A-Z]{2})?$", description="region of the search, ISO 3166-1 alpha-2; empty: any"
    )
    radio: bool = Field(default=False, description="get songs from ListenBrainz radio; needs no key")
    listenbrainz_url: str = Field(default="https://api.listenbrainz.org", description="base URL of ListenBrainz")
    timeout_s: float = Field(default=5.0, gt=0, le=30, description="timeout of a request to a service, s")
    history: bool = Field(
        default=False,
        description="users can link ListenBrainz and Last.fm accounts by name, so that their taste is known",
    )
    lastfm_url: str = Field(
        default="https://ws.audioscrobbler.com", description="base URL of Last.fm's API, used if LASTFM_API_KEY is set"
    )
    spotify_client_id: str = Field(
        default="",
        description="client id of the operator's application; users can link accounts if BONDHU_TOKENS_KEY is set too",
    )
    spotify_redirect_uri: str = Field(
        default="http://127.0.0.1:8000/api/v1/services/spotify/callback",
        description="redirect URI, as registered at Spotify",
    )
    spotify_url: str = Field(default="https://api.spotify.com/v1", description="base URL of Spotify's Web API")
    spotify_accounts_url: str = Field(
        default="https://accounts.spotify.com", description="base URL for Spotify's tokens"
    )

    @field_validator("spotify_redirect_uri")
    @classmethod
    def _is_allowed_by_spotify(cls, uri: str) -> str:
        url = urlsplit(uri)
        if url.scheme != "https" and url.hostname not in ("127.0.0.1", "::1"):
            raise ValueError("Spotify allows https, or http on 127.0.0.1 or [::1], but not localhost")
        return uri
