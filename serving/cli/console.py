"""Common parts of all commands: exit codes, output, and loading the configuration."""

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
    """Exit codes of `bondhu`; 2 is also the code of usage errors."""

    OK = 0
    FAILED = 1
    CONFIGURATION = 2
    ALREADY_RUNNING = 3
    NOT_RUNNING = 4
    MACHINE = 5
    WARNING = 6


EPILOG = (
    "Exit codes: 0 success; 1 failure; 2 invalid configuration or command line; 3 already running; "
    "4 the service (or Ray) is not running; 5 this machine does not meet the requirements; "
    "6 it works, with warnings; 130 interrupted."
)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Print an error to standard error and exit with `code`."""
    err.print(f"[red]error[/red] {message.replace('[', chr(92) + '[')}", soft_wrap=True)
    raise typer.Exit(code)


def settings_or_exit() -> Settings:
    """Return the settings, or print all their problems and exit with code 2."""
    try:
        return load_settings()
    except ConfigError as error:
        for problem in error.problems:
            err.print("[red]error[/red] " + str(problem).replace("[", r"\["), soft_wrap=True)
        raise typer.Exit(Exit.CONFIGURATION) from None
