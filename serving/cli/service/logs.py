"""`bondhu logs`: lists, shows and follows the logs in var/logs, formatted for people or raw."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from serving.cli.console import fail, out, settings_or_exit
from serving.observability.log_format import parse, readable

POLL_S = 0.3
BLOCK_BYTES = 2**16


def logs(
    component: Annotated[
        str | None, typer.Argument(help="gateway, ray, engine-...; without it, the logs are listed.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines to show.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Show lines as they are in the file.")] = False,
) -> None:
    """List the logs, or show the last lines of a component; -f follows it (or all logs)."""
    settings = settings_or_exit()
    files = sorted((settings.var_dir / "logs").glob("*.log"))
    if component is None and not follow:
        for path in files:
            out.print(f"{path.stat().st_size:>10,}  {path.stem:<30} {path}", soft_wrap=True)
        return
    if component is not None:
        files = [path for path in files if path.stem == component] or [
            path for path in files if path.stem.startswith(component)
        ]
        if not files:
            known = ", ".join(sorted(path.stem for path in (settings.var_dir / "logs").glob("*.log")))
            fail(f"there is no log of {component}; available: {known or 'none'}")
    for path in files:
        for line in tail(path, lines if component else min(lines, 5)):
            _show(path, line, len(files) > 1, as_json)
    if follow:
        _follow(files, as_json)


def tail(path: Path, count: int) -> list[str]:
    """Return the last `count` lines, reading only the necessary part of the file."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        data = b""
        while position > 0 and data.count(b"\n") <= count:
            step = min(BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    found = data.decode(errors="replace").splitlines()
    return found[-count:] if count else []


def _follow(files: list[Path], as_json: bool) -> None:
    positions = {path: path.stat().st_size for path in files}
    try:
        while True:
            for path, position in positions.items():
                positions[path] = _show_added(path, position, len(files) > 1, as_json)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return


def _show_added(path: Path, position: int, named: bool, as_json: bool) -> int:
    """Show complete lines from `position` on; returns the next position (0 after the file was replaced)."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    position = position if size >= position else 0
    if size == position:
        return position
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        _show(path, line, named, as_json)
    return position + len(whole)


def _show(path: Path, line: str, named: bool, as_json: bool) -> None:
    if as_json:
        named = False
    elif (fields := parse(line)) is not None:
        line = readable(fields, coloured=sys.stdout.isatty())
    sys.stdout.write(f"{path.stem}: {line}\n" if named else f"{line}\n")
    sys.stdout.flush()
