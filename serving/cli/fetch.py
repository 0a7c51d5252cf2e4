"""`bondhu models fetch`: downloads and converts a model's weights once; `bondhu up` and `apply` do it automatically.

Exit codes: 0 the weights are there; 1 the fetch failed, and no partial files are left; 2 invalid configuration.
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
from models.fetch.source import FORMS, Form, Source, default_form, folder_of, parse_source
from serving.cli import completion
from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.config.schema import ModelSpec, Settings
from serving.supervisor.preflight import missing_from

OTHER_MODEL = "set models.active in configs/bondhu.yaml to another model (bondhu-demo needs no fetch)"


def fetch_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The id of a model or an adapter of configs/models/, hf:ORG/NAME@REVISION, pypi:NAME==VERSION, DIR or "
            "FILE.gguf.",
            autocompletion=completion.in_files,
        ),
    ],
    form: Annotated[
        str | None, typer.Option(help=f"Target format: {', '.join(FORMS)}. Default: that of the model file.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of a GGUF without a model file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Fetch and verify the weights of a model or an adapter, and print their path."""
    settings = settings_or_exit()
    if form is not None and form not in FORMS:
        fail(f"--form: must be one of {', '.join(FORMS)}, not {form}", Exit.CONFIGURATION)
    spec = settings.base_of(model)
    try:
        if spec is not None:
            source, default = _source_of(spec, settings, model)
        else:
            source = parse_source(model, sha256)
            default = default_form(source)
        chosen: Form = form or default
        path = _fetch(source, chosen, settings)
    except FetchError as problem:
        fail(str(problem))
    if as_json:
        typer.echo(json.dumps({"source": str(source), "form": chosen, "path": str(path)}, indent=2))
    elif spec is None:
        entry = f"source: {{name: {source}, form: {chosen}}}"
        if chosen == "adapter":
            entry = f"adapters: \\[{{id: {source.name.rpartition('/')[2].lower()}, source: {source}}}]"
        out.print(f"{path}\nfor a model file: [cyan]{entry}[/cyan]", soft_wrap=True)
    else:
        out.print(f"{path}", soft_wrap=True)


def fetch_missing(settings: Settings) -> None:
    """Fetch missing weights of served models that have a source; exits with code 1 on failure."""
    if settings.ray.address is not None:
        return  # the files are on the cluster's machines
    for spec in settings.served():
        directory = spec.directory(settings.root)
        if spec.source is not None and directory is not None and missing_from(spec, directory):
            _fetch_served(spec, spec.id, settings, OTHER_MODEL)
        for adapter in spec.adapters:
            if adapter.source is not None and not (settings.root / adapter.path).is_dir():
                _fetch_served(spec, adapter.id, settings, f"remove it from `adapters` in configs/models/{spec.id}.yaml")


def _fetch_served(spec: ModelSpec, name: str, settings: Settings, otherwise: str) -> None:
    err.print(f"fetching {name} (only once)", soft_wrap=True)
    try:
        _fetch(*_source_of(spec, settings, name), settings)
    except FetchError as problem:
        fail(f"{problem}. Or {otherwise}")


def _source_of(spec: ModelSpec, settings: Settings, name: str) -> tuple[Source, Form]:
    """Of the adapter that `name` is, if it has a source of its own; else of the model."""
    sources = {adapter.id: adapter.source for adapter in spec.adapters}
    if source := sources.get(name):
        return parse_source(source), "adapter"
    if spec.source is None:
        raise FetchError(f"configs/models/{spec.id}.yaml has no source to fetch from: its weights are at {spec.path}")
    return parse_source(spec.source.name, spec.source.sha256, settings.root), spec.source.form


def _fetch(source: Source, form: Form, settings: Settings) -> Path:
    path = folder_of(source, form, settings.models_dir)
    if path.is_dir():
        return path
    previous = signal.signal(signal.SIGTERM, _leave)  # so that partial files are deleted
    try:
        with Shown(err) as shown:
            return fetch(source, form, settings.models_dir, shown)
    except KeyboardInterrupt:
        fail(f"stopped before {source} was fetched; no partial files are left")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


class Shown:
    """Shows a fetch's progress: a bar on a terminal, otherwise a line per step and per quarter of a download."""

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
