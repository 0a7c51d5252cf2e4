"""When to tell people that they talk to a program, and when to suggest a break.

This module only decides. The caller stores the two times with the conversation, shows what is due and saves the
returned session. After a pause longer than `REST`, a conversation counts as new. It does not know who the person is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.safety.jurisdiction import Duties

REST = timedelta(minutes=30)
DISCLOSURE = {
    "en": "I'm an AI, a computer program, not a human.",
    "bn": "আমি একটা এআই, কম্পিউটার প্রোগ্রাম, মানুষ নই।",
    "hi": "मैं एक एआई हूं, कंप्यूटर प्रोग्राम, इंसान नहीं।",
}
BREAK = {
    "en": "We've been talking for a while. This is a good moment for a break.",
    "bn": "আমরা অনেকক্ষণ কথা বলছি। এখন একটু বিরতি নেওয়ার ভালো সময়।",
    "hi": "हम काफी देर से बात कर रहे हैं। अब थोड़ा ब्रेक लेने का अच्छा समय है।",
}


@dataclass(frozen=True, slots=True)
class Session:
    """The stored times of a conversation; all None at its start.

    Attributes:
        last_seen: when the person last wrote.
        disclosed: when they were last told.
        rested: when they last began, or were last reminded.

    """

    last_seen: datetime | None = None
    disclosed: datetime | None = None
    rested: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notices:
    """The notices that are due now, and the session to store."""

    disclose: bool
    remind: bool
    session: Session

    def texts(self, language: str = "en") -> tuple[str, ...]:
        """The texts to show, in `en`, `bn` or `hi`."""
        due = ((self.disclose, DISCLOSURE), (self.remind, BREAK))
        return tuple(texts.get(language, texts["en"]) for is_due, texts in due if is_due)


def notices(session: Session, duties: Duties, *, now: datetime, is_minor: bool = False) -> Notices:
    """The notices for a person who writes at this time (aware, in UTC)."""
    anew = session.last_seen is None or now - session.last_seen > REST
    disclose_h = duties.minor_disclose_every_h if is_minor else duties.disclose_every_h
    remind_h = duties.minor_break_reminder_every_h if is_minor else duties.break_reminder_every_h
    disclose = (anew and duties.disclose_at_start) or _is_due(session.disclosed, disclose_h, now)
    rested = now if anew or session.rested is None else session.rested
    remind = not anew and _is_due(rested, remind_h, now)
    return Notices(
        disclose,
        remind,
        Session(now, now if disclose else session.disclosed, now if remind else rested),
    )


def _is_due(since: datetime | None, every_h: float, now: datetime) -> bool:
    return since is not None and every_h > 0 and now - since >= timedelta(hours=every_h)
