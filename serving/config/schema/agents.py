"""The sections `agents` and `services`: agents, and the external services that they use (keys: the environment)."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from serving.config.frozen import Frozen


class AgentLimitsSettings(Frozen):
    """Limits of one agent run; a run that reaches one ends with a plain answer."""

    max_steps: int = Field(default=8, ge=1, description="maximum model and tool calls together")
    max_tokens: int = Field(default=8192, ge=64, description="maximum tokens of all prompts and completions")
    max_s: float = Field(default=30, gt=0, description="maximum duration, s")
    max_outside_calls: int = Field(default=10, ge=0, description="maximum calls to external services")


class AgentsSettings(Frozen):
    """The agents: model ids such as `bondhu/chat` (docs/agents.md)."""

    model: str | None = Field(default=None, description="the served model or adapter that they use; none: the alias")
    personas: Path = Field(default=Path("configs/personas"), description="folder of personas; relative to the root")
    persona: str = Field(default="dost", description="the default persona")
    limits: AgentLimitsSettings = AgentLimitsSettings()
    webhooks: dict[str, str] = Field(
        default_factory=dict,
        description="URLs that get messages of the inbox, by application, such as diary: https://…; requests are "
        "signed with the environment's BONDHU_WEBHOOK_KEY",
    )

    @field_validator("webhooks")
    @classmethod
    def _are_addresses(cls, urls: dict[str, str]) -> dict[str, str]:
        for url in urls.values():
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1")):
                raise ValueError("a URL must begin with https://, or with http://127.0.0.1 or http://[::1]")
        return urls


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
    musicbrainz: bool = Field(default=False, description="get songs of an artist from MusicBrainz; needs no key")
    musicbrainz_url: str = Field(default="https://musicbrainz.org", description="base URL of MusicBrainz")
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
