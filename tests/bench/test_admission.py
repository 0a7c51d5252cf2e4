"""Background work beside people, on the model of an engine; in virtual time."""

from statistics import median

from bench.serving.admission import Plan, model
from serving.config.schema import AdmissionSettings
from tests.support.virtual_time import run


def test_background_work_delays_people_by_a_fraction_of_what_it_would() -> None:
    """Beside more jobs than the engine takes at once, people's first tokens come nearly as soon as without them."""
    plan = Plan(duration_s=5)
    rules = [("alone", None), ("mixed", None), ("admitted", AdmissionSettings())]
    alone, mixed, admitted = (median(run(model(plan, *side)).ttft_ms) for side in rules)
    assert mixed > 10 * alone
    assert admitted < 2 * alone
