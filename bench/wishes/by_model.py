"""A model that finds requests about memory, asked as the service asks it, beside the patterns."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from memory.intents.detector import Detected
from memory.intents.model_answer import combined, is_worth_asking
from models.chat import ChatFailure
from models.openai_chat import OpenAIChat
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
        if not is_worth_asking(text):
            self.counts["not asked"] += 1
            return by_patterns
        if self.limit_s and time.monotonic() - self.began_s > self.limit_s:
            self.counts["too late"] += 1
            return by_patterns
        began_s = time.monotonic()
        async with aiohttp.ClientSession() as session:
            key = os.environ.get("BONDHU_API_KEY", "")
            chat = OpenAIChat(session, base_url=self.base_url, model=self.model, api_key=key, timeout_s=TIMEOUT_S)
            try:
                answer = (await chat.complete(request_about(text))).text
            except ChatFailure:
                self.counts["failed"] += 1
                return by_patterns
        self.took_s.append(time.monotonic() - began_s)
        found = combined(text, by_patterns, answer)
        self.counts["as the patterns" if found == by_patterns else "otherwise"] += 1
        return found

    def summary(self) -> dict[str, object]:
        """What was asked, how long it took, and how often it made a difference."""
        took = sorted(self.took_s)
        return {"model": self.model, **self.counts, "p50_s": round(took[len(took) // 2], 2) if took else None}


def asking(address: str, *, limit_s: float) -> Ask:
    """Asks the model whose id is the last part of an address."""
    base_url, _, model = address.rpartition("/")
    return Ask(base_url, model, limit_s)
