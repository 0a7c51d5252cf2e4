"""Reports the progress of a fetch."""

from typing import Protocol


class Report(Protocol):
    """Told of each step, and of bytes within it where they are counted."""

    def __call__(self, step: str, done: int | None, total: int | None) -> None:
        """`step` in a few words; `done` of `total` bytes."""


def say_nothing(step: str, done: int | None, total: int | None) -> None:
    """Report to nobody."""
