"""What was applied is brought back, also by a version whose modules have other names."""

import json
from pathlib import Path

from serving.cluster import apply, manifest
from serving.config.load import load_settings

ROOT = Path(__file__).resolve().parents[3]


def test_what_a_former_version_applied_is_restored_with_todays_module_paths(tmp_path: Path) -> None:
    """Ray would not find the modules of before; everything else of the document stays."""
    settings = load_settings(ROOT, {"BONDHU_VAR_DIR": str(tmp_path)})
    assert apply.last_applied(settings) is None
    document = manifest.build(settings)
    (tmp_path / "run").mkdir()
    former = json.dumps(document).replace("serving.deployments.", "serving.deploy.")
    (tmp_path / "run/applied.json").write_text(former)
    assert apply.last_applied(settings) == document
