"""`bondhu up` and `bondhu down`: start a stack under a reaper, show its progress, stop it."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status as Spinner

from serving.auth.sign_in import LINK_MINUTES, link, make_code
from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.cli.fetch import fetch_missing
from serving.config.addresses import dashboard_url, gateway_url
from serving.config.credentials import DEV_DAYS, dev_env, load_secrets
from serving.config.private_files import keep_private
from serving.config.schema import Settings
from serving.supervisor import preflight, readiness, reaper, run_files
from serving.supervisor.processes import components

POLL_S = 1.0
STOPPED_S = 0.1  # between two looks whether everything has stopped
STOP_MARGIN_S = 30.0  # in addition to the processes' own grace periods, before they are killed
USUAL_START_S = 60.0  # after that, progress shows why parts are not ready


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready, and keep it running.")
    ] = False,
    wait_s: Annotated[float, typer.Option(help="With --detach: maximum wait for readiness, seconds.")] = 900,
    force: Annotated[bool, typer.Option("--force", help="Start even if this machine lacks something.")] = False,
) -> None:
    """Start the service and show how to use it; Ctrl-C stops it."""
    settings = settings_or_exit()
    keep_private()
    try:
        lock_fd = run_files.acquire_lock(settings.var_dir)
    except run_files.AlreadyRunning as running:
        where = running.details.get("gateway", gateway_url(settings))
        fail(f"already running at {where}: see `bondhu status`, or stop it with `bondhu down`", Exit.ALREADY_RUNNING)
    fetch_missing(settings)
    _refuse_unfit_machine(settings, force)
    _prepare(settings)
    run_files.write_state(settings.var_dir, {})
    stack = _start(settings, lock_fd, detach)
    os.close(lock_fd)
    if detach:
        raise typer.Exit(_wait_detached(settings, stack, wait_s))
    raise typer.Exit(_stay(settings, stack))


def down() -> None:
    """Stop the service and wait until all its processes have ended."""
    settings = settings_or_exit()
    details = run_files.holder(settings.var_dir)
    if details is None:
        out.print("not running")
        return
    with err.status("stopping"):
        signalled: set[int] = set()
        while (details := run_files.holder(settings.var_dir)) is not None:
            pid = details.get("reaper") or details.get("tether")  # the latter: of a stack that an older version started
            if pid and pid not in signalled:
                signalled.add(pid)
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass  # it has just ended: the lock is freed in a moment
                except PermissionError:
                    fail("it was started by another user, who must stop it")
            time.sleep(0.1)
    out.print("stopped")


def _refuse_unfit_machine(settings: Settings, force: bool) -> None:
    findings = preflight.examine(settings)
    for finding in findings:
        colour, word = ("red", "error") if finding.fatal else ("yellow", "warning")
        err.print(f"[{colour}]{word}[/{colour}] " + str(finding).replace("[", r"\["), soft_wrap=True)
    if any(finding.fatal for finding in findings) and not force:
        raise typer.Exit(Exit.MACHINE)


def _prepare(settings: Settings) -> None:
    """Run the first steps in a separate process: `up` does not need the SQL toolkit (25 MB) afterwards."""
    child = multiprocessing.get_context("fork").Process(target=_prepare_and_say, args=(settings,))
    child.start()
    child.join()
    if child.exitcode:
        raise typer.Exit(Exit.FAILED)


def _prepare_and_say(settings: Settings) -> None:
    try:
        from serving.supervisor import bootstrap

        bootstrap.prepare(settings)
    except KeyboardInterrupt:
        os._exit(1)  # the process that waits for this one got the Ctrl-C as well, and says so
    except Exception as problem:  # noqa: BLE001 - the edge of a process, and any error of the database
        err.print(f"[red]error[/red] the database cannot be prepared: {problem}", soft_wrap=True)
        os._exit(1)


def _start(settings: Settings, lock_fd: int, detach: bool) -> subprocess.Popen[bytes]:
    logs = settings.var_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    grace_s = sum(part.grace_s for part in components(settings)) + STOP_MARGIN_S
    command = (sys.executable, "-m", "serving.supervisor.supervisor", "--lock-fd", str(lock_fd))
    environ = {**os.environ, "BONDHU_ROOT": str(settings.root)}
    with (logs / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            reaper.argv(command, grace_s=grace_s, watched=not detach, remove=str(settings.runtime_dir)),
            stdin=subprocess.DEVNULL if detach else subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=settings.root,
            env=environ,
            pass_fds=(lock_fd,),
            start_new_session=True,  # Ctrl-C goes to this process, which passes it on
        )


class Interrupts:
    """Counts Ctrl-C and the other stop signals, and calls `then` at the first one.

    This does not rely on KeyboardInterrupt: Python prints and drops one that is raised in a finaliser, and the stack
    would keep running. A signal that is ignored from the start stays ignored: SIGINT for a command that a script starts
    with "&", SIGHUP for one under nohup.
    """

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self._then = then
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.count += 1
        if self.count == 1:
            self._then()  # and nothing that takes a lock: the interrupted code may hold it


def _stay(settings: Settings, stack: subprocess.Popen[bytes]) -> Exit:
    interrupts = Interrupts(stack.terminate)
    if _show_progress(settings, stack, None, interrupts):
        _say_what_to_try(settings)
        out.print("[dim]Ctrl-C stops it.[/dim]")
    status = _until_over(stack, interrupts)
    if interrupts.count:
        out.print("stopped")
    elif status:
        fail(f"the supervisor exited with status {status}; see {settings.var_dir}/logs/supervisor.log")
    return Exit.OK  # stopped here, or by `bondhu down`


def _until_over(stack: subprocess.Popen[bytes], interrupts: Interrupts) -> int:
    shown = 0
    while (status := stack.poll()) is None:
        if interrupts.count > shown:
            err.print("[dim]still stopping[/dim]" if shown else "[dim]stopping[/dim]")
            shown = interrupts.count
        time.sleep(STOPPED_S if shown else POLL_S)
    return status


def _wait_detached(settings: Settings, stack: subprocess.Popen[bytes], wait_s: float) -> Exit:
    interrupts = Interrupts()
    ready = _show_progress(settings, stack, time.monotonic() + wait_s, interrupts)
    if interrupts.count:
        out.print("it is still starting in the background: see `bondhu status`, or stop it with `bondhu down`")
        return Exit.OK
    if not ready:
        return Exit.FAILED
    _say_what_to_try(settings)
    return Exit.OK


def _show_progress(
    settings: Settings, stack: subprocess.Popen[bytes], deadline: float | None, interrupts: Interrupts
) -> bool:
    """Show progress until all is ready (True), the start has failed, it is interrupted, or the deadline has passed."""
    began, shown = time.monotonic(), ""
    with err.status("starting") as spinner:
        while stack.poll() is None:
            state = run_files.read_state(settings.var_dir)
            ready = readiness.ask_ready(gateway_url(settings), load_secrets(settings.var_dir).scrape_token)
            if interrupts.count:
                return False
            if ready and ready.get("ready"):
                out.print(f"ready after {time.monotonic() - began:.0f} s")
                return True
            if (apply := state.get("apply", {})).get("state") == "failed":
                err.print(f"[red]error[/red] {apply['detail']}", soft_wrap=True)
                err.print(
                    f"The other parts keep running. Correct the problem, then run `bondhu apply` (logs: "
                    f"{settings.var_dir}/logs)"
                )
                return False
            if deadline is not None and time.monotonic() > deadline:
                err.print(
                    "[red]error[/red] not ready in time; it is still starting: see `bondhu status`, `bondhu logs`"
                )
                return False
            elapsed_s = time.monotonic() - began
            shown = _update(spinner, _progress(settings, ready, state, elapsed_s), elapsed_s, shown)
            time.sleep(POLL_S)
    if deadline is not None:
        fail(f"it exited while starting; see {settings.var_dir}/logs/supervisor.log")
    return False


def _progress(settings: Settings, ready: dict[str, Any] | None, state: dict[str, Any], elapsed_s: float) -> str:
    if elapsed_s < USUAL_START_S:
        waiting = readiness.starting(ready, state)
    else:
        waiting = "; ".join(readiness.summarise(ready, state))
    engine = readiness.newest_engine_line(settings.var_dir / "logs")
    return f"{waiting}\n{engine[-160:]}" if engine else waiting


def _update(spinner: Spinner, text: str, elapsed_s: float, shown: str) -> str:
    """Show `text`: in the spinner on a terminal, otherwise as a new line for each change."""
    text = text.replace("[", r"\[")
    spinner.update(f"{elapsed_s:.0f} s  {text}")
    headline = text.partition("\n")[0]
    if headline != shown and not err.is_terminal:
        err.print(f"{elapsed_s:.0f} s  {headline}", soft_wrap=True)
    return headline


def _say_what_to_try(settings: Settings) -> None:
    environment = dev_env(settings.var_dir)
    shown = environment.relative_to(settings.root) if environment.is_relative_to(settings.root) else environment
    model = settings.ids.answers(settings.models.alias)
    bondhu, python = _as_typed("bondhu"), _as_typed("python")
    if settings.gateway.page:
        address = link(gateway_url(settings), make_code(settings.var_dir))
        out.print(
            f"\n[bold]Meet your friend:[/bold] [cyan]{address}[/cyan]\n"
            f"  Valid once, within {LINK_MINUTES} minutes; for a new link: [cyan]{bondhu} page[/cyan]",
            soft_wrap=True,
        )
    out.print(
        f"""
[bold]Bondhu is running at {gateway_url(settings)}/v1[/bold]   (URL and key: {shown})

  [cyan]{bondhu} chat[/cyan]

  [cyan]set -a; . {shown}; set +a[/cyan]
  [cyan]curl $OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": \\[{{"role": "user", "content": "Hello!"}}]}}'[/cyan]

  [cyan]{python} -c 'from openai import OpenAI
print(OpenAI().chat.completions.create(model="{model}",
    messages=\\[{{"role": "user", "content": "Hello!"}}]).choices\\[0].message.content)'[/cyan]

  That is an admin key for development, valid for {DEV_DAYS} days. Create a separate key for each application:
  [cyan]{bondhu} keys create --help[/cyan]

  Ray's dashboard: {dashboard_url(settings)} (its token: [cyan]{bondhu} status --dashboard-token[/cyan])
""",
        soft_wrap=True,
    )


def _as_typed(program: str) -> str:
    """The command for this installation's `program`: its name if PATH finds it, else its path."""
    path = Path(sys.executable).with_name(program)
    if shutil.which(program) == str(path):
        return program
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
