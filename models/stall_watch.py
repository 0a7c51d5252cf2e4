"""Notices an engine that stands still: work in hand, and no step made for too long.

Also one whose server no longer says what it has in hand: its event loop is held. It does not know vLLM, nor what is
done about it; time is passed in.
"""

from models.engine_process import Load


class StallWatch:
    """Of one boot of an engine.

    Args:
        step_timeout_s: longest time without a step while there is work, or without an answer.
        now_s: monotonic seconds.

    """

    def __init__(self, step_timeout_s: float, now_s: float) -> None:
        self._step_timeout_s = step_timeout_s
        self._steps = -1
        self._moved_at_s = now_s

    def look(self, load: Load | None, now_s: float) -> str | None:
        """Why the engine has to be started again, if it has; `load` None: it did not say."""
        if load is not None and (load.steps != self._steps or load.running + load.waiting == 0):
            self._steps, self._moved_at_s = load.steps, now_s
        if now_s - self._moved_at_s <= self._step_timeout_s:
            return None
        what = "its server said nothing" if load is None else f"{load.running + load.waiting} requests and no step"
        return f"{what} for more than {self._step_timeout_s:g} s"
