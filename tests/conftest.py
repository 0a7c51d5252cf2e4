"""Settings of every test: hypothesis draws the same examples in every run, and judges no test by the clock."""

from hypothesis import settings

pytest_plugins = ["tests.support.fixtures", "tests.support.whole_stack"]

settings.register_profile("bondhu", derandomize=True, deadline=None)
settings.load_profile("bondhu")
