"""The table of agents' state: games, proposals. Its rows belong to a person and are erased with them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.memory.tables import Owned
from storage.tables import UtcDateTime


class AgentState(Owned):
    """A document of an agent, in one conversation (the application's id; "": none in particular).

    `version` counts its saves, from 1.
    """

    __tablename__ = "agent_states"

    agent: Mapped[str] = mapped_column(String(32), primary_key=True)
    conversation: Mapped[str] = mapped_column(String(256), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
