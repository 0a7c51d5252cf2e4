"""An engine that stands still is noticed; one that is idle, slow or busy is left alone."""

from models.engine_process import Load
from models.stall_watch import StallWatch


def test_work_without_a_step_is_a_stall() -> None:
    """After the time that a step may take, and not before."""
    watch = StallWatch(10, now_s=0)
    busy = Load(running=2, steps=5)
    assert watch.look(busy, 1) is None
    assert watch.look(busy, 10) is None
    stall = watch.look(busy, 12)
    assert stall is not None
    assert "2 requests and no step" in stall


def test_steps_or_nothing_to_do_are_no_stall() -> None:
    """However long it goes on."""
    watch = StallWatch(10, now_s=0)
    for now_s in range(0, 1000, 9):
        assert watch.look(Load(running=1, steps=now_s), now_s) is None
    for now_s in range(1000, 2000, 9):
        assert watch.look(Load(steps=999), now_s) is None


def test_a_server_that_says_nothing_stalls_too() -> None:
    """Its event loop is held; one answer in between is enough."""
    watch = StallWatch(10, now_s=0)
    assert watch.look(None, 9) is None
    assert watch.look(Load(), 10) is None
    assert watch.look(None, 19) is None
    assert watch.look(None, 21) == "its server said nothing for more than 10 s"
