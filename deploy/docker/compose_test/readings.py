"""What a container used of what it may, from its own control group."""

import re

from engine import Engine

MIB = 2**20
# Version 2 of the kernel's control groups names each reading once, version 1 keeps a folder for each kind.
READINGS = {
    "now": ("memory.current", "memory/memory.usage_in_bytes"),
    "peak": ("memory.peak", "memory/memory.max_usage_in_bytes"),
    "limit": ("memory.max", "memory/memory.limit_in_bytes"),
    "cpu": ("cpu.stat", "cpuacct/cpuacct.usage"),
    "throttled": ("cpu.stat", "cpu/cpu.stat"),
    "events": ("memory.events", "memory/memory.oom_control"),
    "memory": ("memory.stat", "memory/memory.stat"),
}


def used(engine: Engine, service: str) -> dict[str, float]:
    """Memory now and at most, its limit, in MiB; seconds of CPU and throttled; kills for memory."""
    shown = "; ".join(f"echo '# {name}'; cat {new} 2>/dev/null || cat {old}" for name, (new, old) in READINGS.items())
    _, text = engine.inside(service, "sh", "-c", f"cd /sys/fs/cgroup; {shown}")
    parts = dict(re.findall(r"^# (\w+)\n((?:(?!# ).*\n?)*)", text, re.M))

    def number(part: str, *names: str) -> float:
        body = parts.get(part, "")
        found = [re.search(rf"^{name} (\d+)$", body, re.M) for name in names]
        return next((float(match[1]) for match in found if match), float("nan"))

    def single(part: str) -> float:
        body = parts.get(part, "").strip()
        return float(body) if body.isdigit() else float("nan")

    is_new = "usage_usec" in parts.get("cpu", "")
    return {
        "limit": single("limit") / MIB,
        "peak": single("peak") / MIB,
        "now": single("now") / MIB,
        "anonymous": number("memory", "anon", "total_rss", "rss") / MIB,
        "cpu_s": number("cpu", "usage_usec") / 1e6 if is_new else single("cpu") / 1e9,
        "throttled_s": number("throttled", "throttled_usec") / 1e6
        if is_new
        else number("throttled", "throttled_time") / 1e9,
        "oom_kills": number("events", "oom_kill"),
    }


def table(engine: Engine, services: tuple[str, ...]) -> list[str]:
    """Print what each container used, and return what is wrong with it."""
    wrong = []
    print(f"\n{'':<14} {'limit':>6} {'peak':>6} {'now':>6} {'anonymous':>10} MiB {'CPU':>8} {'throttled':>10} s  user")
    for service in services:
        about, state = used(engine, service), engine.inspect(service)
        uid = engine.inside(service, "id", "-u")[1].strip()
        memory = f"{about['limit']:6.0f} {about['peak']:6.0f} {about['now']:6.0f} {about['anonymous']:10.0f}"
        print(f"{service:<14} {memory}     {about['cpu_s']:8.1f} {about['throttled_s']:10.1f}    {uid}")
        restarts = state.get("RestartCount", 0)
        if about["oom_kills"] > 0 or state["State"].get("OOMKilled") or restarts:
            wrong.append(f"{service}: {about['oom_kills']:.0f} killed for memory, started again {restarts} times")
    print(flush=True)
    return wrong
