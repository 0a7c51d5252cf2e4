"""Detects an engine that hangs: it has requests, and has completed no step for too long.

An engine whose server does not report its load hangs too, because its event loop is blocked. The reported load is as
old as the last step, so an engine that hangs in the first step of a request reports no requests. Therefore an engine
without a step for a while is probed with a request for one token, which counts as work. This module does not know
vLLM, nor what happens to an engine that hangs; time is passed in.
"""

from models.engine_process import Load

PROBE_AFTER_S = 10.0  # without a step; the gateways' own probes are more frequent


class StallWatch:
    """Watches one run of an engine.

    Args:
        step_timeout_s: maximum time without a step while there are requests, or without a report.
        now_s: monotonic seconds.

    """

    def __init__(self, step_timeout_s: float, now_s: float) -> None:
        self._step_timeout_s = step_timeout_s
        self._steps = -1
        self._moved_at_s = now_s  # when it completed a step, or had no requests
        self._alive_at_s = now_s  # when it completed a step, or answered a probe
        self._is_probed = False

    def look(self, load: Load | None, now_s: float) -> str | None:
        """Return why the engine must be restarted, or None; `load` is None if it did not report it."""
        if load is not None and load.steps != self._steps:
            self._steps, self._moved_at_s, self._alive_at_s = load.steps, now_s, now_s
        elif load is not None and load.running + load.waiting == 0 and not self._is_probed:
            self._moved_at_s = now_s
        if now_s - self._moved_at_s <= self._step_timeout_s:
            return None
        if load is None:
            problem = "its server did not answer"
        elif load.running + load.waiting == 0:
            problem = "a probe got no token"
        else:
            problem = f"{load.running + load.waiting} requests and no step"
        return f"{problem} for more than {self._step_timeout_s:g} s"

    def needs_probe(self, now_s: float) -> bool:
        """Whether to probe it: it has completed no step for a while, and no probe is running."""
        return not self._is_probed and now_s - self._alive_at_s > min(PROBE_AFTER_S, self._step_timeout_s / 2)

    def probe_started(self, now_s: float) -> None:
        """Note that a probe was sent: from now on the engine has work."""
        self._is_probed = True
        self._moved_at_s = now_s

    def probe_answered(self, now_s: float) -> None:
        """Note that it answered the probe."""
        self._is_probed = False
        self._moved_at_s = self._alive_at_s = now_s

    def probe_ended(self) -> None:
        """Note that the probe timed out: the reported load counts again."""
        self._is_probed = False
