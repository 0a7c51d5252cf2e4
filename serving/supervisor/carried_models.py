"""Links the weights in a container image to the folder of fetched ones, so that it starts without a network."""

from pathlib import Path

CARRIED = "BONDHU_CARRIED_MODELS"  # environment variable: a directory like `var/models`


def link_carried(carried: Path, models_dir: Path) -> list[str]:
    """Link models in `carried` that `models_dir` lacks; returns their names. Links of an older image are replaced."""
    if not carried.is_dir():
        return []
    models_dir.mkdir(parents=True, exist_ok=True)
    linked = []
    for model in sorted(path for path in carried.iterdir() if path.is_dir()):
        link = models_dir / model.name
        if link.is_symlink() and not link.exists():
            link.unlink()
        if not link.exists():
            link.symlink_to(model)
            linked.append(model.name)
    return linked
