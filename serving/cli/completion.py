"""Shell completion of model ids."""

from serving.config.errors import ConfigError
from serving.config.load import load_settings
from serving.config.model_ids import GENERATING, Kind


def _ids(incomplete: str, *kinds: Kind) -> list[str]:
    try:
        ids = load_settings().ids
    except ConfigError:
        return []  # the command itself reports the error
    return [id_ for id_ in ids.of(*kinds) if id_.startswith(incomplete)]


def generating(incomplete: str) -> list[str]:
    """Complete the ids of models that can generate."""
    return _ids(incomplete, *GENERATING)


def in_files(incomplete: str) -> list[str]:
    """Complete the ids of models and adapters in model files."""
    return _ids(incomplete, "model", "adapter")
