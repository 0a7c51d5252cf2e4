"""A folder is a feature: none has more modules than a reader takes in at a glance."""

import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_MODULES = 15
EXCEPT = {"storage/migrations/versions"}  # one for each change of the schema, and nobody reads them together


def test_no_folder_has_more_than_fifteen_modules() -> None:
    """The sixteenth module requires subfolders; tests mirror the folders of their package."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = [Path(name) for name in listed.stdout.splitlines() if not name.endswith("__init__.py")]
    sizes = Counter(str(module.parent) for module in modules if (ROOT / module).exists())
    too_large = {folder: size for folder, size in sizes.items() if size > MAX_MODULES and folder not in EXCEPT}
    assert not too_large
