"""The world of a text adventure, as a file describes it: rooms, things, and what can be done with them."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from agents.games.bundled.words import DATA


class Part(BaseModel):
    """Of a world's file; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lock(Part):
    """A way that is open once a flag is set."""

    flag: str
    says: str


class Room(Part):
    """A place, where one can go from it, and what is there at the start."""

    name: str
    text: str
    exits: dict[str, str]
    locked: dict[str, Lock] = {}
    things: list[str] = []


class Thing(Part):
    """Something to look at; `portable`: to carry, too."""

    names: list[str]
    text: str
    portable: bool = False


class Deed(Part):
    """What can be done: with which thing, where, holding what, after and before which flags; and what comes of it."""

    verbs: list[str]
    thing: str
    says: str
    sets: list[str]
    room: str = ""
    holds: list[str] = []
    needs: str = ""
    unless: str = ""
    gives: list[str] = []
    takes: list[str] = []


class World(Part):
    """All of it. The thing `hidden` lies, drawn for each game, with one of `hiding`."""

    title: str
    start: str
    goal: str
    intro: str
    won: str
    hiding: list[str]
    hidden: str
    rooms: dict[str, Room]
    things: dict[str, Thing]
    actions: list[Deed]

    def find(self, name: str, among: list[str]) -> str | None:
        """The thing of that name, among some."""
        return next((id_ for id_ in among if name in self.things[id_].names), None)


def read_world(path: Path = DATA / "lighthouse.yaml") -> World:
    """The bundled world."""
    return World.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
