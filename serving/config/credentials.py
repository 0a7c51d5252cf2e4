"""The stack's own secrets: made once, kept in var/secrets.env (mode 0600), overridden by the environment."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RAY_TOKEN, CLUSTER_KEY, SCRAPE_TOKEN = "RAY_AUTH_TOKEN", "BONDHU_CLUSTER_KEY", "BONDHU_SCRAPE_TOKEN"
JOBS_KEY = "BONDHU_JOBS_KEY"
PAGE_KEY = "BONDHU_PAGE_KEY"  # in var/secrets.env; a browser is given it for a link that is good once
GEMINI_KEY = "GEMINI_API_KEY"
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
DEV_DAYS = 30  # for which the key in var/dev.env holds; then `bondhu up` makes another


@dataclass(frozen=True, slots=True)
class Secrets:
    """`ray_token` opens Ray's dashboard and its control store; `cluster_key` the private ingress.

    `scrape_token` opens the gateway's /metrics, and nothing else. `jobs_key` is the worker's API key of the gateway:
    made in the database by `serving.supervisor.bootstrap`, None before that.
    """

    ray_token: str
    cluster_key: str
    scrape_token: str
    jobs_key: str | None = None


def load_secrets(var_dir: Path, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Return the secrets, making and storing those that neither the environment nor the file has."""
    path = secrets_env(var_dir)
    stored = read_env_file(path)
    wanted = {name: stored.get(name) or secrets.token_hex(32) for name in (RAY_TOKEN, CLUSTER_KEY, SCRAPE_TOKEN)}
    if wanted.items() - stored.items():
        write_env_file(path, {**stored, **wanted})
    ray_token, cluster_key, scrape_token = (environ.get(name) or value for name, value in wanted.items())
    return Secrets(ray_token, cluster_key, scrape_token, environ.get(JOBS_KEY) or stored.get(JOBS_KEY))


def secrets_env(var_dir: Path) -> Path:
    """Return the file that keeps them."""
    return var_dir / "secrets.env"


def dev_env(var_dir: Path) -> Path:
    """Return the file with the address and key that `bondhu up` makes for trying things out."""
    return var_dir / "dev.env"


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of a file; empty when there is none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs if not name.startswith("#")}


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write NAME=value lines, readable by the owner only from the first byte on, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    new.replace(path)
