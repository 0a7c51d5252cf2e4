"""A canary goes back when its requests fail more often, or begin later, than those of the old engine."""

import pytest
from pydantic import ValidationError

from serving.cluster.canary import CanaryFailed, judge, since
from serving.config.schema import CanarySpec
from serving.engines.wire import Traffic

RULES = CanarySpec(share=0.05, minutes=10, max_errors=0.05, max_ttft_ratio=2.0, min_requests=10)


def traffic(requests: int, failed: int = 0, ttft_s: float = 0.1) -> Traffic:
    """Streams, each with the same time to its first token."""
    return {"requests": requests, "failed": failed, "streams": requests, "ttft_s": requests * ttft_s}


def test_a_canary_that_does_as_well_stays() -> None:
    """A few more errors and a somewhat later first token are within its bounds."""
    judge(RULES, old=traffic(200, failed=2), new=traffic(20, failed=1, ttft_s=0.19))


def test_errors_send_it_back() -> None:
    """The message has both shares."""
    with pytest.raises(CanaryFailed, match=r"3 of 20 requests failed.* 2 of 200 requests failed"):
        judge(RULES, old=traffic(200, failed=2), new=traffic(20, failed=3))


def test_a_late_first_token_sends_it_back() -> None:
    """Measured on streams, on average."""
    with pytest.raises(CanaryFailed, match="first token after 300 ms"):
        judge(RULES, old=traffic(200), new=traffic(20, ttft_s=0.3))


def test_too_few_requests_tell_nothing() -> None:
    """One failure of one request is no share."""
    judge(RULES, old=traffic(200), new=traffic(1, failed=1))


def test_only_what_came_since_its_start_counts() -> None:
    """The counters of gateways start with their processes."""
    before = {"f": traffic(100, failed=50)}
    assert since(before, {"f": traffic(110, failed=50)}, "f") == pytest.approx(traffic(10))
    assert since({}, {"f": traffic(10)}, "f") == traffic(10)
    assert since({}, {}, "f")["requests"] == 0


@pytest.mark.parametrize("share", ["5%", " 5.0 %", "0.05", 0.05])
def test_a_share_may_be_written_as_percent(share: object) -> None:
    """As on the command line, so in a model's file."""
    assert CanarySpec.model_validate({"share": share, "minutes": 1}).share == 0.05


@pytest.mark.parametrize("share", ["0%", "100%", "5 of 100", "-5%"])
def test_what_is_no_share_is_refused(share: str) -> None:
    """All and nothing are none."""
    with pytest.raises(ValidationError):
        CanarySpec.model_validate({"share": share, "minutes": 1})
