"""Reads recordings from a file of JSON lines, for the operator's import; an invalid line is reported, not stored.

A line has `artist` and `title`, and any other columns of the catalogue. The names in ListenBrainz's dumps
(`artist_name`, `track_name`, `recording_name`) are accepted too, and the first of MusicBrainz's `isrcs`; other fields
are ignored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from agents.fence import flat
from agents.music.catalogue import Track

_NAMES = {"artist_name": "artist", "track_name": "title", "recording_name": "title"}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A rejected line, and the reason."""

    number: int
    why: str


def read_lines(lines: Iterable[bytes]) -> Iterator[Track | BadLine]:
    """A recording or an error for each non-empty line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _track(orjson.loads(line))
        except orjson.JSONDecodeError:
            yield BadLine(number, "no JSON")
        except ValidationError as failure:
            error = failure.errors()[0]
            yield BadLine(number, f"{'.'.join(map(str, error['loc'])) or 'line'}: {error['msg']}")


def _track(document: Any) -> Track:
    if not isinstance(document, dict):
        return Track.model_validate(document)
    row = {_NAMES.get(name, name): value for name, value in document.items()}
    if isinstance(row.get("isrcs"), list) and row["isrcs"]:
        row["isrc"] = row["isrcs"][0]
    if isinstance(row.get("isrc"), str):
        row["isrc"] = row["isrc"].replace("-", "").upper()
    known = {name: row[name] for name in Track.model_fields if name in row}
    texts = {name: flat(value) for name, value in known.items() if isinstance(value, str)}
    return Track.model_validate({"year": 0} | known | texts)
