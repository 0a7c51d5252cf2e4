"""The `bondhu` command. Commands import what they need themselves, so that `--help` is fast."""

import json
import os
from typing import Annotated, Any

import typer

from serving.cli import catalogue, jobs, models, safety
from serving.cli.access import consent, keys
from serving.cli.access.usage import usage
from serving.cli.backup import backup, restore
from serving.cli.chat import chat
from serving.cli.cluster.apply import apply, rollback
from serving.cli.cluster.record import history
from serving.cli.cluster.versions import read_versions, show_versions
from serving.cli.console import EPILOG, Exit, out, settings_or_exit
from serving.cli.doctor_services import services
from serving.cli.embeddings import embeddings
from serving.cli.service import doctor, processes
from serving.cli.service.logs import logs
from serving.cli.service.page import page
from serving.cli.service.trace import trace
from serving.cli.service.up import down, up
from serving.cli.service.version import with_version
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
for change in (apply, rollback, history):
    app.command(epilog=EPILOG)(change)
app.callback()(with_version)
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
    versions = read_versions(settings)
    if as_json:
        whole = {"running": details is not None, "ready": is_ready, "stack": details, "processes": state}
        more = {"gateway": ready, "versions": versions, "open_to_others": open_files}
        typer.echo(json.dumps({**whole, **more}, indent=2))
    else:
        _show_status(settings, details is not None, state, ready)
        show_versions(versions)
        _show_open(open_files)
    if details is None and ready is None:
        raise typer.Exit(Exit.NOT_RUNNING)
    raise typer.Exit(Exit.OK if is_ready else Exit.FAILED)


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
