"""`bondhu doctor`: how the service is, by its thresholds, and what to do about it, cheapest first."""

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
from serving.doctor.finding import Advice, Finding, Report
from serving.doctor.levels import Level
from serving.supervisor import run_files

TIMEOUT_S = 15.0
CODES = {"healthy": Exit.OK, "critical": Exit.FAILED, "warning": Exit.WARNING}
MARKS = {"healthy": "ok", "watch": "watch", "warning": "WARNING", "critical": "CRITICAL"}
app = typer.Typer(help="Say how the service is, and what to do about it.", epilog=EPILOG)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.callback(invoke_without_command=True)
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Say how the service is, and what to do about it (exit code 0 healthy, 6 warning, 1 critical)."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_or_exit()
    local = _local(settings)
    told = _ask(settings)
    if told is None:
        says = f"the gateway does not answer at {gateway_url(settings)}"
        advice = Advice(
            "gateway", "repair", says, "bondhu status; bondhu logs gateway; bondhu up", "nothing", "minutes"
        )
        told = Report((Finding("gateway", Level.CRITICAL, says),), (advice,), 0).as_dict()
    told["findings"] = [*({**_shown(finding)} for finding in local), *told["findings"]]
    told["findings"].sort(key=lambda finding: -Level[finding["level"].upper()])
    worst = max((Level[finding["level"].upper()] for finding in told["findings"]), default=Level.HEALTHY)
    told["status"] = {Level.CRITICAL: "critical", Level.WARNING: "warning"}.get(worst, "healthy")
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        _show(told)
    raise typer.Exit(CODES[told["status"]])


def _local(settings: Settings) -> list[Finding]:
    """What only this machine sees: the supervisor's processes, files that are open to others."""
    findings = []
    running = run_files.holder(settings.var_dir) is not None
    for name, process in (run_files.read_state(settings.var_dir) if running else {}).items():
        level = Level.HEALTHY if process["state"] in ("running", "done") else Level.CRITICAL
        detail = f" ({process['detail']})" if process["detail"] else ""
        findings.append(Finding("process", level, f"{name} is {process['state']}{detail}"))
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
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http
            body: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return None
    return body


def _shown(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "level": finding.level.name.lower(), "says": finding.says, "value": finding.value}


def _show(told: dict[str, Any]) -> None:
    out.print(told["status"], style={"critical": "red", "warning": "yellow"}.get(told["status"], "green"))
    for finding in told["findings"]:
        out.print(f"  {MARKS[finding['level']]:<9} {finding['says']}", markup=False, soft_wrap=True)
    for number, each in enumerate(told["advice"], 1):
        out.print(f"{number}. {each['move']}: {each['why']}", markup=False, soft_wrap=True)
        out.print(f"   how    {each['how']}", markup=False, soft_wrap=True)
        out.print(f"   costs  {each['costs']}; takes {each['takes']}", markup=False, soft_wrap=True)
