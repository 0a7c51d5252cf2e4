"""A replica serves the adapters that it is told to serve, and reports no others."""

from collections.abc import Sequence
from pathlib import Path

from models.adapters.revision import adapter_revision
from models.engine_process import CommandRefused, EngineProcess
from models.vllm.adapter_names import engine_name
from serving.deployments.adapters import ReplicaAdapters, WantedAdapter
from tests.support.models.tiny_lora import write_lora


class ScriptedServer(EngineProcess):
    """An engine that loads what is not in `refuses`."""

    program = "scripted"

    def __init__(self, refuses: Sequence[str] = ()) -> None:
        super().__init__(
            model="", served_name="base", arguments=(), environment={}, host="127.0.0.1", log_path=Path(), reaper=()
        )
        self.refuses = refuses
        self.loaded: list[str] = []

    async def load_adapter(self, adapter: str, revision: str, path: str) -> str:
        """See `EngineProcess`."""
        if adapter in self.refuses:
            raise CommandRefused("its rank is too high")
        name = engine_name(adapter, revision)
        self.loaded.append(name)
        return name


def wanted(**revisions: str) -> dict[str, WantedAdapter]:
    """Adapters by id and revision."""
    return {name: {"path": f"/adapters/{name}", "revision": revision} for name, revision in revisions.items()}


async def test_an_adapter_is_loaded_once_for_each_revision() -> None:
    """What is loaded already stays; another revision is another name in the engine."""
    server, adapters = ScriptedServer(), ReplicaAdapters({})
    await adapters.want(wanted(a="1"), server)
    await adapters.want(wanted(a="1", b="1"), server)
    await adapters.want(wanted(a="2", b="1"), server)
    assert server.loaded == ["a@1", "b@1", "a@2"]
    assert adapters.revisions == {"a": "2", "b": "1"}
    assert adapters.names == {"a": "a@2", "b": "b@1"}


async def test_what_the_engine_refuses_is_not_reported() -> None:
    """Its reason is; the others are served."""
    server, adapters = ScriptedServer(refuses=["bad"]), ReplicaAdapters({})
    await adapters.want(wanted(bad="1", good="1"), server)
    assert adapters.revisions == {"good": "1"}
    assert adapters.problems == {"bad": "its rank is too high"}


async def test_after_a_restart_of_the_engine_all_are_loaded_again() -> None:
    """Until then none is reported."""
    adapters = ReplicaAdapters({})
    await adapters.want(wanted(a="1"), ScriptedServer())
    adapters.forget()
    assert adapters.revisions == {}
    server = ScriptedServer()
    await adapters.settle(server)
    assert server.loaded == ["a@1"]
    assert adapters.revisions == {"a": "1"}


async def test_a_change_while_the_engine_is_down_is_made_when_it_is_up() -> None:
    """A replica that restarts learns of new adapters as the others do."""
    adapters = ReplicaAdapters({})
    await adapters.want(wanted(a="1"), None)
    assert adapters.revisions == {}
    server = ScriptedServer()
    await adapters.settle(server)
    assert server.loaded == ["a@1"]


async def test_files_that_have_changed_are_not_loaded_as_what_they_were(tmp_path: Path) -> None:
    """After a roll-back the files may be another revision: it is said, instead of served under the old name."""
    write_lora(tmp_path / "a", seed=1)
    before = adapter_revision(tmp_path / "a")
    write_lora(tmp_path / "a", seed=2)
    adapters = ReplicaAdapters({})
    await adapters.want({"a": {"path": str(tmp_path / "a"), "revision": before}}, ScriptedServer())
    assert adapters.revisions == {}
    assert before in adapters.problems["a"]
