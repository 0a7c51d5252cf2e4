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


def test_an_engine_that_stops_before_it_said_what_it_has_to_do_is_noticed() -> None:
    """Its numbers are those of its last step: no work. It is asked for a token, once at a time, and that is work."""
    watch = StallWatch(20, now_s=0)
    idle = Load(steps=5)
    assert watch.look(idle, 1) is None
    assert not watch.wants_proof(10)
    assert watch.wants_proof(12)
    watch.asked(12)
    assert not watch.wants_proof(13)
    assert watch.look(idle, 32) is None
    stall = watch.look(idle, 33)
    assert stall is not None
    assert "not a token" in stall


def test_an_engine_that_answers_when_asked_is_left_alone() -> None:
    """Whether its steps are counted or not."""
    watch = StallWatch(20, now_s=0)
    for now_s in range(0, 1000, 15):
        if watch.wants_proof(now_s):
            watch.asked(now_s)
            assert watch.look(Load(steps=5), now_s + 1) is None
            watch.answered(now_s + 2)
        assert watch.look(Load(steps=5), now_s + 3) is None
