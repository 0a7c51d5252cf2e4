"""What `cached_tokens` tells of others, on a real engine: nothing, though they know the whole prompt."""

import secrets
from typing import Any

import httpx
import pytest

from tests.support.local_stack import LocalStack

TIMEOUT_S = 120.0
BLOCK_TOKENS = 128  # of vLLM on a CPU


@pytest.fixture
def prompt() -> str:
    """Return some blocks of words that nobody has sent before."""
    return " ".join(secrets.token_hex(2) for _ in range(100)) + " The words above are nobody's business."


def key_of(stack: LocalStack, app: str) -> str:
    """Make a key of an application."""
    made = stack.bondhu("keys", "create", "--app", app, "--tier", "admin")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def cached(
    stack: LocalStack, key: str, path: str, body: dict[str, Any], user: str = "", memory: str = ""
) -> int | None:
    """Ask, past the cache of answers; how much of the prompt the engine had, None when the request was refused."""
    headers = {"authorization": f"Bearer {key}", "x-bondhu-cache": "off"}
    headers |= ({"x-bondhu-user": user} if user else {}) | ({"x-bondhu-memory": memory} if memory else {})
    request = {"model": "bondhu", "max_tokens": 1, "temperature": 0} | body
    answer = httpx.post(stack.url + path, headers=headers, json=request, timeout=TIMEOUT_S)
    if answer.status_code == 400:
        return None
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert usage["prompt_tokens"] > 2 * BLOCK_TOKENS
    return int((usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_no_application_learns_of_anothers_prompt(stack: LocalStack, prompt: str, path: str) -> None:
    """Its own it finds again; of another's, known word for word, not one token, whatever salt it sends along."""
    body = {"prompt": prompt} if path == "/v1/completions" else {"messages": [{"role": "user", "content": prompt}]}
    one, two = key_of(stack, "cache-one"), key_of(stack, "cache-two")
    assert cached(stack, one, path, body) == 0
    assert (cached(stack, one, path, body) or 0) >= BLOCK_TOKENS
    assert cached(stack, two, path, body) == 0
    for number, guess in enumerate(("cache-one", one)):
        stranger = key_of(stack, f"cache-guess-{number}")
        assert cached(stack, stranger, path, body | {"cache_salt": guess}) in (None, 0)


def test_no_person_learns_of_anothers_memory(stack: LocalStack, prompt: str) -> None:
    """In one application, a chat with memory finds its own person's prompt again, and nobody else's."""
    key, path = key_of(stack, "cache-memory"), "/v1/chat/completions"
    body = {"messages": [{"role": "system", "content": prompt}, {"role": "user", "content": "Hello"}]}
    assert cached(stack, key, path, body, "ann", "on") == 0
    assert (cached(stack, key, path, body, "ann", "on") or 0) >= BLOCK_TOKENS
    assert cached(stack, key, path, body, "ben", "on") == 0
    assert cached(stack, key, path, body, "ann", "off") == 0
