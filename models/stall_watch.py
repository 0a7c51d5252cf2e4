"""Notices an engine that stands still: work in hand, and no step made for too long.

Also one whose server no longer says what it has in hand: its event loop is held. What an engine says of its work is as
old as its last step: one that stops at the first step of a request says that it has nothing to do. So after a while
without a step it is asked for a token, and then has work. It does not know vLLM, nor what is done about it; time is
passed in.
"""

from models.engine_process import Load

ASK_AFTER_S = 10.0  # without a step; gateways ask more often, where there are any


class StallWatch:
    """Of one boot of an engine.

    Args:
        step_timeout_s: longest time without a step while there is work, or without an answer.
        now_s: monotonic seconds.

    """

    def __init__(self, step_timeout_s: float, now_s: float) -> None:
        self._step_timeout_s = step_timeout_s
        self._steps = -1
        self._moved_at_s = now_s  # it made a step, or had nothing to do
        self._alive_at_s = now_s  # it made a step, or answered what it was asked
        self._is_asked = False

    def look(self, load: Load | None, now_s: float) -> str | None:
        """Why the engine has to be started again, if it has; `load` None: it did not say."""
        if load is not None and load.steps != self._steps:
            self._steps, self._moved_at_s, self._alive_at_s = load.steps, now_s, now_s
        elif load is not None and load.running + load.waiting == 0 and not self._is_asked:
            self._moved_at_s = now_s
        if now_s - self._moved_at_s <= self._step_timeout_s:
            return None
        if load is None:
            what = "its server said nothing"
        elif load.running + load.waiting == 0:
            what = "not a token of what it was asked"
        else:
            what = f"{load.running + load.waiting} requests and no step"
        return f"{what} for more than {self._step_timeout_s:g} s"

    def wants_proof(self, now_s: float) -> bool:
        """Whether to ask it for a token: it made no step for a while, and is not asked already."""
        return not self._is_asked and now_s - self._alive_at_s > min(ASK_AFTER_S, self._step_timeout_s / 2)

    def asked(self, now_s: float) -> None:
        """It is asked for a token, and has work from now on."""
        self._is_asked = True
        self._moved_at_s = now_s

    def answered(self, now_s: float) -> None:
        """It has answered that."""
        self._is_asked = False
        self._moved_at_s = self._alive_at_s = now_s

    def gave_up(self) -> None:
        """Nobody waits for that answer any more: what the engine says of its work holds again."""
        self._is_asked = False
