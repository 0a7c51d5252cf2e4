"""The `bondhu` command. Commands import what they need themselves, so that `--help` is fast."""

import fcntl
import json
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from serving.cli import catalogue, jobs, models, safety
from serving.cli.access import consent, keys
from serving.cli.access.usage import usage
from serving.cli.backup import backup, restore
from serving.cli.chat import chat
from serving.cli.console import EPILOG, Exit, err, fail, out, settings_or_exit
from serving.cli.doctor_services import services
from serving.cli.embeddings import embeddings
from serving.cli.service import doctor, processes
from serving.cli.service.logs import logs
from serving.cli.service.page import page
from serving.cli.service.trace import trace
from serving.cli.service.up import down, up
from serving.config.addresses import dashboard_url, gateway_url
from serving.config.credentials import SCRAPE_TOKEN, read_env_file, secrets_env
from serving.config.private_files import exposed, private_paths
from serving.config.schema import Settings
from serving.supervisor import readiness, run_files

app = typer.Typer(help="Run, change and try the service.", no_args_is_help=True, epilog=EPILOG, rich_markup_mode="rich")
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

app.command(epilog=EPILOG)(up)
app.command(epilog=EPILOG)(down)
app.command(epilog=EPILOG)(page)
for process in (processes.init, processes.gateway, processes.worker, processes.ray_head):
    app.command(epilog=EPILOG, rich_help_panel="One process at a time")(process)


@app.command(epilog=EPILOG)
def status(
    as_json: Json = False,
    dashboard_token: Annotated[
        bool, typer.Option("--dashboard-token", help="Print the token for Ray's dashboard.")
    ] = False,
    scrape_token: Annotated[
        bool, typer.Option("--scrape-token", help="Print the token for the gateway's /metrics.")
    ] = False,
) -> None:
    """Show what is running and what is not ready, with reasons; exit code 0 only if all is ready."""
    settings = settings_or_exit()
    if dashboard_token or scrape_token:
        from serving.config.credentials import load_secrets

        secrets = load_secrets(settings.var_dir)
        typer.echo(secrets.ray_token if dashboard_token else secrets.scrape_token)
        return
    details = run_files.holder(settings.var_dir)
    state = run_files.read_state(settings.var_dir) if details is not None else {}
    scrape = read_env_file(secrets_env(settings.var_dir)).get(SCRAPE_TOKEN, "")
    ready = readiness.ask_ready(gateway_url(settings), os.environ.get(SCRAPE_TOKEN) or scrape)
    open_files = [str(path) for path in exposed(private_paths(settings))]
    is_ready = bool(ready and ready.get("ready"))
    if as_json:
        whole = {"running": details is not None, "ready": is_ready, "stack": details, "processes": state}
        typer.echo(json.dumps({**whole, "gateway": ready, "open_to_others": open_files}, indent=2))
    else:
        _show_status(settings, details is not None, state, ready)
        _show_open(open_files)
    if details is None and ready is None:
        raise typer.Exit(Exit.NOT_RUNNING)
    raise typer.Exit(Exit.OK if is_ready else Exit.FAILED)


@app.command(epilog=EPILOG)
def apply(
    plan_only: Annotated[bool, typer.Option("--plan", help="Show the changes without making them.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Stop old engines first, for a machine without room for both.")
    ] = False,
    as_json: Json = False,
    restore: Annotated[bool, typer.Option(hidden=True, help="Restore what was last applied.")] = False,
) -> None:
    """Apply the configuration to the running service without losing a request."""
    settings = settings_or_exit()
    from serving.cluster import apply as applying

    try:
        if restore:
            with _one_at_a_time(settings):
                applying.restore(settings, _report)
            return
        plan = applying.plan(settings)
        if plan_only or not as_json:
            _show_plan(plan, as_json)
        if plan_only:
            return
        with _one_at_a_time(settings):
            applying.execute(applying.plan(settings), settings, _report, replace=replace)
    except applying.ClusterError as problem:
        fail(f"{problem}. Start it with `bondhu up`", Exit.NOT_RUNNING)
    except applying.ApplyFailed as problem:
        fail(str(problem))
    if as_json:
        typer.echo(json.dumps({"applied": True, "steps": [asdict(step) for step in plan.steps]}, indent=2))


def _show_plan(plan: Any, as_json: bool) -> None:
    if as_json:
        steps = [asdict(step) for step in plan.steps]
        typer.echo(json.dumps({"changes": plan.changes, "steps": steps}, indent=2))
        return
    for step in plan.steps:
        out.print(f"{step.action:<12} {step.target:<36} {step.why}", markup=False, soft_wrap=True)
    if not plan.changes:
        out.print("nothing to change")


def _one_at_a_time(settings: Settings) -> Any:
    """Hold var/run/apply.lock, because concurrent applies would undo each other."""
    path = settings.var_dir / "run/apply.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        err.print("waiting for another apply to finish")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _report(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)


def _show_status(settings: Settings, running: bool, state: dict[str, Any], ready: dict[str, Any] | None) -> None:
    if not running:
        out.print("not running" if ready is None else f"running at {gateway_url(settings)}, not started by `bondhu up`")
    for name, process in state.items():
        pid = f"process {process['pid']}" if process["pid"] else ""
        restarts = f"restarted {process['restarts']} times" if process["restarts"] else ""
        words = (f"{name:<10} {process['state']:<10}", pid, restarts, process["detail"])
        out.print("  ".join(word for word in words if word), markup=False, soft_wrap=True)
    for name, model in ((ready or {}).get("models") or {}).items():
        word = "ready" if model.get("ready") else model.get("reason") or model.get("state")
        out.print(f"{name:<20} {word}", markup=False, soft_wrap=True)
    if ready is not None:
        out.print("ready" if ready.get("ready") else "; ".join(readiness.summarise(ready, state)), markup=False)
        out.print(f"gateway {gateway_url(settings)}   dashboard {dashboard_url(settings)}", markup=False)


def _show_open(paths: list[str]) -> None:
    if paths:
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        out.print(
            f"other users can read {', '.join(paths[:3])}{more}: restart with `bondhu up`, which corrects it, or run "
            "`chmod -R go= FOLDER`",
            markup=False,
            soft_wrap=True,
        )


app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(consent.app, name="consent")
app.add_typer(jobs.app, name="jobs")
app.add_typer(catalogue.app, name="catalogue")
doctor.app.command("services", epilog=EPILOG)(services)
app.add_typer(doctor.app, name="doctor")
app.add_typer(safety.app, name="safety")
app.command(epilog=EPILOG)(usage)
app.command(epilog=EPILOG)(embeddings)
app.command(epilog=EPILOG)(backup)
app.command(epilog=EPILOG)(restore)
app.command(epilog=EPILOG)(chat)
app.command(epilog=EPILOG)(logs)
app.command(epilog=EPILOG)(trace)
