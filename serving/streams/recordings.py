"""The recordings of one gateway worker, by id and by the requests that they answer.

It does not know who produces, reads or copies them.
"""

import asyncio

from serving.streams.recording import Recording

MAX_KEPT = 256  # ended recordings in memory; older ones are in Redis


class Recordings:
    """The recordings; `keep_s` is how long an ended one can be resumed."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._by_id: dict[str, Recording] = {}
        self._in_flight: dict[str, Recording] = {}  # by identity
        self._ended: dict[str, Recording] = {}  # resumable ones, oldest first

    def find(self, recording_id: str) -> Recording | None:
        """The recording with this id."""
        return self._by_id.get(recording_id)

    def in_flight(self, identity: str) -> Recording | None:
        """The recording that answers these identical requests now."""
        return self._in_flight.get(identity)

    def of(self, owner: str) -> list[Recording]:
        """The recordings of a person (`owner_of`) or an application (`owners_of`)."""
        return [recording for recording in self._by_id.values() if recording.access_key.startswith(owner)]

    def readers(self) -> int:
        """The number of readers of all recordings."""
        return sum(len(recording.readers) for recording in self._by_id.values())

    def add(self, recording: Recording) -> None:
        """Add a recording; if it has an identity, it answers those requests from now on."""
        self._by_id[recording.id] = recording
        if recording.identity:
            self._in_flight[recording.identity] = recording

    def rename(self, recording: Recording, recording_id: str) -> None:
        """Give a recording the id of another worker's, of which it is a copy."""
        self._by_id.pop(recording.id, None)
        recording.id = recording_id
        if not recording.is_forgotten:
            self._by_id[recording.id] = recording

    def remove(self, recording: Recording) -> None:
        """Remove a recording, so that no request finds it."""
        if self._by_id.get(recording.id) is recording:
            del self._by_id[recording.id]
        if recording.identity and self._in_flight.get(recording.identity) is recording:
            del self._in_flight[recording.identity]

    def keep(self, recording: Recording) -> None:
        """Keep an ended recording for clients that resume it."""
        self._by_id[recording.id] = self._ended[recording.id] = recording
        asyncio.get_running_loop().call_later(self._keep_s, self._let_go, recording.id)
        if len(self._ended) > MAX_KEPT:
            self._let_go(next(iter(self._ended)))

    def drop(self, owner: str) -> list[Recording]:
        """Remove and return an owner's recordings; current readers get the rest, but cannot resume."""
        recordings = self.of(owner)
        for recording in recordings:
            recording.forget()
            self.remove(recording)
            self._ended.pop(recording.id, None)
        return recordings

    def _let_go(self, recording_id: str) -> None:
        self._by_id.pop(recording_id, None)
        self._ended.pop(recording_id, None)
