"""`bondhu doctor`: checks the service's health against thresholds, and advises what to do, cheapest first."""

import json
import os
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer

from serving.cli.console import EPILOG, Exit, out, settings_or_exit
from serving.config.addresses import gateway_url
from serving.config.credentials import SCRAPE_TOKEN, read_env_file, secrets_env
from serving.config.private_files import exposed, private_paths
from serving.config.schema import Settings
from serving.doctor.containers import containers
from serving.doctor.finding import Advice, Finding, Report
from serving.doctor.levels import Level
from serving.supervisor import run_files

TIMEOUT_S = 15.0
CODES = {"healthy": Exit.OK, "critical": Exit.FAILED, "warning": Exit.WARNING}
MARKS = {"healthy": "ok", "watch": "watch", "warning": "WARNING", "critical": "CRITICAL"}
app = typer.Typer(help="Check the service's health, and advise what to do.", epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.callback(invoke_without_command=True)
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the service's health, and advise what to do (exit code 0 healthy, 6 warning, 1 critical)."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_or_exit()
    local = _local(settings)
    report = _ask(settings)
    if report is None:
        says = f"the gateway does not respond at {gateway_url(settings)}"
        advice = Advice(
            "gateway", "repair", says, "bondhu status; bondhu logs gateway; bondhu up", "nothing", "minutes"
        )
        report = Report((Finding("gateway", Level.CRITICAL, says),), (advice,), 0).as_dict()
    report["findings"] = [*({**_shown(finding)} for finding in local), *report["findings"]]
    report["findings"].sort(key=lambda finding: -Level[finding["level"].upper()])
    worst = max((Level[finding["level"].upper()] for finding in report["findings"]), default=Level.HEALTHY)
    report["status"] = {Level.CRITICAL: "critical", Level.WARNING: "warning"}.get(worst, "healthy")
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    raise typer.Exit(CODES[report["status"]])


def _local(settings: Settings) -> list[Finding]:
    """Findings of this machine only: the supervisor's processes, containers, and files that other users can read."""
    findings = []
    running = run_files.holder(settings.var_dir) is not None
    for name, process in (run_files.read_state(settings.var_dir) if running else {}).items():
        level = Level.HEALTHY if process["state"] in ("running", "done") else Level.CRITICAL
        detail = f" ({process['detail']})" if process["detail"] else ""
        findings.append(Finding("process", level, f"{name} is {process['state']}{detail}"))
    findings += containers()
    if open_files := [str(path) for path in exposed(private_paths(settings))]:
        says = f"other users can read {open_files[0]} and {len(open_files) - 1} more: chmod -R go= {settings.var_dir}"
        findings.append(Finding("open_files", Level.WARNING, says))
    return findings


def _ask(settings: Settings) -> dict[str, Any] | None:
    token = os.environ.get(SCRAPE_TOKEN) or read_env_file(secrets_env(settings.var_dir)).get(SCRAPE_TOKEN, "")
    request = urllib.request.Request(  # noqa: S310 - http
        f"{gateway_url(settings)}/api/v1/health/report", headers={"authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - http
            body: dict[str, Any] = json.load(response)
    except (OSError, ValueError):
        return None
    return body


def _shown(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "level": finding.level.name.lower(), "says": finding.says, "value": finding.value}


def _show(report: dict[str, Any]) -> None:
    out.print(report["status"], style={"critical": "red", "warning": "yellow"}.get(report["status"], "green"))
    for finding in report["findings"]:
        out.print(f"  {MARKS[finding['level']]:<9} {finding['says']}", markup=False, soft_wrap=True)
    for number, advice in enumerate(report["advice"], 1):
        out.print(f"{number}. {advice['move']}: {advice['why']}", markup=False, soft_wrap=True)
        out.print(f"   how    {advice['how']}", markup=False, soft_wrap=True)
        out.print(f"   costs  {advice['costs']}; takes {advice['takes']}", markup=False, soft_wrap=True)
