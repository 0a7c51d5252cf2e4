"""What a shell offers in place of a model id that is being typed."""

from serving.config.errors import ConfigError
from serving.config.load import load_settings
from serving.config.model_ids import GENERATING, Kind


def _ids(incomplete: str, *kinds: Kind) -> list[str]:
    try:
        ids = load_settings().ids
    except ConfigError:
        return []  # the command itself says what is wrong
    return [id_ for id_ in ids.of(*kinds) if id_.startswith(incomplete)]


def generating(incomplete: str) -> list[str]:
    """Ids that can be asked for a generation."""
    return _ids(incomplete, *GENERATING)


def in_files(incomplete: str) -> list[str]:
    """Ids that a model file makes."""
    return _ids(incomplete, "model", "adapter")
