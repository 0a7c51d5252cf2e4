"""Weights that an image carries: put where fetched ones are, so that a container starts without a network."""

from pathlib import Path

CARRIED = "BONDHU_CARRIED_MODELS"  # environment: a directory like `var/models`


def link_carried(carried: Path, models_dir: Path) -> list[str]:
    """Link what `carried` has and `models_dir` has not; return the names. A link of an older image is renewed."""
    if not carried.is_dir():
        return []
    models_dir.mkdir(parents=True, exist_ok=True)
    linked = []
    for model in sorted(path for path in carried.iterdir() if path.is_dir()):
        place = models_dir / model.name
        if place.is_symlink() and not place.exists():
            place.unlink()
        if not place.exists():
            place.symlink_to(model)
            linked.append(model.name)
    return linked
