"""`bondhu models`: lists, shows and checks the models of the catalogue.

Exit codes: 0 success; 2 the configuration is invalid (or, in `check`, a model cannot be used).
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from models.vllm import arguments as engine_args
from serving.cli import completion
from serving.cli.cluster.live import age, read_states
from serving.cli.console import EPILOG
from serving.cli.fetch import fetch_model
from serving.cli.fit import fit
from serving.cluster.adapters import misfits_of
from serving.cluster.manifest import llama_cpp_arguments
from serving.config.errors import ConfigError, Problem, suggest
from serving.config.load import load_settings
from serving.config.schema import LlamaCppSpec, ModelSpec, Settings
from serving.supervisor.preflight import missing_from

CONFIGURATION_ERROR = 2

app = typer.Typer(help="The catalogue of models in configs/models/.", no_args_is_help=True, epilog=EPILOG)
app.command("fetch", epilog=EPILOG)(fetch_model)
app.command("fit", epilog=EPILOG)(fit)
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the catalogue, and of the served models their state, memory and last use."""
    settings = _settings(as_json)
    live = read_states(settings)
    rows = [_summary(settings, settings.catalogue[id_]) | {"live": live.get(id_)} for id_ in _model_ids(settings)]
    if as_json:
        _print_json(rows)
        return
    table = Table("", box=None)
    for heading in ("model", "quantisation", "runs on", "needs", "state", "memory", "last use"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        now = row["live"]
        told = ("", "", "")
        if now is not None:
            told = (now["state"], f"{now['memory_bytes'] / 2**20:,.0f} MiB", age(now["last_used_s"]))
        gib = row["gpu_memory_gib"]
        needs = f"{gib:g} GiB of GPU" if gib else ""
        mark = {"active": "*", "also": "+"}.get(row["served"] or "", "")
        table.add_row(mark, row["id"], row["quantization"], ", ".join(row["profiles"]), needs, *told)
    console = Console()
    console.print(table)
    console.print(f"* active in profile {settings.profile}; + also served", style="dim")


@app.command("ids")
def list_ids(as_json: Json = False) -> None:
    """List every model id: models, adapters, the alias, embedders, the reranker, external models, agents."""
    settings = _settings(as_json)
    if as_json:
        _print_json([asdict(entry) for entry in settings.ids])
        return
    table = Table("", box=None)
    for heading in ("id", "kind", "answered by"):
        table.add_column(heading, no_wrap=True)
    for entry in settings.ids:
        table.add_row("+" if entry.is_served else "", entry.id, entry.kind, entry.file or entry.answers)
    console = Console()
    console.print(table)
    console.print(f"+ part of the service under profile {settings.profile}", style="dim")


@app.command()
def show(
    model_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.in_files)], as_json: Json = False
) -> None:
    """Show one model: its file, weights, fingerprint and vLLM's arguments."""
    settings = _settings(as_json)
    spec = _find(settings, model_id, as_json)
    directory = spec.directory(settings.root)
    shown = spec.model_dump(mode="json") | {
        "fingerprint": spec.fingerprint(),
        "weights": str(directory) if directory else f"hub: {spec.path}",
        "arguments": _arguments(settings, spec),
    }
    if as_json:
        _print_json(shown)
        return
    table = Table(show_header=False, box=None)
    for key, value in shown.items():
        if key != "arguments" and value not in (None, {}, [], ""):
            text = json.dumps(value, indent=1) if isinstance(value, dict) else value
            table.add_row(key, ", ".join(value) if isinstance(value, list) else str(text))
    console = Console()
    console.print(table)
    console.print("llama.cpp's arguments:" if spec.runs_llama_cpp else "vLLM's arguments:", style="bold")
    for argument in shown["arguments"]:
        console.print("  " + argument, markup=False, highlight=False, soft_wrap=True)


@app.command()
def check(
    model_id: Annotated[str | None, typer.Argument(metavar="[ID]", autocompletion=completion.in_files)] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also run vLLM's own argument parser (about 20 s).")] = False,
    as_json: Json = False,
) -> None:
    """Check all configuration files, and that local weights and templates exist."""
    settings = _settings(as_json)
    specs = [_find(settings, model_id, as_json)] if model_id else list(settings.catalogue.values())
    problems = [problem for spec in specs for problem in _missing_files(settings.root, spec)]
    problems += [problem for spec in specs for problem in misfits_of(settings, spec)]
    if deep:
        problems += _ask_vllm(settings, [spec for spec in specs if not spec.runs_llama_cpp])
    if problems:
        _fail(problems, as_json)
    if as_json:
        _print_json({"ok": True, "models": [spec.id for spec in specs], "deep": deep, "problems": []})
    else:
        Console().print(f"{len(specs)} model file(s) and the service's configuration are valid", style="green")


def _settings(as_json: bool) -> Settings:
    try:
        return load_settings()
    except ConfigError as error:
        _fail(error.problems, as_json)


def _find(settings: Settings, model_id: str, as_json: bool) -> ModelSpec:
    found = settings.base_of(model_id)
    if found is None:
        hint = suggest(model_id, settings.ids.of("model", "adapter"))
        _fail([Problem("configs/models", model_id, "no such model" + hint)], as_json)
    return found


def _model_ids(settings: Settings) -> list[str]:
    return sorted(settings.ids.of("model"))


def _summary(settings: Settings, spec: ModelSpec) -> dict[str, Any]:
    served = "active" if spec.id == settings.models.active else "also" if spec.id in settings.models.also else None
    return {
        "id": spec.id,
        "served": served,
        "quantization": spec.quantization,
        "profiles": list(spec.profiles),
        "gpu_memory_gib": spec.requires.gpu_memory_gib,
        "description": spec.description,
        "path": spec.path,
        "adapters": [adapter.id for adapter in spec.adapters],
        "fingerprint": spec.fingerprint(),
    }


def _arguments(settings: Settings, spec: ModelSpec) -> list[str]:
    """Return the arguments of a model's server, without those added at start (address and key)."""
    if spec.runs_llama_cpp:
        arguments = llama_cpp_arguments(spec.llama_cpp or LlamaCppSpec(), settings.root)
        return [f"--model={settings.root / spec.path}", *arguments]
    arguments = [f"--model={spec.directory(settings.root) or spec.path}", f"--served-model-name={spec.id}"]
    arguments += [f"--revision={spec.revision}"] if spec.revision else []
    return arguments + engine_args.command_line(spec.engine_arguments, spec.server_arguments(settings.root))


def _missing_files(root: Path, spec: ModelSpec) -> list[Problem]:
    where = f"configs/models/{spec.id}.yaml"
    problems = []
    directory = spec.directory(root)
    if spec.source is not None and directory is not None and not directory.exists():
        pass  # `bondhu up` fetches it
    elif directory is not None and (missing := missing_from(spec, directory)):
        problems.append(Problem(where, "path", f"{directory} is not a complete model: it has no {missing}"))
    template = spec.server_arguments(root).get("chat_template")
    if isinstance(template, str) and template.endswith(".jinja") and not Path(template).is_file():
        problems.append(Problem(where, "server.chat_template", f"{template} does not exist in {root}"))
    return problems


def _ask_vllm(settings: Settings, specs: list[ModelSpec]) -> list[Problem]:
    """Run vLLM's parser in a separate process, because importing it takes much time and memory."""
    done = subprocess.run(
        [sys.executable, "-m", "models.vllm.parser_check"],
        input=json.dumps([_arguments(settings, spec) for spec in specs]),
        cwd=settings.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return [Problem("vLLM", "", f"its argument parser failed: {last}")]
    complaints: list[str | None] = json.loads(done.stdout.splitlines()[-1])
    return [
        Problem(f"configs/models/{spec.id}.yaml", "", f"vLLM says: {complaint}")
        for spec, complaint in zip(specs, complaints, strict=True)
        if complaint
    ]


def _fail(problems: list[Problem] | tuple[Problem, ...], as_json: bool) -> NoReturn:
    if as_json:
        rows = [{"where": p.where, "key": p.key, "message": p.message} for p in problems]
        _print_json({"ok": False, "problems": rows})
    else:
        console = Console(stderr=True)
        for problem in problems:
            console.print(f"[red]error[/red] {_escape(str(problem))}", highlight=False, soft_wrap=True)
    raise typer.Exit(CONFIGURATION_ERROR)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
