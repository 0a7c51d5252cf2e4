"""Leaves messages in inboxes and forwards them to applications that want them (`agents.inbox`): one person's.

A new message is stored with the end of the job, so an occasion has one. Its id is made of the occasion, and it is
forwarded with that id until its receiver answers 2xx; so a receiver detects repetitions, also of an attempt that died.
Known minors get no messages, nobody gets one in quiet hours, more often than they chose, or twice within a day.

A delivery is signed: `x-bondhu-signature: t=<unix seconds>,v1=<hex>`, an HMAC-SHA256 of `<t>.<body>` with the key that
receiver and operator share (BONDHU_WEBHOOK_KEY).
"""

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.inbox import box as inbox
from agents.inbox.box import Box, Message
from agents.inbox.occasions import AFTER, BEFORE, PAINFUL_UNTIL, Occasion, occasions_of
from agents.inbox.settings import InboxSettings
from jobs.runner import JobFailed, JobRun
from memory.person_facts import facts_of
from storage.agents.states import SqlStates, StatesWithin
from storage.memory.memories import MemoryFilter, list_memories
from storage.memory.owner import Owner
from storage.memory.people import read_profile

log = logging.getLogger(__name__)

ADULT_AGE = 18
MAX_MEMORIES = 50
REST = timedelta(hours=20)  # between two messages to one person
MAX_ATTEMPTS = 10
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The receivers of each application's messages, and the key that signs deliveries."""

    urls: Mapping[str, str]
    key: str


async def look_after(job: JobRun, webhooks: Webhooks | None) -> int:
    """Leave a new message, if there is an occasion, and forward those that wait; returns the number of new ones."""
    owner, now = job.owner, job.now()
    states = SqlStates(job.engine, job.now)
    settings = await inbox.load_settings(states, owner)
    facts = facts_of((await read_profile(job.engine, owner)).details, now.date())
    if not settings.enabled or (facts.age is not None and facts.age < ADULT_AGE):
        async with job.finishing({"messages": 0}):
            return 0
    box = await inbox.load_box(states, owner)
    new = None
    if _may_speak(box, settings, now) and not settings.is_quiet(now, facts.zone):
        window = MemoryFilter(since=now - max(AFTER, PAINFUL_UNTIL), until=now + BEFORE, muted=False)
        memories = await list_memories(job.engine, owner, window, limit=MAX_MEMORIES)
        occasions = occasions_of(memories, now=now, zone=facts.zone)
        fresh = next((each for each in occasions if each.key not in box.seen), None)
        new = None if fresh is None else _message(owner, fresh, now)
    waiting = box if new is None else box.with_message(new)
    taken: dict[str, bool] = {}
    if webhooks is not None and settings.webhook and owner.app in webhooks.urls:
        taken = await _forward(job, waiting, webhooks)
    async with job.finishing({"messages": 0 if new is None else 1, "forwarded": sum(taken.values())}) as connection:
        within = StatesWithin(connection, job.now)
        if await inbox.change_box(within, owner, lambda each: _changed(each, new, taken, now)) is None:
            raise JobFailed("busy")
    return 0 if new is None else 1


def _changed(box: Box, new: Message | None, taken: Mapping[str, bool], now: datetime) -> Box:
    """With the new message, and what became of those that were forwarded; what the person deleted stays deleted."""
    changed = box if new is None else box.with_message(new)
    for message in changed.messages:
        if message.id in taken:
            at = now.isoformat() if taken[message.id] else None
            changed = changed.changed(message.id, delivered_at=at, attempts=message.attempts + 1)
    return changed


def _may_speak(box: Box, settings: InboxSettings, now: datetime) -> bool:
    return box.sent_since(now - inbox.WEEK) < settings.max_per_week and not box.sent_since(now - REST)


def _message(owner: Owner, occasion: Occasion, now: datetime) -> Message:
    id_ = hashlib.blake2b("\0".join([owner.app, owner.user, occasion.key]).encode(), digest_size=8).hexdigest()
    return Message(id_, occasion.key, occasion.kind, occasion.text, occasion.why, now.isoformat())


async def _forward(job: JobRun, box: Box, webhooks: Webhooks) -> dict[str, bool]:
    """Whether each message that waits was taken."""
    waiting = [
        each
        for each in box.messages
        if each.delivered_at is None and each.read_at is None and each.attempts < MAX_ATTEMPTS
    ]
    url, now = webhooks.urls[job.owner.app], job.now()
    taken: dict[str, bool] = {}
    for number, message in enumerate(waiting, 1):
        taken[message.id] = await _post(url, webhooks.key, body_of(job.owner, message), now)
        await job.progress(number, len(waiting) + 1)
        if not taken[message.id]:
            break  # the receiver is away: the others wait without counting an attempt
    return taken


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
