"""A change of the engines is a transaction: what serves changes only after all that is new has passed.

The cluster is a stand-in, which shows what is put in which order; tests/stack/models has the real one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.cluster import manifest
from serving.cluster.directory import DirectoryApi
from serving.cluster.plan import plan
from serving.cluster.rollout import ApplyFailed, Rollout, Timing
from serving.cluster.serve_api import ServeApi
from serving.cluster.start_times import StartTimes
from serving.config.load import load_settings
from serving.config.schema import CanarySpec, Settings
from tests.support.models.tiny_lora import write_lora
from tests.support.servers.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = "bondhu-demo", "bondhu-demo-bf16"
NOW_S = 1_000.0


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    """A cluster on which nothing runs."""
    with RayCluster() as cluster:
        yield cluster


def settings_of(active: str, **model: Any) -> Settings:
    """The shipped configuration with another active model, whose file has these fields too."""
    settings = load_settings(ROOT, environ={"BONDHU__MODELS__ACTIVE": active, "BONDHU__EMBEDDER__ENABLED": "false"})
    spec = settings.catalogue[active]
    changed = type(spec).model_validate({**spec.model_dump(mode="python"), **model})
    return settings.model_copy(update={"catalogue": {**settings.catalogue, active: changed}})


def apply(
    cluster: RayCluster,
    tmp_path: Path,
    settings: Settings,
    *,
    by: str = "maya",
    replace: bool = False,
    canary: CanarySpec | None = None,
) -> list[str]:
    """Apply settings; return the lines that were reported."""
    api, lines = ServeApi(cluster.url, "token"), list[str]()
    rollout = Rollout(
        api=api,
        directory=DirectoryApi(cluster.url, "key"),
        plan=plan(settings, api),
        timing=Timing(start_s=5, drain_s=0, polls_s=0, poll_s=0.01),
        starts=StartTimes(tmp_path / "start_times.json"),
        by=by,
        report=lines.append,
        clock=lambda: NOW_S,
    )
    rollout.run(replace=replace, canary=canary)
    return lines


def routes(document: manifest.Manifest) -> dict[str, Any]:
    """Its routing table, with the notes of applies."""
    return dict(manifest.routes_of(document))


def models(document: manifest.Manifest) -> list[str]:
    """The models whose engines it has."""
    return [app["args"]["model"] for app in manifest.engines_of(document)]


def test_a_swap_changes_the_routes_only_after_the_checks(cluster: RayCluster, tmp_path: Path) -> None:
    """Both engines, then the routes, then only the new engine; the table says who changed it and when."""
    apply(cluster, tmp_path, settings_of(OLD), by="anita")
    cluster.documents = [cluster.document]
    cluster.answers = {OLD: "I am fine.", NEW: "Fine."}
    lines = apply(cluster, tmp_path, settings_of(NEW, checks=[{"prompt": "How are you?", "contains": ["fine"]}]))
    assert [models(each) for each in cluster.documents] == [[OLD], [OLD, NEW], [OLD, NEW], [NEW]]
    assert [routes(each)["active"] for each in cluster.documents] == [OLD, OLD, NEW, NEW]
    assert any("check 1" in line and "passed" in line for line in lines)
    (version,) = routes(cluster.document)["versions"]
    assert (version["model"], version["share"], version["by"], version["since"]) == (NEW, 1.0, "maya", NOW_S)


def test_a_failed_check_puts_back_what_was(cluster: RayCluster, tmp_path: Path) -> None:
    """The message has the check and both texts; no request went to the new engine."""
    apply(cluster, tmp_path, settings_of(OLD))
    before = cluster.document
    cluster.answers = {OLD: "I am fine.", NEW: "Bananas."}
    with pytest.raises(ApplyFailed) as failure:
        apply(cluster, tmp_path, settings_of(NEW, checks=[{"prompt": "How are you?", "contains": ["fine"]}]))
    for part in ("check 1", "How are you?", "'Bananas.'", "'I am fine.'", "goes on"):
        assert part in str(failure.value)
    assert cluster.document["applications"] == before["applications"]
    assert {routes(each)["active"] for each in cluster.documents} == {OLD}


def test_engines_that_sleep_are_woken_for_the_checks(cluster: RayCluster, tmp_path: Path) -> None:
    """Also the one that serves now: what must be equal is compared, and not passed over."""
    apply(cluster, tmp_path, settings_of(OLD))
    cluster.answers, cluster.asleep = {OLD: "I am fine.", NEW: "Bananas."}, {OLD, NEW}
    with pytest.raises(ApplyFailed, match=r"it is not what is answered now. new: 'Bananas.'; now: 'I am fine.'"):
        apply(cluster, tmp_path, settings_of(NEW, checks=[{"prompt": "How are you?", "greedy_equal": True}]))
    assert cluster.asleep == set()


def test_an_engine_that_does_not_start_puts_back_what_was(cluster: RayCluster, tmp_path: Path) -> None:
    """With the engine's own reason."""
    apply(cluster, tmp_path, settings_of(OLD))
    before = cluster.document
    cluster.broken = {NEW}
    with pytest.raises(ApplyFailed, match="the weights are cut off"):
        apply(cluster, tmp_path, settings_of(NEW))
    assert cluster.document["applications"] == before["applications"]


def test_without_room_the_old_engine_comes_back_by_itself(cluster: RayCluster, tmp_path: Path) -> None:
    """It stops first; after the failure it starts again, and clients are told when it should be ready."""
    apply(cluster, tmp_path, settings_of(OLD))
    StartTimes(tmp_path / "start_times.json").note(OLD, 40)
    before = cluster.document
    cluster.documents, cluster.broken = [before], {NEW}
    with pytest.raises(ApplyFailed, match="serves again"):
        apply(cluster, tmp_path, settings_of(NEW), replace=True)
    engines = [models(each) for each in cluster.documents]
    assert engines[:4] == [[OLD], [OLD], [], [NEW]], "the old one stops before the new one starts"
    assert [OLD, NEW] not in engines
    expected = [routes(each).get("expected", {}) for each in cluster.documents[1:5]]
    assert [set(each) for each in expected] == [{OLD}, {OLD}, {NEW}, {OLD}], "clients know it before the old one stops"
    assert [*expected[2].values(), *expected[3].values()] == [NOW_S + 40, NOW_S + 40]
    for each in map(routes, cluster.documents[1:5]):
        assert set(each["live"]["fallback"]) == {OLD, NEW}
    stopping = routes(cluster.documents[1])
    assert (stopping["active"], set(stopping["live"]["fallback"])) == (OLD, {OLD, NEW})
    assert cluster.document["applications"] == before["applications"]


def test_without_room_what_served_before_is_compared_all_the_same(cluster: RayCluster, tmp_path: Path) -> None:
    """It is asked before it stops."""
    apply(cluster, tmp_path, settings_of(OLD))
    cluster.answers = {OLD: "I am fine.", NEW: "Bananas."}
    checks = [{"prompt": "How are you?", "contains": ["a"]}, {"prompt": "Hello!", "greedy_equal": True}]
    with pytest.raises(ApplyFailed, match=r"check 2 .*new: 'Bananas.'; now: 'I am fine.'. What served before serves"):
        apply(cluster, tmp_path, settings_of(NEW, checks=checks), replace=True)


def test_an_unchanged_version_keeps_its_note(cluster: RayCluster, tmp_path: Path) -> None:
    """Another apply, by somebody else, does not change since when it serves; nor does the plan show notes."""
    apply(cluster, tmp_path, settings_of(OLD), by="anita")
    api = ServeApi(cluster.url, "token")
    assert not plan(settings_of(OLD), api).changes
    settings = settings_of(OLD)
    alias = settings.models.model_copy(update={"alias": "friend"})
    apply(cluster, tmp_path, settings.model_copy(update={"models": alias}), by="maya")
    (version,) = routes(cluster.document)["versions"]
    assert (routes(cluster.document)["alias"], version["by"]) == ("friend", "anita")


def test_adapters_are_loaded_before_they_are_routed_and_routed_away_before_they_go(
    cluster: RayCluster, tmp_path: Path
) -> None:
    """The engine's application stays the same throughout: it is only reconfigured."""
    first, second = ({"id": name, "path": str(write_lora(tmp_path / name, seed=1))} for name in ("one", "two"))
    apply(cluster, tmp_path, settings_of(OLD, adapters=[first], adapter_slots=2))
    (engine,) = manifest.engines_of(cluster.document)
    cluster.documents = [cluster.document]
    apply(cluster, tmp_path, settings_of(OLD, adapters=[second], adapter_slots=2))
    seen = []
    for document in cluster.documents:
        (app,) = manifest.engines_of(document)
        assert (app["name"], app["args"]) == (engine["name"], engine["args"])
        loaded = set(app["deployments"][0]["user_config"]["adapters"])
        seen.append((loaded, set(routes(document)["bases"])))
    assert seen == [
        ({"one"}, {"one"}),
        ({"one", "two"}, {"one"}),
        ({"one", "two"}, {"two"}),
        ({"two"}, {"two"}),
    ]


def test_an_adapter_that_the_engine_refuses_is_not_routed(cluster: RayCluster, tmp_path: Path) -> None:
    """The engine's reason is told, and the adapters of before stay."""
    apply(cluster, tmp_path, settings_of(OLD, adapter_slots=2))
    before = cluster.document
    cluster.reports = {"adapters": {}, "adapter_problems": {"one": "no memory is left"}}
    adapter = {"id": "one", "path": str(write_lora(tmp_path / "one", seed=1))}
    with pytest.raises(ApplyFailed, match="did not load the adapter one: no memory is left"):
        apply(cluster, tmp_path, settings_of(OLD, adapters=[adapter], adapter_slots=2))
    assert cluster.document["applications"] == before["applications"]


def test_a_canary_that_does_worse_goes_back(cluster: RayCluster, tmp_path: Path) -> None:
    """While it runs, the table names its share; then everything is as before."""
    apply(cluster, tmp_path, settings_of(OLD))
    before = cluster.document
    settings = settings_of(NEW)
    good = {"requests": 95, "failed": 0, "streams": 95, "ttft_s": 9.5}
    cluster.more = {
        routes(before)["models"][OLD]: good,
        settings.catalogue[NEW].fingerprint(): {"requests": 5, "failed": 3, "streams": 5, "ttft_s": 0.5},
    }
    with pytest.raises(
        ApplyFailed, match=r"canary: 60% more of its requests fail \(at most 5%\): \d+ of \d+ requests failed"
    ):
        apply(cluster, tmp_path, settings, canary=CanarySpec(share=0.05, minutes=5, min_requests=5))
    (trial,) = [routes(each) for each in cluster.documents if "canary" in routes(each)]
    assert (trial["active"], trial["canary"]["to"], trial["canary"]["share"]) == (OLD, NEW, 0.05)
    assert {each["model"]: each["share"] for each in trial["versions"]} == {OLD: 0.95, NEW: 0.05}
    assert trial["live"]["fallback"][NEW][0] == OLD, "what fails on the new engine goes on to the old one"
    assert cluster.document["applications"] == before["applications"]


def test_a_canary_that_does_well_gets_the_rest(cluster: RayCluster, tmp_path: Path) -> None:
    """After its time."""
    apply(cluster, tmp_path, settings_of(OLD))
    lines = apply(cluster, tmp_path, settings_of(NEW), canary=CanarySpec(share=0.05, minutes=0.001))
    assert models(cluster.document) == [NEW]
    assert "canary" not in routes(cluster.document)
    assert any(line.startswith("canary: 5.0%") for line in lines)
