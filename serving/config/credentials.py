"""The stack's own secrets: generated once, stored in var/secrets.env (mode 0600), overridden by the environment."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RAY_TOKEN, CLUSTER_KEY, SCRAPE_TOKEN = "RAY_AUTH_TOKEN", "BONDHU_CLUSTER_KEY", "BONDHU_SCRAPE_TOKEN"
JOBS_KEY = "BONDHU_JOBS_KEY"
ERASURE_KEY = "BONDHU_ERASURE_KEY"  # of the list of erasures: docs/backup.md
WEBHOOK_KEY = "BONDHU_WEBHOOK_KEY"  # signs the messages that applications get
PAGE_KEY = "BONDHU_PAGE_KEY"  # in var/secrets.env; a browser receives it in exchange for a one-time link
SERVICE_KEYS = (
    "YOUTUBE_API_KEY",
    "LASTFM_API_KEY",
    "BONDHU_TOKENS_KEY",
)  # of external services, for agents and their jobs
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
BASE_URL, API_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
DEV_DAYS = 30  # lifetime of the key in var/dev.env; after that `bondhu up` creates a new one


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one installation.

    `ray_token` gives access to Ray's dashboard and control store, `cluster_key` to the private ingress,
    `scrape_token` to the gateway's /metrics only. `jobs_key` is the Celery worker's API key for the gateway, created
    by `serving.supervisor.bootstrap`; None before that. `erasure_key` keys the hashes in the list of erasures.
    """

    ray_token: str
    cluster_key: str
    scrape_token: str
    jobs_key: str | None = None
    erasure_key: str | None = None


def load_secrets(var_dir: Path, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Return the secrets; generate and store those that are in neither the environment nor the file."""
    path = secrets_env(var_dir)
    stored = read_env_file(path)
    generated = (RAY_TOKEN, CLUSTER_KEY, SCRAPE_TOKEN, ERASURE_KEY)
    tokens = {name: stored.get(name) or secrets.token_hex(32) for name in generated}
    if tokens.items() - stored.items():
        write_env_file(path, {**stored, **tokens})
    ray_token, cluster_key, scrape_token, erasure_key = (environ.get(name) or value for name, value in tokens.items())
    jobs_key = environ.get(JOBS_KEY) or stored.get(JOBS_KEY)
    return Secrets(ray_token, cluster_key, scrape_token, jobs_key, erasure_key)


def secrets_env(var_dir: Path) -> Path:
    """Return the path of the file that stores the secrets."""
    return var_dir / "secrets.env"


def dev_env(var_dir: Path) -> Path:
    """Return the path of the file with the address and API key that `bondhu up` creates for development."""
    return var_dir / "dev.env"


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of a file; empty when the file does not exist."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs if not name.startswith("#")}


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write NAME=value lines atomically, readable by the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    new.replace(path)
