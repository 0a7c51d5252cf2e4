"""The task that leaves messages in inboxes and forwards them to applications that want them (`agents.inbox`).

It may run twice and be killed anywhere: the inbox knows the key of an occasion, so there is one message for each. A
message is forwarded with the same id until its receiver answers 2xx, so the receiver can detect repetitions. Known
minors get no messages, nobody gets one in quiet hours, more often than they chose, or twice within a day.

A delivery is signed: `x-bondhu-signature: t=<unix seconds>,v1=<hex>`, an HMAC-SHA256 of `<t>.<body>` with the key that
receiver and operator share (BONDHU_WEBHOOK_KEY).
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.inbox import box as inbox
from agents.inbox.box import Box, Message
from agents.inbox.occasions import AFTER, BEFORE, PAINFUL_UNTIL, Occasion, occasions_of
from agents.inbox.settings import InboxSettings
from memory.person_facts import facts_of
from storage.agents.states import SqlStates, owners_with
from storage.database import open_engine
from storage.memory.memories import MemoryFilter, list_memories
from storage.memory.owner import Owner
from storage.memory.people import read_profile

log = logging.getLogger(__name__)

EVERY_S = 900.0
ADULT_AGE = 18
PEOPLE_AT_ONCE = 200
MAX_MEMORIES = 50
REST = timedelta(hours=20)  # between two messages to one person
MAX_ATTEMPTS = 10
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The receivers of each application's messages, and the key that signs deliveries."""

    urls: Mapping[str, str]
    key: str


def register(app: Celery, database_url: str, webhooks: Webhooks | None) -> dict[str, Any]:
    """Add the task to `app`; returns its schedule entry."""

    def run() -> int:
        return asyncio.run(look(database_url, webhooks, now=datetime.now(UTC)))

    task = app.task(name="jobs.inbox", shared=False)(run)
    return {"inbox": {"task": task.name, "schedule": EVERY_S, "options": {"expires": EVERY_S}}}


async def look(database_url: str, webhooks: Webhooks | None, *, now: datetime) -> int:
    """Leave new messages and forward the pending ones; returns the number of new messages."""
    engine = open_engine(database_url)
    made, last = 0, None
    try:
        while people := await owners_with(engine, inbox.AGENT, inbox.SETTINGS, after=last, limit=PEOPLE_AT_ONCE):
            for owner in people:
                made += await _visit(engine, owner, webhooks, now)
            last = people[-1]
    finally:
        await engine.dispose()
    return made


async def _visit(engine: AsyncEngine, owner: Owner, webhooks: Webhooks | None, now: datetime) -> int:
    states = SqlStates(engine, lambda: now)
    settings = await inbox.load_settings(states, owner)
    if not settings.enabled:
        return 0
    facts = facts_of((await read_profile(engine, owner)).details, now.date())
    if facts.age is not None and facts.age < ADULT_AGE:
        return 0
    box = await inbox.load_box(states, owner)
    made = 0
    if _may_speak(box, settings, now) and not settings.is_quiet(now, facts.zone):
        window = MemoryFilter(since=now - max(AFTER, PAINFUL_UNTIL), until=now + BEFORE, muted=False)
        memories = await list_memories(engine, owner, window, limit=MAX_MEMORIES)
        occasions = occasions_of(memories, now=now, zone=facts.zone)
        fresh = next((each for each in occasions if each.key not in box.seen), None)
        if fresh is not None:
            message = _message(fresh, now)
            changed = await inbox.change_box(states, owner, lambda each: each.with_message(message))
            box, made = (changed, 1) if changed is not None else (box, 0)
    if webhooks is not None and settings.webhook and owner.app in webhooks.urls:
        await _hand_on(states, owner, box, webhooks, now)
    return made


def _may_speak(box: Box, settings: InboxSettings, now: datetime) -> bool:
    return box.sent_since(now - inbox.WEEK) < settings.max_per_week and not box.sent_since(now - REST)


def _message(occasion: Occasion, now: datetime) -> Message:
    return Message(secrets.token_hex(8), occasion.key, occasion.kind, occasion.text, occasion.why, now.isoformat())


async def _hand_on(states: SqlStates, owner: Owner, box: Box, webhooks: Webhooks, now: datetime) -> None:
    for message in box.messages:
        if message.delivered_at is not None or message.read_at is not None or message.attempts >= MAX_ATTEMPTS:
            continue
        taken = await _post(webhooks.urls[owner.app], webhooks.key, body_of(owner, message), now)
        delivered = now.isoformat() if taken else None
        attempts = message.attempts + 1

        def change(each: Box, id_: str = message.id, at: str | None = delivered, tries: int = attempts) -> Box:
            return each.changed(id_, delivered_at=at, attempts=tries)

        await inbox.change_box(states, owner, change)


def body_of(owner: Owner, message: Message) -> bytes:
    """The body of a delivery."""
    payload = {"id": message.id, "kind": message.kind, "text": message.text, "created_at": message.created_at}
    return json.dumps({"type": "inbox.message", "user": owner.user, "message": payload}).encode()


def signature(key: str, body: bytes, now: datetime) -> str:
    """The value of the header; a receiver computes it too and compares."""
    at = int(now.timestamp())
    return f"t={at},v1={hmac.new(key.encode(), b'%d.' % at + body, hashlib.sha256).hexdigest()}"


async def _post(url: str, key: str, body: bytes, now: datetime) -> bool:
    import aiohttp  # only where something is handed on

    headers = {"content-type": "application/json", "x-bondhu-signature": signature(key, body, now)}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return 200 <= response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        log.warning("a message was not taken by its application: %s", type(problem).__name__)
        return False
