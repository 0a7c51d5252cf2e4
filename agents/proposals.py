"""Effects: proposed, confirmed by the person, applied exactly once, undone on request.

A proposal is a document of the conversation. Its id is the idempotency key for the handler: if the process crashes
between applying and recording, a second confirmation passes the same key, and the handler must not apply it again.
While one is being applied, no other request can start it, for LEASE_S. An answer that is said again within AGAIN_S,
as the result of the first may not have arrived, is told what was done. This module does not know which effects exist.

    pending ──yes──▶ applying ──▶ applied ──undo──▶ undone
       └────no────▶ declined
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, cast

from agents.base import RunContext
from agents.events import Proposal, ProposalState
from agents.tool import ProposedEffect, ToolFailed

MAX_KEPT = 20
LEASE_S = 60.0
AGAIN_S = 600.0
ATTEMPTS = 5  # at a document that others change too
_YES_WORDS = r"yes|yeah|yep|yup|sure|ok|okay|please do|do it|go ahead|haan|ha|hyan|হ্যাঁ|हाँ|हां"
_NO_WORDS = r"no|nope|nah|don'?t|do not|cancel|not now|na|nahin|না|नहीं"
_YES = re.compile(rf"(?:{_YES_WORDS})(?:,? please)?[.!]*", re.IGNORECASE)
_NO = re.compile(rf"(?:{_NO_WORDS})(?:,? thanks|,? thank you)?[.!]*", re.IGNORECASE)
_UNDO = re.compile(
    r"(?:please )?(?:undo(?: (?:it|that|this))?|take (?:it|that) back|revert (?:it|that))(?:,? please)?[.!]*",
    re.IGNORECASE,
)
_SETTLED = {"applied": "That is done already.", "undone": "That was undone.", "declined": "You said no to that."}
_NOT_THERE = "There is nothing of that to undo."
_ANSWERED: Mapping[str, "Answer"] = {"applied": "yes", "undone": "undo", "declined": "no"}
Document = dict[str, Any]
Answer = Literal["yes", "no", "undo"]


class EffectHandler(Protocol):
    """Applies and undoes one kind of effect."""

    @property
    def can_undo(self) -> bool:
        """Whether the effect can be undone."""

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, Document]:
        """Apply it, unless already applied under this key; a text for the person and a receipt. Raises ToolFailed."""

    async def undo(self, receipt: Mapping[str, Any], *, key: str, context: RunContext) -> str:
        """Undo it, unless already undone; a text for the person. Raises ToolFailed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for a proposal: a text for the person, and its state; None: there is no such proposal."""

    plain: str
    proposal: Proposal | None


def answer_of(text: str) -> Answer | None:
    """The answer to a proposal that a message plainly is; None if it is none."""
    plain = text.strip()
    if _YES.fullmatch(plain):
        return "yes"
    if _NO.fullmatch(plain):
        return "no"
    return "undo" if _UNDO.fullmatch(plain) else None


def answered_by(state: ProposalState) -> Answer | None:
    """The answer that leaves a proposal in this state; None: it still waits for one."""
    return _ANSWERED.get(state)


def is_again(answer: Answer | None, before: Answer, at: str, now: datetime) -> bool:
    """Whether an answer repeats the one before, or takes it back, so soon that it is about the same proposal."""
    is_recent = now - datetime.fromisoformat(at) < timedelta(seconds=AGAIN_S)
    return is_recent and (answer == before or (answer, before) == ("undo", "yes"))


class ProposalBook:
    """The proposals of one agent in one conversation.

    Args:
        agent: its id.
        handlers: handlers of effects, by name.
        context: of the run; it must have an owner and a state store.

    """

    def __init__(self, agent: str, handlers: Mapping[str, EffectHandler], context: RunContext) -> None:
        assert context.state is not None, "proposals are kept"
        self._handlers = handlers
        self._context = context
        self._store = context.state
        self._key = context.state_key(agent, "proposals")

    async def propose(self, effects: Sequence[ProposedEffect]) -> list[Proposal]:
        """Record them; nothing is applied."""
        made = {self._context.new_id(): effect for effect in effects}

        def add(document: Document) -> None:
            entries = document.setdefault("entries", {})
            for id_, effect in made.items():
                entries[id_] = {
                    "effect": effect.effect,
                    "summary": effect.summary,
                    "arguments": dict(effect.arguments),
                    "state": "pending",
                }
            settled = [id_ for id_, entry in entries.items() if entry["state"] != "applying" and id_ not in made]
            for id_ in settled[: max(len(entries) - MAX_KEPT, 0)]:
                del entries[id_]
            document["asked"] = list(made)

        document = await self._change(add)
        return [self._shown(id_, document["entries"][id_]) for id_ in made]

    async def resolve(self, text: str) -> Outcome | None:
        """Take a plain yes, no or undo as an answer to what was proposed last; None if the text is none of them."""
        document, answer = await self._read(), answer_of(text)
        open_ids = document.get("asked") or []
        if not open_ids:
            return await self._again(document.get("answered"), answer)
        if answer == "yes" and len(open_ids) == 1:
            return await self.confirm(open_ids[0])
        if answer == "no":
            for id_ in open_ids:
                outcome = await self._decline(id_)
            return outcome
        if answer != "yes":
            await self._change(lambda document: document.update(asked=[]))  # the talk has moved on
            return None
        return Outcome("Which of them? Press its button, so that I do the right thing.", None)

    async def _again(self, answered: Mapping[str, Any] | None, answer: Answer | None) -> Outcome | None:
        """The result of an answer when nothing is open; None if it is about none of what was proposed."""
        if answered is None:
            return None
        if is_again(answer, answered["answer"], answered["at"], self._context.now()):
            return await (self.undo if answer == "undo" else self.confirm)(answered["id"])
        await self._change(lambda document: document.update(answered=None))
        return None

    async def confirm(self, id_: str) -> Outcome:
        """Apply it, once."""
        now = self._context.now()
        entry: Document | None = None

        def begin(document: Document) -> None:
            nonlocal entry
            entry = document.get("entries", {}).get(id_)
            if entry is None or entry["state"] not in ("pending", "applying"):
                _no_longer_asked(document, id_)
                return
            is_held = entry["state"] == "applying" and now.isoformat() < entry["until"]
            entry["begins"] = not is_held
            if not is_held:
                entry |= {"state": "applying", "until": (now + timedelta(seconds=LEASE_S)).isoformat()}

        await self._change(begin)
        if entry is None:
            return Outcome("I have nothing of that kind waiting.", None)
        if entry["state"] != "applying":
            return Outcome(_told_again(entry), self._shown(id_, entry))
        if not entry["begins"]:
            return Outcome("That is being done right now.", self._shown(id_, entry))
        try:
            plain, receipt = await self._handlers[entry["effect"]].apply(
                entry["arguments"], key=id_, context=self._context
            )
        except ToolFailed as failure:
            return Outcome(str(failure), await self._set(id_, state="pending"))
        return Outcome(plain, await self._set(id_, state="applied", receipt=receipt, said=plain))

    async def undo(self, id_: str) -> Outcome:
        """Undo it, if it was applied and can be undone."""
        entry = (await self._read()).get("entries", {}).get(id_)
        if entry is None:
            return Outcome(_NOT_THERE, None)
        if entry["state"] != "applied":
            plain = entry.get("said") or _SETTLED["undone"] if entry["state"] == "undone" else _NOT_THERE
            return Outcome(plain, self._shown(id_, entry))
        handler = self._handlers[entry["effect"]]
        if not handler.can_undo:
            return Outcome("That cannot be undone.", self._shown(id_, entry))
        try:
            plain = await handler.undo(entry["receipt"], key=id_, context=self._context)
        except ToolFailed as failure:
            return Outcome(str(failure), self._shown(id_, entry))
        return Outcome(plain, await self._set(id_, state="undone", said=plain))

    async def _decline(self, id_: str) -> Outcome:
        def decline(document: Document) -> None:
            entry = document.get("entries", {}).get(id_)
            if entry is not None and entry["state"] == "pending":
                entry["state"] = "declined"
                document["answered"] = self._answered(id_, "declined")
            document["asked"] = []

        document = await self._change(decline)
        entry = document.get("entries", {}).get(id_)
        return Outcome("All right, I leave it.", None if entry is None else self._shown(id_, entry))

    async def _set(self, id_: str, **changes: Any) -> Proposal:
        def change(document: Document) -> None:
            document["entries"][id_].update(changes)
            if changes["state"] != "pending":
                _no_longer_asked(document, id_)
            document["answered"] = self._answered(id_, changes["state"])

        document = await self._change(change)
        return self._shown(id_, document["entries"][id_])

    def _answered(self, id_: str, state: ProposalState) -> Document | None:
        answer = answered_by(state)
        return None if answer is None else {"id": id_, "answer": answer, "at": self._context.now().isoformat()}

    def _shown(self, id_: str, entry: Document) -> Proposal:
        handler = self._handlers.get(entry["effect"])
        state = "pending" if entry["state"] == "applying" else entry["state"]
        can_undo = entry["state"] == "applied" and handler is not None and handler.can_undo
        return Proposal(id_, entry["effect"], entry["summary"], cast("ProposalState", state), can_undo)

    async def _read(self) -> Document:
        stored = await self._store.load(self._key)
        return {} if stored is None else dict(stored.value)

    async def _change(self, change: Any) -> Document:
        for _ in range(ATTEMPTS):
            stored = await self._store.load(self._key)
            document = {} if stored is None else dict(stored.value)
            change(document)
            if await self._store.save(self._key, document, expected=0 if stored is None else stored.version):
                return document
        raise ToolFailed("Too much happens at once here. Try again in a moment.")


def _told_again(entry: Document) -> str:
    """What became of a settled proposal, in the words of the time when it was applied."""
    settled = _SETTLED[entry["state"]]
    return f"{settled} {entry['said']}" if entry["state"] == "applied" and entry.get("said") else settled


def _no_longer_asked(document: Document, id_: str) -> None:
    """A plain yes no longer means it. Until it is applied it does: a run may fail, or its process die."""
    document["asked"] = [each for each in document.get("asked", ()) if each != id_]
