"""The worker's configuration from its environment: schedules, extraction of memories, embedders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jobs.schedule import Schedule, Schedules
from storage.memory.summaries import SummaryRules

if TYPE_CHECKING:
    from jobs.kinds.inbox import Webhooks

WEBHOOKS, WEBHOOK_KEY = "BONDHU_WEBHOOKS", "BONDHU_WEBHOOK_KEY"
JOBS, SERVICES = "BONDHU_JOBS", "BONDHU_SERVICES"
SERVICE_KEYS = ("YOUTUBE_API_KEY", "LASTFM_API_KEY", "BONDHU_TOKENS_KEY")
PLAN, KEY = "BONDHU_EXTRACTION", "BONDHU_JOBS_KEY"
SUMMARIES = "BONDHU_SUMMARIES"
ERASURE_KEY = "BONDHU_ERASURE_KEY"
INGRESS, CLUSTER_KEY = "BONDHU_INGRESS_URL", "BONDHU_CLUSTER_KEY"


@dataclass(frozen=True, slots=True)
class Ingress:
    """The URL of Ray Serve's private ingress (no trailing slash), and the key that it expects."""

    url: str
    cluster_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionTarget:
    """The gateway's base URL and key, and the model ids to use (`embedder` None: there is none)."""

    base_url: str
    api_key: str
    model: str
    embedder: str | None
    answer_tokens: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When turns are due (token count, or idle time), the size of one batch, and the limits of failures."""

    turn_tokens: int
    idle_s: float
    batch_tokens: int
    timeout_s: float
    max_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole extraction plan; `every_s` is the interval between two checks for due turns."""

    target: ExtractionTarget
    rules: Rules
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPlan:
    """How conversations are summarised; without a `target`, without a model."""

    target: ExtractionTarget | None = None
    rules: SummaryRules = field(default_factory=SummaryRules)
    max_attempts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPlan:
    """The plan of all kinds but extraction; `every_s` is the interval between two checks for due jobs.

    `services` are the options of outside services (`agents.outside.options`), `service_keys` their keys. Without
    `summaries` nothing is summarised.
    """

    every_s: float = 10.0
    max_attempts: int = 5
    schedules: Schedules = field(default_factory=Schedules)
    services: Mapping[str, Any] = field(default_factory=dict)
    service_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    summaries: SummaryPlan | None = SummaryPlan()


def read_jobs(environ: Mapping[str, str]) -> JobsPlan:
    """The plan in the environment, written by `serving.config.schema.JobsSettings`; otherwise the default."""
    keys = {name: value for name in SERVICE_KEYS if (value := environ.get(name))}
    services = json.loads(environ.get(SERVICES) or "{}")
    summaries = _read_summaries(environ)
    if not environ.get(JOBS):
        return JobsPlan(services=services, service_keys=keys, summaries=summaries)
    plan = json.loads(environ[JOBS])
    by_kind = {
        kind: Schedule(time.fromisoformat(each["at"]), WEEKDAYS.get(each["weekday"]), each["every_h"])
        for kind, each in plan["schedules"].items()
        if each["enabled"]
    }
    schedules = Schedules(by_kind, ZoneInfo(plan["zone"]))
    rules = {name: plan[name] for name in ("every_s", "max_attempts")}
    return JobsPlan(**rules, schedules=schedules, services=services, service_keys=keys, summaries=summaries)


def _read_summaries(environ: Mapping[str, str]) -> SummaryPlan | None:
    """As `serving.supervisor.processes` writes it; the default if it wrote nothing."""
    if not environ.get(SUMMARIES):
        return SummaryPlan()
    plan = json.loads(environ[SUMMARIES])
    if not plan["enabled"]:
        return None
    target = None
    if plan["model"] is not None:
        named = {"api_key": environ[KEY], "embedder": None} | plan
        target = ExtractionTarget(**{field.name: named[field.name] for field in fields(ExtractionTarget)})
    rules = SummaryRules(**{field.name: plan[field.name] for field in fields(SummaryRules)})
    return SummaryPlan(target=target, rules=rules, max_attempts=plan["max_attempts"])


WEEKDAYS: Mapping[str | None, int] = {
    name: number for number, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
}


def read_plan(environ: Mapping[str, str]) -> Plan | None:
    """The plan in the environment (see `serving.supervisor.processes`); None: no extraction."""
    if not environ.get(PLAN):
        return None
    plan = {**json.loads(environ[PLAN]), "api_key": environ[KEY]}
    target = ExtractionTarget(**{field.name: plan[field.name] for field in fields(ExtractionTarget)})
    rules = Rules(**{field.name: plan[field.name] for field in fields(Rules)})
    return Plan(target=target, rules=rules, every_s=plan["every_s"])


def read_ingress(environ: Mapping[str, str]) -> Ingress | None:
    """The ingress in the environment; None: no embeddings."""
    url, key = environ.get(INGRESS), environ.get(CLUSTER_KEY)
    return Ingress(url, key) if url and key else None


def read_webhooks(environ: Mapping[str, str]) -> "Webhooks | None":
    """The receivers of inbox messages; None if there are none, or no key to sign with."""
    from jobs.kinds.inbox import Webhooks

    urls, key = environ.get(WEBHOOKS), environ.get(WEBHOOK_KEY)
    return Webhooks(json.loads(urls), key) if urls and key else None
