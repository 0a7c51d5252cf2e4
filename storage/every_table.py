"""All tables of all modules, for code that handles the whole database."""

from storage import applies, safety_counts, tables
from storage.agents import tables as agent_tables
from storage.erasure import log as erasure_log
from storage.media import tables as media_tables
from storage.memory import tables as memory_tables
from storage.services import tables as service_tables

DECLARED_IN = (tables, memory_tables, erasure_log, agent_tables, media_tables, service_tables, safety_counts, applies)
metadata = tables.Base.metadata


def names() -> list[str]:
    """The names of all tables, referenced ones first."""
    return [table.name for table in metadata.sorted_tables]
