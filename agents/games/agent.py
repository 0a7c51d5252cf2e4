"""The agent that plays games: it parses commands, lets the rules judge each move, and stores the game.

A conversation has one game at a time, stored as a document of the person. A repeated request (the same messages up to
the same last one) gets the same answer and makes no move. A model, if there is one, answers messages that are not
moves. It sees the visible part of the game, never a secret, and judges nothing.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from agents.asking import narrate
from agents.base import AgentRequest, Need, PassedOn, RunContext, check_fields
from agents.budget import LimitReached
from agents.events import Action, Card, Event, Token, ToolStep
from agents.games.catalogue import bundled_games
from agents.games.commands import Command, command_of
from agents.games.game import Game, Turn
from agents.games.suggestions import Suggestion, parse_query, read_suggestions, suggest
from agents.loop import done
from agents.toolbox import turns_of
from models.chat import ChatMessage, ChatRequest

Document = dict[str, Any]
ATTEMPTS = 3
TALK_TOKENS = 60
_NOBODY = "To play I need to know who is playing, and where: the request names no user and conversation."
_BUSY = "Two moves came at once; I took the other. What is next?"
_TALK = (
    "You are a cheerful friend, playing {title} with them. Answer what they said in one short sentence. The program "
    "judges the game: make no move, tell no result, ask nothing about it."
)

if TYPE_CHECKING:
    from agents.registry import Parts


class GamesAgent:
    """See `agents.base.Agent`."""

    id = "games"
    description = "Plays games: twenty questions, hangman, word chain, trivia, tic-tac-toe, a text adventure."
    needs: frozenset[Need] = frozenset({"person", "conversation", "state"})
    passes_on: frozenset[PassedOn] = frozenset()

    def __init__(self, games: Sequence[Game], suggestions: Sequence[Suggestion]) -> None:
        self._games = {game.id: game for game in games}
        self._suggestions = suggestions

    async def is_playing(self, context: RunContext) -> bool:
        """Whether the conversation has a game, so that its messages may be moves."""
        return (await self._kept(context)).get("active") is not None

    async def has_answered(self, request: AgentRequest, context: RunContext) -> bool:
        """Whether this very request was its last: it comes again, as its answer did not arrive."""
        if not request.turn_id:
            return False
        last = (await self._kept(context)).get("last", {})
        return bool(last.get("turn_id") == request.turn_id)

    async def _kept(self, context: RunContext) -> Document:
        """What is stored of this conversation; empty if nothing is, or nothing can be."""
        if context.state is None or context.owner is None or not context.conversation:
            return {}
        kept = await context.state.load(context.state_key(self.id, "game"))
        return {} if kept is None else dict(kept.value)

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer; raises Unsupported."""
        check_fields(self, request)
        if context.state is None or context.owner is None or not context.conversation:
            yield Token(_NOBODY)
            yield done(context)
            return
        with context.spans("execute_tool game", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "game"}):
            document, turn = await self._play(request, context)
        yield ToolStep("game", "done", document["last"]["game"] or "none")
        if turn is not None and turn.reading == "talk" and context.model is not None:
            async with aclosing(self._talk(document, request, context)) as texts:
                async for text in texts:
                    yield Token(text)
        yield Token(document["last"]["says"])
        card = self._card(document)
        if card is not None:
            yield card
        yield done(context)

    async def _play(self, request: AgentRequest, context: RunContext) -> tuple[Document, Turn | None]:
        """The document after the message, and the new turn of the game, if there was one."""
        assert context.state is not None, "callers check this"
        key, turn_id = context.state_key(self.id, "game"), request.turn_id
        for _ in range(ATTEMPTS):
            kept = await context.state.load(key)
            document: Document = {} if kept is None else dict(kept.value)
            if turn_id and document.get("last", {}).get("turn_id") == turn_id:
                return document, None
            turn = self._turn(document, request.text, context)
            document["last"] |= {"turn_id": turn_id}
            if await context.state.save(key, document, expected=0 if kept is None else kept.version):
                return document, turn
        return document | {"last": {"game": "", "says": _BUSY}}, None

    def _turn(self, document: Document, text: str, context: RunContext) -> Turn | None:
        """Change the document as the message demands."""
        active = document.get("active")
        command = command_of(text, list(self._games.values()), is_playing=active is not None)
        if command is not None:
            self._execute(document, command, text, context)
            return None
        if active is None:
            self._suggest(document, text, context)
            return None
        game = self._games[active["game"]]
        turn = game.play(active["state"], text)
        self._note(document, game, turn)
        return turn

    def _execute(self, document: Document, command: Command, text: str, context: RunContext) -> None:
        active = document.get("active")
        if command.action == "start" or (command.action == "again" and document.get("played")):
            game = self._games[command.game or document["played"]]
            turn = game.start(context.rng)
            self._note(document, game, Turn(turn.state, f"{game.title}. {game.rules}\n\n{turn.message}"))
        elif active is None:
            self._suggest(document, text, context)
        elif command.action == "rules":
            game = self._games[active["game"]]
            document["last"] = {"game": game.id, "says": f'{game.rules} Say "stop" to end it.'}
        else:
            game = self._games[active["game"]]
            message = f"{game.give_up(active['state'])} Thanks for playing!"
            self._note(document, game, Turn(active["state"], message, result="ended"))

    def _note(self, document: Document, game: Game, turn: Turn) -> None:
        document["played"] = game.id
        document["active"] = None if turn.result else {"game": game.id, "state": turn.state}
        document["last"] = {"game": game.id, "says": turn.message, "state": turn.state, "result": turn.result}
        if turn.result:
            results = document.setdefault("results", {}).setdefault(game.id, {})
            results[turn.result] = results.get(turn.result, 0) + 1

    def _suggest(self, document: Document, text: str, context: RunContext) -> None:
        found = suggest(self._suggestions, parse_query(text), context.rng)
        lines = [f"- {each.name} ({each.platform}, about {each.minutes} min): {why}." for each, why in found]
        here = [each.name for each, _ in found if each.engine]
        message = "\n".join(["You could play:", *lines]) if lines else "I know no game that fits all of that."
        ask = (
            f'Say "play {here[0]}" to begin.'
            if here
            else 'With me you can play any of: say "play hangman", or "trivia".'
        )
        document["last"] = {"game": "", "says": f"{message}\n{ask}", "offered": here}

    def _card(self, document: Document) -> Card | None:
        last = document["last"]
        if offered := last.get("offered"):
            return Card("games", "Games", {"offered": offered}, [Action(name, f"play {name}") for name in offered])
        state, game = last.get("state"), self._games.get(last["game"])
        if game is None or state is None:
            return None
        view: Mapping[str, Any] = game.view(state)
        if last["result"]:
            return Card(
                "game", game.title, {"game": game.id, **view, "result": last["result"]}, [Action("Again", "again")]
            )
        actions = [*(Action(move, move) for move in game.moves(state)), Action("Stop", "stop")]
        return Card("game", game.title, {"game": game.id, **view}, actions)

    async def _talk(self, document: Document, request: AgentRequest, context: RunContext) -> AsyncGenerator[str, None]:
        """The model's answer to a message that was no move, and a line break."""
        game = self._games[document["last"]["game"]]
        prompt = [ChatMessage("system", _TALK.format(title=game.title)), *turns_of(request)[-2:]]
        has_spoken = False
        try:
            async with aclosing(narrate(context, ChatRequest(prompt, max_tokens=TALK_TOKENS))) as texts:
                async for text in texts:
                    has_spoken = True
                    yield text
        except LimitReached:
            return
        if has_spoken:
            yield "\n\n"


def make_agent(_: "Parts") -> GamesAgent:
    """The bundled games."""
    return GamesAgent(bundled_games(), read_suggestions())
