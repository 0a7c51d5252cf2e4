"""A model that finds requests about memory, asked as the service asks it, beside the patterns."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from memory.intents.detector import Detected, has_words_of_intents
from memory.intents.model_answer import combined
from models.chat import ChatFailure
from models.openai_format import body_of, reply_of
from serving.chat_memory.intent_model import request_about

TIMEOUT_S = 60.0


@dataclass
class Ask:
    """Asks about sentences, and counts what came of it; those after `limit_s` are left to the patterns."""

    base_url: str
    model: str
    limit_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    async def __call__(self, text: str, by_patterns: Detected | None) -> Detected | None:
        """What a sentence is taken for, with the model's answer."""
        if not has_words_of_intents(text):
            self.counts["not asked"] += 1
            return by_patterns
        if self.limit_s and time.monotonic() - self.began_s > self.limit_s:
            self.counts["too late"] += 1
            return by_patterns
        began_s = time.monotonic()
        try:
            answer = await self._answer(text)
        except (ChatFailure, aiohttp.ClientError, TimeoutError):
            self.counts["failed"] += 1
            return by_patterns
        self.took_s.append(time.monotonic() - began_s)
        found = combined(text, by_patterns, answer)
        self.counts["as the patterns" if found == by_patterns else "otherwise"] += 1
        return found

    async def _answer(self, text: str) -> str:
        request, headers = request_about(text), {"authorization": f"Bearer {os.environ.get('BONDHU_API_KEY', '')}"}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout, raise_for_status=True) as session,
            session.post(f"{self.base_url}/chat/completions", json=body_of(request, self.model)) as response,
        ):
            return reply_of(await response.json(), request, self.model).text

    def summary(self) -> dict[str, object]:
        """What was asked, how long it took, and how often it made a difference."""
        took = sorted(self.took_s)
        return {"model": self.model, **self.counts, "p50_s": round(took[len(took) // 2], 2) if took else None}


def asking(address: str, *, limit_s: float) -> Ask:
    """Asks the model whose id is the last part of an address."""
    base_url, _, model = address.rpartition("/")
    return Ask(base_url, model, limit_s)
