"""The errors of a fetch."""


class FetchError(Exception):
    """The weights could not be fetched, and nothing partial is left; the text says why and what to do."""


class DiskFull(FetchError):
    """The disk is full; `needed` and `free` are bytes, `needed` is None if unknown."""

    def __init__(self, where: object, *, needed: int | None = None, free: int | None = None) -> None:
        reason = f"{where} has no room left"
        if needed is not None and free is not None:
            reason = f"{where} has {_mb(free)} free, about {_mb(needed)} are needed"
        super().__init__(f"{reason}: free some, or set var_dir to a directory on a larger disk, and fetch again")
        self.needed, self.free = needed, free


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
