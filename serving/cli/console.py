"""What all commands share: exit codes, where output goes, and how the configuration is read."""

from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

from serving.config.errors import ConfigError
from serving.config.load import load_settings
from serving.config.schema import Settings

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """Exit codes of `bondhu`; 2 is also a usage error."""

    OK = 0
    FAILED = 1
    CONFIGURATION = 2
    ALREADY_RUNNING = 3
    NOT_RUNNING = 4
    MACHINE = 5
    WARNING = 6


EPILOG = (
    "Exit codes: 0 done; 1 failed; 2 the configuration or the command line is wrong; 3 already running; "
    "4 the service (or Ray) is not up; 5 this machine lacks something; "
    "6 it works, with a warning."
)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Say why on standard error and leave with `code`."""
    err.print(f"[red]error[/red] {message.replace('[', chr(92) + '[')}", soft_wrap=True)
    raise typer.Exit(code)


def settings_or_exit() -> Settings:
    """Return the settings, or say every problem with them and leave with code 2."""
    try:
        return load_settings()
    except ConfigError as error:
        for problem in error.problems:
            err.print("[red]error[/red] " + str(problem).replace("[", r"\["), soft_wrap=True)
        raise typer.Exit(Exit.CONFIGURATION) from None
