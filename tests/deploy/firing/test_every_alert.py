"""Each alert that is shipped is fired once, by a real fault, through a real Prometheus and Alertmanager to a webhook.

The rules are the shipped ones, with one change: a condition has to hold for five seconds instead of minutes. Windows of
rates, quantiles and shares are as shipped, which is why this takes some eight minutes.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.firing import faults, machines
from tests.deploy.test_watching import RULES, Hook, target
from tests.serving.doctor.test_scaling import small_disk
from tests.support.gateway_process import SCRAPE_TOKEN, GatewayProcess
from tests.support.polling import eventually
from tests.support.prometheus import Prometheus

SCRAPE_S = 5
WITHIN_S = 1200.0
GROWING = ("bondhu_restarts_total", "bondhu_jobs_waiting", "bondhu_redis_evicted_keys_total")


def hurried_rules(folder: Path) -> Path:
    """Write the shipped rules with their waits cut short."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{SCRAPE_S}s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    return folder / "rules.yaml"


def alerts() -> set[str]:
    """Return the names of all alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def reported(gateway: GatewayProcess) -> set[str]:
    """Return what the doctor calls a warning or worse."""
    report = gateway.get("/api/v1/health/report", SCRAPE_TOKEN).json()
    return {finding["code"] for finding in report["findings"] if finding["level"] in ("warning", "critical")}


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not machines.is_possible(), reason="needs root and control groups of version 1, for small machines")
def test_every_alert_is_fired_by_a_real_fault(tmp_path: Path) -> None:
    """Four services that are ill in every way that the rules know."""
    folders = {name: tmp_path / name for name in ("crowded", "broken", "elsewhere", "tight")}
    disk = tmp_path / "disk"
    for folder in (*folders.values(), disk):
        folder.mkdir()
    with ExitStack() as stack:
        stack.enter_context(small_disk(disk))
        crowded = stack.enter_context(faults.crowded(folders["crowded"]))
        broken = stack.enter_context(faults.broken(folders["broken"], disk))
        elsewhere = stack.enter_context(faults.elsewhere(folders["elsewhere"]))
        machine = stack.enter_context(machines.SmallMachine(f"bondhu-test-{os.getpid()}"))
        tight = stack.enter_context(GatewayProcess(folders["tight"], before=machine.command, **faults.PLAIN))
        machine.limit_cpu(0.15)
        key = tight.make_key("shop", tier="admin")
        stack.enter_context(faults.Applications(tight, key, 4, 0, model="not-there"))  # a 404, after its work
        hook = stack.enter_context(Hook().running())
        targets = [target(each) for each in (crowded, broken, elsewhere, tight)]
        rules = hurried_rules(tmp_path)
        prometheus = Prometheus(
            tmp_path / "prometheus", targets, SCRAPE_TOKEN, rules=rules, webhook=hook.url, every_s=SCRAPE_S
        )
        stack.enter_context(prometheus)
        for name in GROWING:  # growth is seen from a first value on, and a queue's is looked for five minutes later
            eventually(lambda name=name: prometheus.query(f"{name} offset 1m"), WITHIN_S, name)
        machine.limit_memory(0.78)
        faults.restarted(broken, 3)
        faults.fill(disk, 0.9)
        broken.redis.kill()
        faults.pile_up(crowded)
        expected = alerts() - {"GatewayDown"}

        def missing() -> set[str]:
            return {name for name in expected if not hook.has(name, "firing")}

        eventually(lambda: not missing(), WITHIN_S, f"all to fire; the log is in {tmp_path}", every_s=2)
        for gateway, code in ((broken, "breaker"), (broken, "disk"), (tight, "memory"), (crowded, "latency")):
            assert code in reported(gateway), "the doctor says it too"
        elsewhere.kill()
        eventually(lambda: hook.has("GatewayDown", "firing"), WITHIN_S, "GatewayDown to fire")
