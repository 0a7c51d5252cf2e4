"""The section `memory`: what is recalled, extraction, summaries."""

from typing import Literal

from pydantic import Field

from serving.config.frozen import Frozen


class ChatMemorySettings(Frozen):
    """What a chat with memory adds to the prompt about the person."""

    recalled_tokens: int = Field(default=512, ge=0, description="maximum recalled tokens (3 bytes each)")
    profile_tokens: int = Field(
        default=1024, ge=0, description="maximum tokens of profile and pinned memories (3 bytes each)"
    )
    max_items: int = Field(default=12, ge=1, le=100, description="maximum recalled turns and memories")
    min_relevance: float = Field(
        default=0.018,
        ge=0,
        le=1,
        description="recall nothing unless something is at least so probably relevant (docs/recall.md); 0: always",
    )
    place: Literal["system", "question"] = Field(
        default="system", description="where to put them: in the system message, or before the text of the last message"
    )
    timeout_s: float = Field(
        default=2.0, gt=0, description="timeout of recall; after it, the chat is answered without memory, s"
    )
    detection_timeout_s: float = Field(
        default=3.0,
        gt=0,
        le=60,
        description="timeout of a model that detects requests about memory (`detects_intents` of a model file); after "
        "it, the patterns decide, s",
    )


class ExtractionSettings(Frozen):
    """Extraction of memories from conversations, by a Celery job; without it, recall uses the turns alone."""

    model: str | None = Field(
        default=None,
        description="the served model that extracts; none: extraction is off, as recommended for small models",
    )
    turn_tokens: int = Field(
        default=400, ge=1, description="start extraction once a person has this many unread tokens (4 characters each)"
    )
    idle_s: float = Field(
        default=120, ge=0, description="start with fewer tokens once a person has been silent this long, s"
    )
    batch_tokens: int = Field(default=1500, ge=1, description="approximate tokens of turns in one request")
    answer_tokens: int = Field(default=1024, ge=1, description="maximum tokens of the model's answer")
    timeout_s: float = Field(
        default=60, gt=0, le=600, description="timeout of all requests of a job; other tasks of the worker wait, s"
    )
    max_attempts: int = Field(
        default=8, ge=1, description="attempts before a job pauses for a day, or until `bondhu jobs retry`"
    )
    every_s: float = Field(default=30, gt=0, description="interval of looking for due extractions, s")


class SummarySettings(Frozen):
    """Summaries of long conversations, by a Celery job; recalled like memories, and forgotten with their turns."""

    enabled: bool = Field(default=True, description="summarise long conversations in the background")
    model: str | None = Field(
        default=None,
        description="the served model that writes them; none: they are made of the person's own sentences",
    )
    turns: int = Field(default=40, ge=2, le=200, description="turns in one summary")
    newer: int = Field(default=8, ge=0, description="turns that must follow them before it is made")
    idle_turns: int = Field(default=16, ge=2, description="turns that are summarised without more, after a silence")
    idle_s: float = Field(default=21600, ge=0, description="that silence, s")
    answer_tokens: int = Field(default=256, ge=1, description="maximum tokens of the model's answer")
    timeout_s: float = Field(default=60, gt=0, le=200, description="timeout of a request to the model, s")
    max_attempts: int = Field(
        default=5, ge=1, description="attempts; in the last one it is made without the model, if that is down"
    )


class MemorySettings(Frozen):
    """Memory of people (memory/) in a gateway worker."""

    index_bytes: int = Field(
        default=256 * 2**20, ge=2**20, description="maximum size of a worker's index cache, built from SQL, bytes"
    )
    max_import_bytes: int = Field(default=32 * 2**20, ge=1024, description="maximum size of an import, bytes")
    import_timeout_s: float = Field(
        default=60, ge=1, description="timeout of reading an import, before anything is written, s"
    )
    undo_s: float = Field(
        default=86400,
        ge=0,
        le=2592000,
        description="time to undo what a person asked a chat to forget, before it is deleted for good; 0: at once, s",
    )
    chat: ChatMemorySettings = ChatMemorySettings()
    extraction: ExtractionSettings = ExtractionSettings()
    summaries: SummarySettings = SummarySettings()
