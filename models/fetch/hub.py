"""Downloads a repository of the Hugging Face hub at a revision: resumable, and checked by hash.

Existing files are not requested again; a partial one continues by range. HF_TOKEN gives access to gated repositories,
HF_ENDPOINT selects another hub. This module does not know what the files are for.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.fetch.errors import DiskFull, FetchError
from models.fetch.progress import Report
from models.fetch.source import Source

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*", "USE_POLICY*", "README.md")
UNWANTED = ("original/*", "consolidated*", "onnx/*", "*.gguf")  # the same weights, in forms that are not served
BLOCK = 1 << 20
CHECKPOINT = ("config.json", "it is no checkpoint that vLLM loads")
ADAPTER = ("adapter_config.json", "it is no adapter that peft wrote")
HALF = ".half"  # a file that is not all there yet
AGAIN = "fetch again: it goes on where it stopped"
_LOOK_S = 0.5


def download_snapshot(
    source: Source, out: Path, partial: Path, report: Report, kind: tuple[str, str] = CHECKPOINT
) -> None:
    """Move `source`'s files into the directory `out`; an interrupted download stays in `partial`.

    Args:
        source: the repository.
        out: an empty directory.
        partial: a directory, or none yet.
        report: gets the progress.
        kind: CHECKPOINT or ADAPTER: the file that it must have, and what it is not without it.

    Raises:
        DiskFull: the disk has too little space, which is checked first.
        FetchError: it is not available; the text says why.

    """
    # Their module reads HF_ENDPOINT and HF_HUB_OFFLINE when it is imported; the service itself runs offline.
    os.environ["HF_HUB_OFFLINE"] = "0"
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        report(f"asking the hub for {source.name}", None, None)
        info = HfApi().model_info(source.name, revision=source.version, files_metadata=True)
        files = list(_wanted(info.siblings or ()))
        if kind == ADAPTER:  # folders hold earlier steps of its training
            files = [file for file in files if "/" not in file.rfilename]
        needed, otherwise = kind
        if not any(file.rfilename == needed for file in files):
            raise FetchError(f"{source} has no {needed}: {otherwise}")
        if not any(file.rfilename.endswith(".safetensors") for file in files):
            raise FetchError(f"{source} has no safetensors, the only weights that are loaded")
        total = sum(file.size or 0 for file in files)
        partial.mkdir(parents=True, exist_ok=True)
        _check_room(out.parent, total - _size_of(partial))
        _load(source.name, info.sha, files, partial, total, report)
    except HfHubHTTPError as problem:
        raise FetchError(_message_of(source, problem)) from problem
    except (FetchError, OSError):
        raise
    except Exception as problem:  # what their HTTP library raises, which is another from version to version
        raise FetchError(f"the hub broke off {source} ({type(problem).__name__}): {AGAIN}") from problem
    for file in files:
        report(f"checking {file.rfilename}", None, None)
        _check_file(partial / file.rfilename, file, source)
    for path in partial.iterdir():
        path.rename(out / path.name)
    shutil.rmtree(partial)


def _wanted(files: Iterable[Any]) -> Iterable[Any]:
    for file in files:
        path = Path(file.rfilename)
        if path.is_absolute() or ".." in path.parts:
            raise FetchError(f"the hub names a file outside of the repository: {file.rfilename!r}")
        if any(path.match(each) for each in WANTED) and not any(path.match(each) for each in UNWANTED):
            yield file


def _load(name: str, commit: str | None, files: Iterable[Any], partial: Path, total: int, report: Report) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_S):
            report(f"downloading {name}", min(_size_of(partial), total), total)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        for file in files:
            _load_file(name, commit, file.rfilename, partial)
    finally:
        done.set()
        looking.join()


def _load_file(name: str, commit: str | None, file: str, partial: Path) -> None:
    """Download the rest of a file into `partial`; huggingface_hub 2.4 itself would start again."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import get_hf_file_metadata, http_get
    from huggingface_hub.utils import build_hf_headers

    whole, half = partial / file, partial / f"{file}{HALF}"
    if whole.is_file():
        return
    whole.parent.mkdir(parents=True, exist_ok=True)
    url, headers = hf_hub_url(name, file, revision=commit), build_hf_headers()
    metadata = get_hf_file_metadata(url, headers=headers)
    if urlsplit(metadata.location).netloc != urlsplit(url).netloc:
        headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}  # a store's own URL
    with half.open("ab") as content:
        if metadata.size is None or content.tell() < metadata.size:
            http_get(
                metadata.location, content, resume_size=content.tell(), headers=headers, expected_size=metadata.size
            )
    half.rename(whole)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(folder, needed=needed, free=free)


def _check_file(path: Path, file: Any, source: Source) -> None:
    """Compare a file with the hub's record: SHA-256 of a large file, git's object id of a small one."""
    if file.lfs is not None:
        digest, expected = hashlib.sha256(), file.lfs.sha256
    else:
        digest, expected = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False), file.blob_id
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    if expected and digest.hexdigest() != expected:
        path.unlink()
        raise FetchError(
            f"{file.rfilename} of {source} is not what the hub says it is (hash): it was thrown away; {AGAIN}"
        )


def _size_of(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # renamed meanwhile
    return size


def _message_of(source: Source, problem: Any) -> str:
    status = getattr(problem.response, "status_code", None)
    if status in (401, 403):
        return f"the hub lets nobody have {source} without leave: accept its terms there, and set HF_TOKEN"
    if status == 404:
        return f"the hub has no {source}: look at the name and the revision (or it is private: set HF_TOKEN)"
    return f"the hub answered {status} for {source}: {AGAIN}"
