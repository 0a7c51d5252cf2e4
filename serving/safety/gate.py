"""Decides, before any model runs, what a request needs for the person's safety.

Before the generation, the latest message is assessed together with earlier ones (`agents.safety.step`). In plain danger
the response is a fixed text, whatever model was requested. If danger is only hinted at, the model gets guidance, and
helplines follow its reply. The reply is checked on its way (`serving.safety.reply_guard`). Notices that the law
requires (`agents.safety.notices`) come first. This module does not know which model replies, nor how a reply is sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from agents.catalogue import PREFIX
from agents.safety.detection.guard import GuardModel
from agents.safety.helplines import DIRECTORIES
from agents.safety.jurisdiction import Duties, duties_of
from agents.safety.notices import BREAK, DISCLOSURE, Notices, notices
from agents.safety.risk import Action, Category, Level, Risk
from agents.safety.step import SafetyStep
from agents.safety.texts import GUIDANCE, help_beside, help_text
from memory.person_facts import PersonFacts
from models.chat import ChatMessage
from serving.config.schema import SafetySettings
from serving.protocol.request import CHAT, GenerationRequest
from serving.safety.counting import Referrals
from serving.safety.people import People
from serving.safety.reply_guard import ReplyGuard
from serving.safety.sessions import NoticeSessions

GuardOf = Callable[[GenerationRequest], GuardModel]

HEADER, NOTICES_HEADER = b"x-bondhu-safety", b"x-bondhu-notices"
MAX_PROMPTS = 16  # of one completion, each assessed by itself
MAX_COMBINED = 256  # combinations of jurisdictions that are remembered
REPEATED_TURNS = 3  # latest replies; if one names the helplines, a hint does not name them again
NOTED_EVERY = timedelta(minutes=1)  # interval of storing when a person was last seen
_FOR_PROGRAMS = ("structured_outputs", "logprobs", "continue_final_message")


@dataclass(frozen=True, slots=True)
class Opening:
    """How to respond to a request.

    Attributes:
        request: the request, with the findings.
        fixed: the complete response, in plain danger; None: a model replies.
        guard: checks the reply and adds text to it; None: neither is needed.
        headers: of the response.
        due: the notices of this reply, which may be none now; None: notices are off.
        version: of the person's session; -1: it cannot be stored.
        is_old: whether the session must be stored even without notices.

    """

    request: GenerationRequest
    fixed: str | None = None
    guard: ReplyGuard | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    due: Notices | None = None
    version: int = -1
    is_old: bool = True

    def applied(self, request: GenerationRequest) -> GenerationRequest:
        """Return `request`, to which memory may have been added, with the risk, the person and the guidance."""
        opened = self.request
        if opened.risk is None and opened.person is None:
            return request
        country = request.country or opened.country
        return _guided(replace(request, risk=opened.risk, person=opened.person, country=country))


@dataclass(frozen=True, slots=True)
class _Pending:
    """The due notices of a person, the version of their session, and whether the session is outdated."""

    due: Notices
    version: int
    is_old: bool


class SafetyGate:
    """The safety step of one gateway worker.

    Args:
        step: assesses messages and replies.
        guard: makes the guard model that judges a request's messages too; None: none.
        settings: which parts are enabled.
        jurisdictions: the duties of each jurisdiction; `countries` of them are found by a person's country.
        people: looks up the facts about a person.
        sessions: when a person last saw the notices.
        referrals: counts referrals to help.
        crisis_text: the operator's text for self-harm; None: the fixed text.
        now: the time, aware.

    """

    def __init__(
        self,
        step: SafetyStep,
        settings: SafetySettings,
        *,
        guard: GuardOf | None = None,
        jurisdictions: Mapping[str, Duties],
        people: People,
        sessions: NoticeSessions,
        referrals: Referrals,
        crisis_text: Callable[[], str | None],
        now: Callable[[], datetime],
    ) -> None:
        self._step = step
        self._guard = guard
        self._settings = settings
        self._jurisdictions = jurisdictions
        self._strictest = lru_cache(MAX_COMBINED)(partial(duties_of, jurisdictions))
        self._people = people
        self._sessions = sessions
        self._referrals = referrals
        self._crisis_text = crisis_text
        self._now = now

    async def open(self, request: GenerationRequest) -> Opening:
        """Decide how to answer this request; failures of its parts are tolerated."""
        is_companion = request.model.startswith(PREFIX)
        shows = request.notices if self._settings.notices != "off" and request.path == CHAT else "off"
        checks = request.checks_safety and self._settings.enabled
        if not checks and shows == "off":
            return Opening(request)
        needs_facts = is_companion or shows != "off" or request.conversation is not None
        facts = await self._people.of(request) if needs_facts else None
        duties = self._duties(facts, request.country)
        is_minor = duties.is_minor(None if facts is None else facts.age)
        risk = await self._assess(request, is_minor=is_minor) if checks else Risk(is_minor=is_minor)
        if risk.action is not Action.CONTINUE and facts is None:
            facts = await self._people.of(request)
        facts = facts or PersonFacts()
        request = replace(
            request, risk=risk if checks else None, person=facts, country=request.country or facts.country
        )
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if risk.action is not Action.CONTINUE:
            self._referrals.note(risk, self._now())
            headers = ((HEADER, f"{risk.category}; {risk.level.name.lower()}; {risk.action}".encode()),)
        if risk.action in (Action.FIXED_REPLY, Action.REFUSE):
            return Opening(request, fixed=self._fixed(risk, request.country), headers=headers)
        pending = await self._due_notices(request, duties, shows, is_minor=is_minor)
        due = pending.due if pending is not None and (pending.due.disclose or pending.due.remind) else None
        suffix = self._help_suffix(request, risk)
        check = partial(self._step.check_reply, risk=risk, is_companion=is_companion) if checks else None
        if check is not None and not self._settings.check_replies:
            check = None
        texts = due.texts(risk.language) if due is not None and shows == "text" else ()
        prefix = "".join(f"{text}\n\n" for text in texts)
        events = [] if due is None else _events(due, risk.language)
        if not _is_for_a_person(request):
            prefix, suffix = "", ""
        guard = None
        if check is not None or prefix or suffix or events:
            in_danger = risk.level >= Level.VEILED or risk.is_minor
            by_sentence = check is not None and (in_danger or self._settings.stream == "by_sentence")
            guard = ReplyGuard(
                check=check,
                prefix=prefix,
                suffix=suffix,
                events=events if is_companion or shows == "event" else (),
                by_sentence=by_sentence,
            )
        if due is not None and events:
            headers += ((NOTICES_HEADER, ", ".join(event["notice"] for event in events).encode()),)
        opening = Opening(request, guard=guard, headers=headers)
        if pending is None:
            return opening
        return replace(opening, due=pending.due, version=pending.version, is_old=pending.is_old)

    def is_minor(self, facts: PersonFacts) -> bool:
        """Whether a person with these facts counts as a minor."""
        return self._duties(facts, None).is_minor(facts.age)

    async def settle(self, opening: Opening) -> None:
        """Store that the reply was sent, with its notices."""
        due = opening.due
        if due is not None:
            was_shown = opening.guard is not None and opening.guard.has_begun
            if was_shown or (opening.is_old and not (due.disclose or due.remind)):
                await self._sessions.save(opening.request, due.session, opening.version)

    async def _assess(self, request: GenerationRequest, *, is_minor: bool) -> Risk:
        classifier = self._settings.classifier
        classifies = classifier == "all" or (classifier == "people" and request.user is not None)
        guard = None if self._guard is None else self._guard(request)
        if request.path == CHAT:
            risk = await self._step.assess(_messages(request), is_minor=is_minor, classifies=classifies, guard=guard)
        else:
            prompt = request.parsed.get("prompt")
            prompts = [text for text in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(text, str)]
            risks = [
                await self._step.assess([ChatMessage("user", text)], is_minor=is_minor, classifies=False)
                for text in prompts[:MAX_PROMPTS]
            ]
            risk = max(risks, key=lambda risk: risk.level, default=Risk(is_minor=is_minor))
        is_hint = risk.category is Category.SELF_HARM and risk.level is Level.VEILED
        return replace(risk, action=Action.FIXED_REPLY) if is_hint and self._settings.hints == "fixed" else risk

    def _duties(self, facts: PersonFacts | None, country: str | None) -> Duties:
        where = country or (facts.country if facts else None)
        named = [*self._settings.jurisdictions, *(facts.jurisdictions if facts else ())]
        named += [
            name for name, duties in self._jurisdictions.items() if where is not None and where in duties.countries
        ]
        return self._strictest(tuple(name for name in dict.fromkeys(named) if name in self._jurisdictions))

    def _fixed(self, risk: Risk, country: str | None) -> str:
        custom = self._crisis_text() if risk.category is Category.SELF_HARM else None
        return help_text(risk.category, language=risk.language, country=country, text=custom)

    async def _due_notices(
        self, request: GenerationRequest, duties: Duties, shows: str, *, is_minor: bool
    ) -> _Pending | None:
        if shows == "off":
            return None
        now = self._now()
        session, version = await self._sessions.load(request, now)
        is_old = session.last_seen is None or now - session.last_seen > NOTED_EVERY
        return _Pending(notices(session, duties, now=now, is_minor=is_minor), version, is_old)

    def _help_suffix(self, request: GenerationRequest, risk: Risk) -> str:
        """The help after the reply; for a hint only if the last replies have not named it."""
        if risk.action is not Action.ADD_HELP:
            return ""
        replies = [message.text for message in _messages(request) if message.role == "assistant"][-REPEATED_TURNS:]
        if risk.level < Level.EXPLICIT and any(DIRECTORIES[0].contact in reply for reply in replies):
            return ""
        return help_beside(risk.category, language=risk.language, country=request.country)


def _messages(request: GenerationRequest) -> list[ChatMessage]:
    """The messages of user and assistant; tolerates what an engine will refuse."""
    messages: Any = request.parsed.get("messages")
    chat_messages = []
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") in ("user", "assistant"):
            content = message.get("content")
            parts: Iterable[Any] = content if isinstance(content, list) else [{"type": "text", "text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            text = "\n".join(text for text in texts if isinstance(text, str))
            chat_messages.append(ChatMessage(message["role"], text))
    return chat_messages


def _events(due: Notices, language: str) -> list[dict[str, Any]]:
    candidates: Sequence[tuple[bool, str, Mapping[str, str]]] = (
        (due.disclose, "disclosure", DISCLOSURE),
        (due.remind, "break", BREAK),
    )
    return [
        {"type": "notice", "notice": kind, "text": texts.get(language, texts["en"])}
        for is_due, kind, texts in candidates
        if is_due
    ]


def _guided(request: GenerationRequest) -> GenerationRequest:
    """Add the guidance of a risk to the system message; a completion has none."""
    messages = request.parsed.get("messages")
    is_due = request.risk is not None and request.risk.action is Action.ADD_HELP
    if request.risk is None or not is_due or not isinstance(messages, list) or not messages:
        return request
    note = GUIDANCE[request.risk.category]
    first = messages[0]
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        content = first.get("content")
        if isinstance(content, list):
            guided: Any = [*content, {"type": "text", "text": note}]
        else:
            guided = f"{content or ''}\n\n{note}".strip()
        messages = [{**first, "content": guided}, *messages[1:]]
    else:
        messages = [{"role": "system", "content": note}, *messages]
    return replace(request, parsed={**request.parsed, "messages": messages})


def _is_for_a_person(request: GenerationRequest) -> bool:
    """Whether text may be added around the reply: it is neither JSON nor read by a program."""
    plain = request.parsed.get("response_format") in (None, {"type": "text"})
    return plain and not any(request.parsed.get(field) for field in _FOR_PROGRAMS)
