"""Every alert fires from its bound on and not below it, as promtool evaluates the rules that are shipped."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serving.doctor import levels
from serving.doctor.levels import Threshold
from tests.support.prometheus import ROOT, find

RULES = ROOT / "deploy/prometheus/alerts.yaml"
MINUTES = 20  # of data, except where more is said
LONG = 400
BUCKETS = (2.5, 3, 5, 10, 20)


@dataclass(frozen=True)
class Case:
    """Series, and at which severity the alert has to fire after `minutes` (None: at none)."""

    alert: str
    fires: str | None
    series: dict[str, str]
    minutes: int = MINUTES


def steady(value: float, minutes: int = MINUTES) -> str:
    """Return a gauge that stays as it is."""
    return f"{value}x{minutes + 5}"


def rising(per_minute: float, minutes: int = MINUTES) -> str:
    """Return a counter."""
    return f"0+{per_minute}x{minutes + 5}"


def stepped(alert: str, threshold: Threshold, *, has_watch: bool, make: Any, below: float = 0.001) -> Iterator[Case]:
    """Yield a case at each bound of a threshold, and just below."""
    yield Case(alert, "watch" if has_watch else None, make(threshold.watch + below))
    yield Case(alert, "ticket", make(threshold.warning + below))
    yield Case(alert, "page", make(threshold.critical + below))
    yield Case(alert, None, make(threshold.watch - below))
    yield Case(alert, "watch" if has_watch else None, make(threshold.warning - below))
    yield Case(alert, "ticket", make(threshold.critical - below))


def requests(share: float, per_minute: float = 1000, minutes: int = MINUTES) -> dict[str, str]:
    """Return requests of which this share fails, and probes, which do not count."""
    name = 'bondhu_http_requests_total{method="POST",route="/v1/chat/completions",status="%s"}'
    return {
        name % 200: rising(per_minute * (1 - share), minutes),
        name % 503: rising(per_minute * share, minutes),
        'bondhu_http_requests_total{method="GET",route="/ready",status="503"}': rising(9999, minutes),
    }


def answers(slower_than: float | None, up_to: float) -> dict[str, str]:
    """Return answers that all took between these buckets' bounds."""
    name = 'bondhu_request_duration_seconds_bucket{model="m",class="interactive",le="%s"}'
    series = {name % bound: rising(60 if bound >= up_to else 0) for bound in BUCKETS}
    return series | {name % "+Inf": rising(60)}


def cases() -> Iterator[Case]:
    """Yield all of them."""
    gauges = {
        "MemoryHigh": ("bondhu_memory_used_ratio", levels.MEMORY_RATIO, True),
        "DiskFull": ("bondhu_disk_used_ratio", levels.DISK_RATIO, False),
    }
    for alert, (name, threshold, has_watch) in gauges.items():
        yield from stepped(alert, threshold, has_watch=has_watch, make=lambda value, name=name: {name: steady(value)})
    yield from stepped(
        "CpuHigh",
        levels.CPU_RATIO,
        has_watch=True,
        make=lambda value: {"bondhu_cpu_seconds_total": rising(value * 2 * 60), "bondhu_cpu_cores": steady(2)},
    )
    yield from stepped("ErrorsHigh", levels.ERROR_RATIO, has_watch=True, make=requests)
    yield Case("ErrorsHigh", None, requests(0.5, per_minute=3))  # too few to say
    yield from stepped(
        "BackupOld",
        levels.BACKUP_AGE_S,
        has_watch=False,
        make=lambda value: {"bondhu_backup_age_seconds": steady(value)},
        below=1,
    )
    for bounds, fires in (((2.5, 3), None), ((3, 5), "watch"), ((5, 10), "ticket"), ((10, 20), "page")):
        yield Case("AnswersSlow", fires, answers(*bounds))
    yield from growing()
    yield from parts()
    yield from burning()


def growing() -> Iterator[Case]:
    """Yield what is about a change within five minutes."""
    bounds = (
        ("QueueGrows", "bondhu_jobs_waiting{queue='jobs'}", levels.QUEUE_GROWTH),
        ("RedisEvicts", "bondhu_redis_evicted_keys_total", levels.EVICTIONS),
        ("RestartLoop", "bondhu_restarts_total{process='worker'}", levels.RESTARTS),
    )
    for alert, name, threshold in bounds:
        for value, fires in (
            (threshold.warning * 1.01, "ticket"),
            (threshold.warning * 0.9, None),
            (threshold.critical * 1.01, "page"),
            (threshold.critical * 0.9, "ticket"),
        ):
            yield Case(alert, fires, {name: rising(value / 5)})


def parts() -> Iterator[Case]:
    """Yield what is about a part of the service."""
    watch, warning, ended = levels.EXPIRES_S
    ttft = 'bondhu_time_to_first_token_seconds_bucket{model="m",class="interactive",le="%s"}'
    several: list[tuple[str, str, dict[str, str], dict[str, str]]] = [
        ("GatewayDown", "page", {'up{job="bondhu"}': steady(0)}, {'up{job="bondhu"}': steady(1)}),
        (
            "ModelNotReady",
            "page",
            {'bondhu_model_ready{model="m",instance="a"}': steady(0)},
            {f'bondhu_model_ready{{model="m",instance="{name}"}}': steady(int(name == "a")) for name in "ab"},
        ),
        (
            "FirstTokenSlow",
            "ticket",
            {ttft % 2: rising(0), ttft % 3: rising(60), ttft % "+Inf": rising(60)},
            {ttft % 2: rising(60), ttft % 3: rising(60), ttft % "+Inf": rising(60)},
        ),
        (
            "QueueStands",
            "ticket",
            {'bondhu_queue_depth{class="interactive"}': steady(1)},
            {'bondhu_queue_depth{class="interactive"}': "1 1 0 " * 8},
        ),
        (
            "CacheFull",
            "ticket",
            {'bondhu_engine_kv_cache_usage_ratio{model="m"}': steady(0.96)},
            {'bondhu_engine_kv_cache_usage_ratio{model="m"}': steady(0.95)},
        ),
        (
            "FallbackBusy",
            "ticket",
            {"bondhu_fallbacks_total": rising(11), 'bondhu_requests_total{outcome="ok"}': rising(100)},
            {"bondhu_fallbacks_total": rising(9), 'bondhu_requests_total{outcome="ok"}': rising(100)},
        ),
        ("BreakerOpen", "ticket", {"bondhu_breaker_open": steady(1)}, {"bondhu_breaker_open": steady(0)}),
        ("DependencyDown", "page", {"bondhu_dependency_up": steady(0)}, {"bondhu_dependency_up": steady(1)}),
        ("JobsPileUp", "ticket", {"bondhu_jobs_waiting": steady(101)}, {"bondhu_jobs_waiting": steady(100)}),
        (
            "CertificateEnds",
            "ticket",
            {"bondhu_certificate_left_seconds": steady(warning)},
            {"bondhu_certificate_left_seconds": steady(watch)},
        ),
        (
            "CertificateEnds",
            "page",
            {"bondhu_certificate_left_seconds": steady(ended)},
            {"bondhu_certificate_left_seconds": steady(watch)},
        ),
    ]
    for alert, severity, bad, good in several:
        yield Case(alert, severity, bad)
        yield Case(alert, None, good)


def burning() -> Iterator[Case]:
    """Yield burn rates: fast and slow, with the guard for little traffic, and one that has ended."""
    yield Case("ErrorBudgetBurnsFast", "page", requests(0.015, minutes=70), 70)
    yield Case("ErrorBudgetBurnsFast", None, requests(0.014, minutes=70), 70)
    yield Case("ErrorBudgetBurnsFast", None, requests(0.5, per_minute=1, minutes=70), 70)
    yield Case("ErrorBudgetBurns", "ticket", requests(0.0065, minutes=LONG), LONG)
    yield Case("ErrorBudgetBurns", None, requests(0.0055, minutes=LONG), LONG)
    yield Case("ErrorBudgetBurns", None, requests(0.5, per_minute=0.2, minutes=LONG), LONG)
    name = 'bondhu_http_requests_total{route="/v1/chat/completions",status="%s"}'
    over = {name % 200: "0+1000x70", name % 503: f"0+100x50 {'5000 ' * 20}"}
    yield Case("ErrorBudgetBurnsFast", None, over, 68)


ALL = list(cases())


def rules() -> list[dict[str, Any]]:
    """Return the alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def together(cases: list[Case]) -> list[list[Case]]:
    """Return them in groups whose series have nothing to do with one another: each group is one evaluation."""
    groups: list[tuple[set[str], int, list[Case]]] = []
    for case in cases:
        names = {name.partition("{")[0] for name in case.series}
        for taken, minutes, group in groups:
            if minutes == case.minutes and not taken & names:
                taken |= names
                group.append(case)
                break
        else:
            groups.append((names, case.minutes, [case]))
    return [group for _, _, group in groups]


def test_every_alert_fires_from_its_bound_on(tmp_path: Path) -> None:
    """And at no other severity; the bounds are the doctor's."""
    tests = []
    for at_once in together(ALL):
        checks = []
        for case in at_once:
            firing = f'count by (severity) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
            samples = [] if case.fires is None else [{"labels": f'{{severity="{case.fires}"}}', "value": 1}]
            checks.append({"expr": firing, "eval_time": f"{case.minutes}m", "exp_samples": samples})
        series = [{"series": name, "values": values} for case in at_once for name, values in case.series.items()]
        tests.append({"interval": "1m", "input_series": series, "promql_expr_test": checks})
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(whole))
    command = [find("promtool"), "test", "rules", tmp_path / "tests.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_both_ways() -> None:
    """At each severity that it has, and once where it must be silent."""
    there = {(rule["alert"], rule["labels"]["severity"]) for rule in rules()}
    assert there == {(case.alert, case.fires) for case in ALL if case.fires}
    assert {alert for alert, _ in there} == {case.alert for case in ALL if case.fires is None}
