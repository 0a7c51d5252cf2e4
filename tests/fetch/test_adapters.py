"""An adapter that names a repository of the hub is fetched once, and looked at before anything changes."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from serving.cluster.adapters import misfits_of
from serving.config.errors import ConfigError
from serving.config.load import load_settings
from tests.fetch.hub_server import HubServer
from tests.support.local_stack import BONDHU, REPOSITORY
from tests.support.models.tiny_lora import write_lora

BASE, NAME = "bondhu-demo", "lora-hub"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A hub that has an adapter, and a checkpoint, which is none."""
    repositories = {
        "org/lora": write_lora(tmp_path / "lora", seed=1),
        "org/large": write_lora(tmp_path / "large", seed=2, rank=64),
        "org/tiny": REPOSITORY / "models/demo/checkpoint",
    }
    with HubServer(repositories, token="hf_right") as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root of its own, with the shipped configuration."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "root/configs")
    (tmp_path / "root/models").symlink_to(REPOSITORY / "models")
    return tmp_path / "root"


def name_adapter(root: Path, model: str = BASE, **adapter: object) -> None:
    """Make it the only adapter of a model."""
    path = root / f"configs/models/{model}.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "adapters": [{"id": NAME, **adapter}]}))


def bondhu(root: Path, hub: HubServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root, with this hub."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BONDHU", "HF_"))},
        "BONDHU_ROOT": str(root),
        "BONDHU_VAR_DIR": str(root / "var"),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_right",
        "HF_HUB_OFFLINE": "1",  # as where the service runs: only fetching goes online
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [BONDHU, *arguments], env=environ, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )


def test_an_adapter_of_the_hub_is_fetched_by_its_id(hub: HubServer, root: Path, tmp_path: Path) -> None:
    """Its files are the hub's; the settings know where they are, before and after; they fit the base."""
    name_adapter(root, source="hf:org/lora@main")
    settings = load_settings(root, {"BONDHU_VAR_DIR": str(root / "var")})
    (adapter,) = settings.catalogue[BASE].adapters
    assert not (root / adapter.path).exists()
    assert misfits_of(settings, settings.catalogue[BASE]) == [], "it is looked at once it is here"
    done = bondhu(root, hub, "models", "fetch", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == str(root / adapter.path)
    assert {path.name for path in (root / adapter.path).iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    fetched = (root / adapter.path / "adapter_model.safetensors").read_bytes()
    assert fetched == (tmp_path / "lora/adapter_model.safetensors").read_bytes()
    loads = len(hub.ranges)
    assert bondhu(root, hub, "models", "fetch", NAME).returncode == 0
    assert len(hub.ranges) == loads, "only once"


def test_what_was_fetched_and_does_not_fit_is_refused(hub: HubServer, root: Path) -> None:
    """With the reason, by `bondhu models check` as by `bondhu apply`."""
    name_adapter(root, source="hf:org/large")
    assert bondhu(root, hub, "models", "fetch", NAME).returncode == 0
    settings = load_settings(root, {"BONDHU_VAR_DIR": str(root / "var")})
    (problem,) = misfits_of(settings, settings.catalogue[BASE])
    assert "rank 64 is above the bound" in str(problem)


def test_a_repository_without_an_adapter_leaves_nothing(hub: HubServer, root: Path) -> None:
    """A whole model is none."""
    done = bondhu(root, hub, "models", "fetch", "hf:org/tiny", "--form", "adapter", "--json")
    assert done.returncode == 1
    assert "has no adapter_config.json: it is no adapter that peft wrote" in done.stderr
    assert not list((root / "var/models").rglob("*.safetensors"))


def test_an_adapter_without_a_model_file_is_fetched_with_its_entry(hub: HubServer, root: Path) -> None:
    """The command says what to write into the model's file."""
    done = bondhu(root, hub, "models", "fetch", "hf:org/lora", "--form", "adapter")
    assert done.stdout.splitlines()[1] == "for a model file: adapters: [{id: lora, source: hf:org/lora}]"
    told = json.loads(bondhu(root, hub, "models", "fetch", "hf:org/lora", "--form", "adapter", "--json").stdout)
    assert told["form"] == "adapter"


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({}, "set path or source"),
        ({"path": "x", "source": "hf:org/lora"}, "adapters.0.source: cannot be combined with path"),
        ({"source": "hf:org/lora", "optional": True}, "cannot be combined with optional"),
        ({"source": "pypi:lora==1.0"}, "must be hf:ORG/NAME"),
        ({"source": "hf:lora"}, "hf:ORG/NAME@REVISION"),
        ({"path": "hf:org/lora"}, "adapters.0.path: write an hf: source as `source`"),
    ],
)
def test_a_wrong_source_is_refused_when_the_file_is_read(root: Path, adapter: dict[str, object], message: str) -> None:
    """With the key and what would be accepted."""
    name_adapter(root, **adapter)
    with pytest.raises(ConfigError) as failure:
        load_settings(root, {})
    assert message in str(failure.value)


def test_llama_cpp_takes_adapters_as_files(root: Path) -> None:
    """It loads GGUF only, which no repository of an adapter has."""
    name_adapter(root, "smollm2-135m-instruct-gguf", source="hf:org/lora")
    with pytest.raises(ConfigError, match="llama_cpp takes adapters as GGUF files"):
        load_settings(root, {})
