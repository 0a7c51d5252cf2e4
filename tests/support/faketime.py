"""libfaketime: tells a process another time."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # where the library leaves what its processes share


def find_faketime() -> Path:
    """The library to preload; found, not imported: its Python part wants more packages."""
    package = find_spec("libfaketime")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.rglob("libfaketime.so.1"))


def faked(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is told by the file `clock`."""
    return {
        "LD_PRELOAD": str(find_faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def without_leftovers() -> Iterator[None]:
    """Remove what the library leaves in shared memory, which the test of a stack would take for the stack's."""
    before = set(SHARED_MEMORY.glob("*faketime*"))
    try:
        yield
    finally:
        for path in set(SHARED_MEMORY.glob("*faketime*")) - before:
            path.unlink()
