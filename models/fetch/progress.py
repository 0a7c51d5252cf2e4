"""Reports the progress of a fetch."""

from typing import Protocol


class Report(Protocol):
    """Receives each step, and the bytes within it if they are counted."""

    def __call__(self, step: str, done: int | None, total: int | None) -> None:
        """`step` is a short text; `done` of `total` bytes."""


def say_nothing(step: str, done: int | None, total: int | None) -> None:
    """Ignore the progress."""
