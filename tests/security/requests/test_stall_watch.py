"""An engine that hangs is detected; one that is idle, slow or busy is left alone."""

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


def test_a_server_that_does_not_answer_hangs_too() -> None:
    """Its event loop is blocked; one answer in between is enough."""
    watch = StallWatch(10, now_s=0)
    assert watch.look(None, 9) is None
    assert watch.look(Load(), 10) is None
    assert watch.look(None, 19) is None
    assert watch.look(None, 21) == "its server did not answer for more than 10 s"


def test_an_engine_that_hangs_before_it_reports_a_request_is_detected() -> None:
    """Its report is as old as its last step: no requests. One probe at a time is sent, and counts as work."""
    watch = StallWatch(20, now_s=0)
    idle = Load(steps=5)
    assert watch.look(idle, 1) is None
    assert not watch.needs_probe(10)
    assert watch.needs_probe(12)
    watch.probe_started(12)
    assert not watch.needs_probe(13)
    assert watch.look(idle, 32) is None
    stall = watch.look(idle, 33)
    assert stall is not None
    assert "a probe got no token" in stall


def test_an_engine_that_answers_a_probe_is_left_alone() -> None:
    """Whether its steps are counted or not."""
    watch = StallWatch(20, now_s=0)
    for now_s in range(0, 1000, 15):
        if watch.needs_probe(now_s):
            watch.probe_started(now_s)
            assert watch.look(Load(steps=5), now_s + 1) is None
            watch.probe_answered(now_s + 2)
        assert watch.look(Load(steps=5), now_s + 3) is None
