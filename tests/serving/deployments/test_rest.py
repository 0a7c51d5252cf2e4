"""When an engine sleeps and wakes."""

from serving.deployments.rest import Rest


def test_an_engine_sleeps_after_the_time_without_requests() -> None:
    """Counted from its start, and from each request."""
    rest = Rest()
    rest.idle_s = 60
    rest.starts(0)
    rest.started(20)
    assert not rest.is_due(79)
    assert rest.is_due(80)
    rest.used(seconds_ago=5, now_s=70)
    assert not rest.is_due(124)
    assert rest.is_due(125)


def test_an_engine_without_the_rule_never_sleeps() -> None:
    """Then Ray may remove it whenever its load allows."""
    rest = Rest()
    rest.started(0)
    assert not rest.is_due(1e9)
    assert rest.is_over(0)


def test_a_request_after_it_fell_asleep_wakes_it() -> None:
    """One from before does not, however late it is told."""
    rest = Rest()
    rest.idle_s = 60
    rest.started(0)
    rest.falls_asleep(100)
    rest.used(seconds_ago=3, now_s=102)
    assert not rest.was_used_since_asleep()
    rest.used(seconds_ago=1, now_s=104)
    assert rest.was_used_since_asleep()


def test_how_long_it_takes_is_what_its_last_start_took() -> None:
    """While it starts, what is left of that; 0 once it is ready, or if it never started."""
    rest = Rest()
    assert rest.ready_in_s("starting", 5) == 0
    rest.starts(0)
    rest.started(30)
    assert rest.ready_in_s("ready", 31) == 0
    assert rest.ready_in_s("asleep", 100) == 30
    rest.starts(200)
    assert rest.ready_in_s("waking", 210) == 20
    assert rest.ready_in_s("waking", 250) == 0
