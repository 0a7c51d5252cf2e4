"""Measures the CPU use of other processes, so that slow answers are judged only on a quiet machine."""

import os
import time

import psutil

TICKS = os.sysconf("SC_CLK_TCK")
QUIET_BELOW = 0.15  # of a core, on average


class OtherWork:
    """Measures from one `share` to the next; this process and all that it started are not others."""

    def __init__(self) -> None:
        self._at, self._busy, self._own = _now()

    def share(self) -> float:
        """The average number of cores that others used since the last call, including time stolen by the host."""
        at, busy, own = _now()
        used = (busy - self._busy) - (own - self._own)
        elapsed, self._at, self._busy, self._own = at - self._at, at, busy, own
        return max(used, 0.0) / max(elapsed, 1e-3)


def _now() -> tuple[float, float, float]:
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _waiting, irq, soft_irq, steal = map(int, stat.readline().split()[1:9])
    own = 0.0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        try:
            own += sum(process.cpu_times()[:4])  # with the time of its children that have ended
        except psutil.Error:
            continue
    return time.monotonic(), (user + nice + system + irq + soft_irq + steal) / TICKS, own
