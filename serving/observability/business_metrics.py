"""How the service is used, as Prometheus gauges."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storage.business import BusinessFigures

NAMES = {
    "bondhu_conversations_day": ("Conversations that began in the last 24 hours", "conversations"),
    "bondhu_people_day": ("End users in the last 24 hours", "people"),
    "bondhu_requests_per_person_day": ("Requests per end user in the last 24 hours", "requests_per_person"),
    "bondhu_turns_day": ("Conversation turns in the last 24 hours", "turns"),
    "bondhu_memories": ("Stored memories", "memories"),
    "bondhu_people_returned_ratio": ("Share of last week's end users who returned this week", "returned_ratio"),
}


class BusinessMetrics(Collector):
    """A collector of the figures; None: they could not be read."""

    def __init__(self, figures: BusinessFigures | None) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """The metric families."""
        for name, (help_text, field) in NAMES.items():
            value = None if self._figures is None else getattr(self._figures, field)
            if value is not None:
                family = GaugeMetricFamily(name, help_text)
                family.add_metric([], value)
                yield family
