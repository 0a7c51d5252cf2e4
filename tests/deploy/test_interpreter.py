"""`make up` with a Python that the torch at hand is not made for: it says so, and what to do, before pip runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def python312(tmp_path: Path) -> Path:
    """Return an interpreter that takes itself for Python 3.12."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import sys\nsys.version_info = (3, 12, 1, 'final', 0)\n")
    program = tmp_path / "python3.12"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


def make(tmp_path: Path, python: Path, *wheels: str) -> "subprocess.CompletedProcess[str]":
    """Run `make up` into an environment of its own, with these wheels where pip looks."""
    (tmp_path / "wheels").mkdir()
    for wheel in wheels:
        (tmp_path / "wheels" / wheel).touch()
    nowhere = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), "HOME": str(tmp_path)}
    environ = {**os.environ, **nowhere, "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_NO_INDEX": "1"}
    command = ["make", "up", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    return subprocess.run(command, env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_python_without_its_torch_is_reported_before_pip_runs(tmp_path: Path, python312: Path) -> None:
    """The versions, the folder, and PYTHON=; no environment is made."""
    torch = re.search(r"^torch==(\S+)", (REPOSITORY / "deploy/requirements/cpu.txt").read_text(), re.M)
    assert torch
    result = make(tmp_path, python312, f"torch-{torch[1]}-cp311-cp311-linux_x86_64.whl")
    assert result.returncode != 0
    for part in ("Python 3.12", f"torch {torch[1]}", str(tmp_path / "wheels"), "make PYTHON=/path/to/python3.11"):
        assert part in result.stderr
    assert "ResolutionImpossible" not in result.stdout + result.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("tags", [(), ("cp311", "cp312")])
def test_a_python_that_torch_may_be_there_for_goes_on(tmp_path: Path, python312: Path, tags: tuple[str, ...]) -> None:
    """With its own wheel, and with none at hand, which PyTorch's index may have."""
    torch = re.search(r"^torch==(\S+)", (REPOSITORY / "deploy/requirements/cpu.txt").read_text(), re.M)
    assert torch
    (tmp_path / "wheels").mkdir()
    for tag in tags:
        (tmp_path / f"wheels/torch-{torch[1]}-{tag}-{tag}-linux_x86_64.whl").touch()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}
    environ["PIP_FIND_LINKS"] = str(tmp_path / "wheels")
    command = [python312, REPOSITORY / "deploy/requirements/interpreter.py", "cpu"]
    assert subprocess.run(command, env=environ, check=False).returncode == 0
