"""What the worker is told in its environment: how memories are to be extracted, and where embedders are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

PLAN, KEY = "BONDHU_EXTRACTION", "BONDHU_JOBS_KEY"
ERASURE_KEY = "BONDHU_ERASURE_KEY"
INGRESS, CLUSTER_KEY = "BONDHU_INGRESS_URL", "BONDHU_CLUSTER_KEY"


@dataclass(frozen=True, slots=True)
class Ingress:
    """Where Ray Serve's private ingress is (without a trailing slash), and what it wants to see."""

    url: str
    cluster_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionTarget:
    """What is asked, and where: the gateway's base URL and key, ids of models (`embedder` None: there is none)."""

    base_url: str
    api_key: str
    model: str
    embedder: str | None
    answer_tokens: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When turns are due (so many tokens, or none newer), how many go into one question, and what failure costs."""

    turn_tokens: int
    idle_s: float
    batch_tokens: int
    timeout_s: float
    max_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of it; `every_s` is the time between two looks for what is due."""

    asked: ExtractionTarget
    rules: Rules
    every_s: float


def read_plan(environ: Mapping[str, str]) -> Plan | None:
    """The plan in the environment (see `serving.supervisor.processes`); None: nothing is extracted."""
    if not environ.get(PLAN):
        return None
    told = {**json.loads(environ[PLAN]), "api_key": environ[KEY]}
    asked = ExtractionTarget(**{field.name: told[field.name] for field in fields(ExtractionTarget)})
    rules = Rules(**{field.name: told[field.name] for field in fields(Rules)})
    return Plan(asked=asked, rules=rules, every_s=told["every_s"])


def read_ingress(environ: Mapping[str, str]) -> Ingress | None:
    """The ingress in the environment; None: no embeddings are made."""
    url, key = environ.get(INGRESS), environ.get(CLUSTER_KEY)
    return Ingress(url, key) if url and key else None
