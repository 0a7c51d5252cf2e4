"""`bondhu apply` and `bondhu rollback`: bring the cluster to the configuration, or to what served before.

Exit codes: 0 it serves; 1 it does not, and what served before goes on; 2 invalid configuration, or an adapter does not
fit its base; 4 Ray is not running.
"""

import fcntl
import json
from dataclasses import asdict
from typing import IO, Annotated

import typer
from pydantic import ValidationError

from serving.cli.cluster import record
from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.cli.fetch import fetch_missing
from serving.cluster import apply as applying
from serving.cluster.apply import Plan
from serving.config.errors import ConfigError
from serving.config.private_files import keep_private
from serving.config.schema import CanarySpec, Settings

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Stop old engines first, for a machine without room for both.")
]


def apply(
    plan_only: Annotated[bool, typer.Option("--plan", help="Show the changes without making them.")] = False,
    replace: Replace = False,
    canary: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="First send this share of the requests to the new engine, such as 5%."),
    ] = None,
    minutes: Annotated[float, typer.Option(help="With --canary: for how long.")] = 10,
    as_json: Json = False,
    restore: Annotated[bool, typer.Option(hidden=True, help="Restore what was last applied.")] = False,
) -> None:
    """Apply the configuration to the running service without losing a request."""
    settings = settings_or_exit()
    keep_private()
    chosen = _canary(canary, minutes) or settings.catalogue[settings.models.active].canary
    try:
        if restore:
            with _one_at_a_time(settings):
                _restore(settings)
            return
        if not plan_only:
            fetch_missing(settings)
        plan = applying.plan(settings)
        if plan_only or not as_json:
            _show_plan(plan, as_json)
        if plan_only:
            return
        with _one_at_a_time(settings):
            plan = applying.plan(settings)
            with record.kept(settings, "apply", is_change=plan.changes) as kept:
                kept.document = applying.execute(
                    plan, settings, _report, by=kept.by, replace=replace, canary=None if replace else chosen
                )
    except ConfigError as refusal:
        fail("\n".join(map(str, refusal.problems)), Exit.CONFIGURATION)
    except applying.ClusterError as problem:
        fail(f"{problem}. Start it with `bondhu up`", Exit.NOT_RUNNING)
    except applying.ApplyFailed as problem:
        fail(str(problem))
    if as_json:
        typer.echo(json.dumps({"applied": True, "steps": [asdict(step) for step in plan.steps]}, indent=2))


def rollback(
    plan_only: Annotated[bool, typer.Option("--plan", help="Show the changes without making them.")] = False,
    replace: Replace = False,
) -> None:
    """Go back to what served before the last change. The files stay: correct them before the next `bondhu apply`."""
    settings = settings_or_exit()
    keep_private()
    try:
        with _one_at_a_time(settings):
            found = record.last_good(settings)
            if found is None:
                fail("nothing else has served yet: there is nothing to go back to")
            number, document = found
            plan = applying.plan_back(settings, document)
            _show_plan(plan, as_json=False)
            if plan_only:
                return
            with record.kept(settings, "rollback", is_change=True) as kept:
                kept.document = applying.execute(plan, settings, _report, by=kept.by, replace=replace)
    except applying.ClusterError as problem:
        fail(f"{problem}. Start it with `bondhu up`", Exit.NOT_RUNNING)
    except applying.ApplyFailed as problem:
        fail(str(problem))
    out.print(f"what apply {number} made serves again; configs/ still says what was taken back", soft_wrap=True)


def _restore(settings: Settings) -> None:
    is_first = applying.last_applied(settings) is None
    with record.kept(settings, "apply" if is_first else "restore", is_change=is_first) as kept:
        kept.document = applying.restore(settings, _report, by=kept.by)


def _canary(share: str | None, minutes: float) -> CanarySpec | None:
    if share is None:
        return None
    try:
        return CanarySpec.model_validate({"share": share, "minutes": minutes})
    except ValidationError:
        fail("--canary: a share between 0% and 100%, such as 5%, for more than 0 minutes", Exit.CONFIGURATION)


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        steps = [asdict(step) for step in plan.steps]
        typer.echo(json.dumps({"changes": plan.changes, "steps": steps}, indent=2))
        return
    for step in plan.steps:
        out.print(f"{step.action:<12} {step.target:<36} {step.why}", markup=False, soft_wrap=True)
    if not plan.changes:
        out.print("nothing to change")


def _one_at_a_time(settings: Settings) -> IO[str]:
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
