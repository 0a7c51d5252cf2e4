"""What docs/models.md tells is there: commands with their options, keys of model files, settings, files, defaults."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

from models.vllm import arguments
from serving.cli.main import app
from serving.config.schema import CanarySpec, ModelSpec, Settings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/models.md").read_text()
COMMANDS = typer.main.get_command(app)


def commands() -> Iterator[str]:
    """Every command of the page, in running text and after a prompt."""
    yield from re.findall(r"`(bondhu [^`]+)`", PAGE)
    yield from re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(bondhu .+)$", PAGE, re.M)


def test_every_command_exists_with_its_options() -> None:
    """As the command line itself reads them."""
    found = list(commands())
    assert len(found) > 15
    for text in found:
        command = COMMANDS
        for word in text.split()[1:]:
            if word.startswith("-"):
                options = {name for param in command.params for name in param.opts}
                assert word in options, text
            elif subcommands := getattr(command, "commands", None):
                assert word in subcommands, text
                command = subcommands[word]


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
def test_every_piece_of_a_model_file_is_valid(block: str) -> None:
    """It can be put into one as it is."""
    adapters = [{"id": "bondhu-companion", "path": "models/companion/adapter"}]
    ModelSpec.model_validate({"id": "m", "path": "p", "adapters": adapters, **yaml.safe_load(block)})


def test_every_setting_that_is_named_exists() -> None:
    """Of the service's file, of a model's file, or an argument of vLLM."""
    sections = "models|gateway|deployment|requires|engine"
    named = set(re.findall(rf"`((?:{sections})\.[\w.]+)`", PAGE))
    assert len(named) > 5
    for name in named:
        first, *rest = name.split(".")
        if first == "engine":
            assert list(arguments.problems({rest[0]: None}, {})) == []
            continue
        section: type = Settings if first in Settings.model_fields else ModelSpec
        for part in name.split("."):
            fields = getattr(section, "model_fields", {})
            assert part in fields, name
            found = fields[part].annotation
            section = next((each for each in getattr(found, "__args__", (found,)) if isinstance(each, type)), object)


def test_every_file_that_is_named_exists() -> None:
    """Paths of code, tests and configuration."""
    paths = re.findall(r"`((?:models|serving|tests|configs)/[\w./-]+\.(?:py|yaml|md))`", PAGE)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["max_errors", "max_ttft_ratio", "min_requests"])
def test_defaults_of_a_canary_are_those_of_the_code(name: str) -> None:
    """In brackets after their names."""
    assert f"`{name}` ({CanarySpec.model_fields[name].default:g})" in PAGE
