"""A text adventure: verbs and things in a small world that a file describes (`agents.games.bundled.world`)."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from agents.games.answers import plain
from agents.games.bundled.world import Deed, Room, World
from agents.games.game import State, Turn

_VERBS = {
    "go": "go", "walk": "go", "run": "go", "climb": "go", "enter": "go", "head": "go", "move": "go",
    "look": "look", "l": "look", "examine": "look", "x": "look", "inspect": "look", "read": "look", "watch": "look",
    "search": "search", "lift": "search", "turn": "search", "check": "search",
    "take": "take", "get": "take", "grab": "take", "pick": "take",
    "drop": "drop", "leave": "drop",
    "use": "use", "light": "light", "burn": "light", "ignite": "light", "turn on": "light", "open": "open",
    "unlock": "unlock", "pour": "pour", "fill": "fill", "empty": "empty",
    "inventory": "inventory", "i": "inventory", "inv": "inventory",
}  # fmt: skip
_DIRECTIONS = {
    "n": "north", "s": "south", "e": "east", "w": "west", "u": "up", "d": "down",
    "upstairs": "up", "downstairs": "down",
}  # fmt: skip
_WAYS = frozenset({"north", "south", "east", "west", "up", "down"})
_SMALL = re.compile(r"\b(?:the|a|an|to|at|up the|around|over|under|into|my|please|i|behind|inside|in)\b")
MAX_WORDS = 7  # of a command; what is longer is talk


class AdventureState(BaseModel):
    """Where one is, what one carries, what has been done, and where things lie."""

    room: str
    holds: list[str] = []
    flags: list[str] = []
    lying: dict[str, list[str]]
    hiding_place: str
    moves: int = 0


class Adventure:
    """The rules; see `agents.games.game.Game`."""

    id = "adventure"
    names = ("adventure", "text adventure", "lighthouse", "story game", "explore")
    rules = 'Say what you do in a word or two: "go north", "look", "take the lantern", "use the key", "inventory".'

    def __init__(self, world: World) -> None:
        self._world = world
        self.title = world.title

    def start(self, rng: random.Random) -> Turn:
        """The beginning, and where the hidden thing lies this time."""
        lying = {id_: list(room.things) for id_, room in self._world.rooms.items()}
        game = AdventureState(room=self._world.start, lying=lying, hiding_place=rng.choice(self._world.hiding))
        return Turn(game.model_dump(), f"{self._world.intro}\n\n{self._describe(game)}")

    def play(self, state: State, text: str) -> Turn:
        """One command."""
        game = AdventureState.model_validate(state)
        verb, rest = _parsed(text)
        if verb is None:
            return Turn(state, self._describe(game), "talk")
        message = self._do(game, verb, rest)
        if message is None:
            return Turn(state, "That does nothing here.", "refused")
        game.moves += 1
        if self._world.goal in game.flags:
            return Turn(game.model_dump(), f"{message}\n\n{self._world.won} ({game.moves} moves)", result="won")
        return Turn(game.model_dump(), message)

    def give_up(self, state: State) -> str:
        """The story waits for another evening."""
        return "You walk back along the beach. The lighthouse will still be there."

    def view(self, state: State) -> Mapping[str, Any]:
        """Where one is, and what one carries."""
        game = AdventureState.model_validate(state)
        return {
            "room": self._room(game).name,
            "exits": list(self._room(game).exits),
            "holds": game.holds,
            "moves": game.moves,
        }

    def moves(self, state: State) -> Sequence[str]:
        """Where one can go, and looking."""
        game = AdventureState.model_validate(state)
        return ["look", *(f"go {way}" for way in self._room(game).exits), "inventory"]

    def _do(self, game: AdventureState, verb: str, rest: str) -> str | None:
        if verb == "inventory":
            return f"You carry: {', '.join(game.holds)}." if game.holds else "You carry nothing."
        if verb == "go":
            return self._go(game, _DIRECTIONS.get(rest, rest))
        if verb == "look" and not rest:
            return self._describe(game)
        thing = self._world.find(
            rest.split(" with ")[0].split(" on ")[0].strip(), [*game.holds, *game.lying[game.room]]
        )
        if thing is None:
            return None
        deed = self._deed(game, verb, thing)
        if deed is not None:
            return _done(game, deed)
        if verb == "search" and thing == game.hiding_place and "found" not in game.flags:
            game.flags.append("found")
            game.lying[game.room].append(self._world.hidden)
            return f"There is something: {self._world.things[self._world.hidden].text}"
        if verb in ("look", "search"):
            return self._world.things[thing].text
        return self._carry(game, verb, thing)

    def _go(self, game: AdventureState, way: str) -> str | None:
        room = self._room(game)
        if way not in room.exits:
            names = {
                self._world.rooms[id_].name.casefold().removeprefix("the "): each for each, id_ in room.exits.items()
            }
            way = next((each for name, each in names.items() if way and way in name), "")
        if way not in room.exits:
            return None
        lock = room.locked.get(way)
        if lock is not None and lock.flag not in game.flags:
            return lock.says
        game.room = room.exits[way]
        return self._describe(game)

    def _carry(self, game: AdventureState, verb: str, thing: str) -> str | None:
        here = game.lying[game.room]
        if verb == "take" and thing in here:
            if not self._world.things[thing].portable:
                return "That stays where it is."
            here.remove(thing)
            game.holds.append(thing)
            return f"You take the {thing}."
        if verb == "drop" and thing in game.holds:
            game.holds.remove(thing)
            here.append(thing)
            return f"You put the {thing} down."
        return None

    def _deed(self, game: AdventureState, verb: str, thing: str) -> Deed | None:
        for deed in self._world.actions:
            fits = verb in deed.verbs and thing == deed.thing and deed.room in ("", game.room)
            is_time = (not deed.needs or deed.needs in game.flags) and deed.unless not in game.flags
            if fits and is_time and set(deed.holds) <= set(game.holds):
                return deed
        return None

    def _room(self, game: AdventureState) -> Room:
        return self._world.rooms[game.room]

    def _describe(self, game: AdventureState) -> str:
        room = self._room(game)
        loose = [thing for thing in game.lying[game.room] if self._world.things[thing].portable]
        seen = f" You see: {', '.join(loose)}." if loose else ""
        return f"{room.name}. {room.text}{seen}"


def _done(game: AdventureState, deed: Deed) -> str:
    game.flags += [flag for flag in deed.sets if flag not in game.flags]
    game.holds = [each for each in game.holds if each not in deed.takes] + deed.gives
    return deed.says


def _parsed(text: str) -> tuple[str | None, str]:
    """The verb, in this program's word for it, and the rest; None when it is no command."""
    words = plain(text)
    if len(words.split()) > MAX_WORDS or text.strip().endswith("?"):
        return None, ""
    words = " ".join(_SMALL.sub(" ", words).split()) if words not in ("i", "inv") else words
    if words in _WAYS or words in _DIRECTIONS:
        return "go", words
    first, _, rest = words.partition(" ")
    verb = _VERBS.get(first)
    if verb == "take" and rest.startswith("up "):
        rest = rest[3:]
    return verb, rest
