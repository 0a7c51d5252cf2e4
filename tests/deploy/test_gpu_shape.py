"""What `make compose-test-gpu-shape` runs is docker-compose.gpu.yml, but for what needs a GPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "deploy/docker/compose_test"
FILE = REPOSITORY / "docker-compose.gpu.yml"
SHAPE = """
import json, pathlib, sys, gpu_shape
document, changed = gpu_shape.shape(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), set(sys.argv[3:]))
print(json.dumps([document, changed]))
"""


def shaped(folder: Path, images: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the file for a machine that has these images."""
    command = [sys.executable, "-c", SHAPE, str(FILE), str(folder), *images]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=True)
    document, changed = json.loads(done.stdout)
    return document, changed


def test_only_what_needs_a_gpu_or_an_image_is_changed(tmp_path: Path) -> None:
    """Limits, confinement, commands and networks of all others stay; what is left out is said."""
    original = yaml.safe_load(FILE.read_text())["services"]
    images = {service["image"].replace("bondhu:gpu", "bondhu:cpu") for service in original.values()}
    document, changed = shaped(tmp_path, {image for image in images if "grafana" not in image})
    services = document["services"]
    assert set(original) - set(services) == {"grafana"}
    assert changed == [
        "postgres without read_only",
        "gateway without gpus",
        "without grafana: there is no image of it",
    ]
    for name, service in services.items():
        assert "gpu" not in service["image"], name
        assert "gpus" not in service, name
        for key in ("deploy", "command", "read_only", "cap_drop", "security_opt", "networks", "ports", "secrets"):
            if (name, key) != ("postgres", "read_only"):
                assert service.get(key) == original[name].get(key), f"{name}: {key}"
    assert all(Path(secret["file"]).parent == tmp_path for secret in document["secrets"].values())
