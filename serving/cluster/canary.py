"""A canary: its routing table, and how the requests of the new engine go beside those of the old one.

The numbers are the gateways' own, which they tell the directory: requests, those that failed, and times to the first
token of streams, by the fingerprint of the engine's configuration.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from serving.cluster.directory import DirectoryApi
from serving.cluster.serve_api import ClusterError
from serving.config.schema import CanarySpec
from serving.engines.wire import Routing, Traffic

POLL_S = 2.0
NONE: Traffic = {"requests": 0, "failed": 0, "streams": 0, "ttft_s": 0.0}


class CanaryFailed(Exception):
    """The new engine does worse than the old one; the message says in what."""


@dataclass(frozen=True)
class Pair:
    """The two engines of a canary.

    Attributes:
        model: what the alias means before; `old` is its fingerprint, and `old_base` the model if it is an adapter.
        to: what the alias will mean, with `new` and `new_base`; the same id if only its engine changes.

    """

    model: str
    old: str
    old_base: str
    to: str
    new: str
    new_base: str

    @classmethod
    def of(cls, now: Routing, then: Routing) -> "Pair | None":
        """The pair of two routing tables; None if the alias means the same engine in both."""
        model, to = now["active"], then["active"]
        old, new = now["models"].get(model, ""), then["models"].get(to, "")
        if not old or not new or old == new:
            return None
        bases = now.get("bases", {}), then.get("bases", {})
        return cls(model, old, bases[0].get(model, model), to, new, bases[1].get(to, to))

    def routes(self, now: Routing, canary: CanarySpec, until: float, versions: Sequence[Any]) -> Routing:
        """The routing table while the canary runs: that of before, and the new engine for a share until that second.

        A request that fails on the new engine goes on to the old one.
        """
        table: Any = {
            **now,
            "canary": {
                "model": self.model,
                "to": self.to,
                "fingerprint": self.new,
                "share": canary.share,
                "until": until,
            },
            "versions": [
                *(each for each in now.get("versions", []) if each["model"] not in (self.old_base, self.new_base)),
                *versions,
            ],
        }
        if self.to != self.model:
            live = now.get("live", {})
            chains = live.get("fallback", {})
            table["models"] = {**now["models"], self.to: self.new}
            if live:
                table["live"] = {**live, "fallback": {**chains, self.to: [self.model, *chains.get(self.model, [])]}}
            if self.to != self.new_base:
                table["bases"] = {**now.get("bases", {}), self.to: self.new_base}
        return cast("Routing", table)


def watch(
    canary: CanarySpec,
    directory: DirectoryApi,
    began: Mapping[str, Traffic],
    *,
    old: str,
    new: str,
    report: Callable[[str], None],
) -> None:
    """Return once the time is over and the new engine did well enough since `began`; raises CanaryFailed."""
    deadline = time.monotonic() + canary.minutes * 60
    last: Mapping[str, Traffic] = began
    while time.monotonic() < deadline:
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
        last = traffic_now(directory) or last
        judge(canary, old=since(began, last, old), new=since(began, last, new))
    report(f"canary: {tell(since(began, last, new))}; the old engine: {tell(since(began, last, old))}")


def judge(canary: CanarySpec, *, old: Traffic, new: Traffic) -> None:
    """Raise CanaryFailed if the new engine's requests fail more often, or begin later, than is allowed."""
    if new["requests"] >= canary.min_requests:
        more = _share(new) - _share(old)
        if more > canary.max_errors:
            why = f"{more:.0%} more of its requests fail (at most {canary.max_errors:.0%})"
            raise CanaryFailed(f"canary: {why}: {tell(new)}; of the old engine {tell(old)}")
    if new["streams"] >= canary.min_requests and old["streams"]:
        ratio = _ttft_s(new) / max(_ttft_s(old), 1e-3)
        if ratio > canary.max_ttft_ratio:
            why = f"its first tokens come {ratio:.1f} times as late (at most {canary.max_ttft_ratio:g})"
            raise CanaryFailed(f"canary: {why}: {tell(new)}; of the old engine {tell(old)}")


def since(before: Mapping[str, Traffic], after: Mapping[str, Traffic], fingerprint: str) -> Traffic:
    """What was added between two readings."""
    first, last = before.get(fingerprint, NONE), after.get(fingerprint, NONE)
    return {
        "requests": last["requests"] - first["requests"],
        "failed": last["failed"] - first["failed"],
        "streams": last["streams"] - first["streams"],
        "ttft_s": last["ttft_s"] - first["ttft_s"],
    }


def tell(traffic: Traffic) -> str:
    """The numbers in words."""
    words = f"{traffic['failed']} of {traffic['requests']} requests failed"
    return words + (f", first token after {_ttft_s(traffic) * 1e3:.0f} ms" if traffic["streams"] else "")


def _share(traffic: Traffic) -> float:
    return traffic["failed"] / traffic["requests"] if traffic["requests"] else 0.0


def _ttft_s(traffic: Traffic) -> float:
    return traffic["ttft_s"] / traffic["streams"] if traffic["streams"] else 0.0


def traffic_now(directory: DirectoryApi) -> Mapping[str, Traffic] | None:
    """What the gateways have counted so far, by fingerprint; None if the directory does not answer."""
    try:
        return directory.read().get("traffic", {})
    except ClusterError:
        return None  # it restarts: the next look tells
