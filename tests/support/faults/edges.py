"""Applications of a service under fault, and the environment of a gateway process that Gemini answers for."""

import json
import secrets

from tests.support.faults.aftermath import App
from tests.support.gateway_process import GatewayProcess, make_key
from tests.support.servers.gemini import GeminiServer

TIER_NAME = "faulty"


def with_gemini(gemini: GeminiServer, *, timeout_s: float = 15, requests_per_minute: int = 100_000) -> dict[str, str]:
    """The environment of a gateway process that may ask Gemini, and knows the faults' tier."""
    outside = {
        "model": "gemini-2.5-flash",
        "base_url": gemini.url,
        "ttft_timeout_s": timeout_s,
        "stall_timeout_s": timeout_s,
    }
    limits = {"tokens_per_day": 10_000_000, "requests_per_minute": requests_per_minute}
    return {
        "GEMINI_API_KEY": gemini.key,
        "BONDHU__EXTERNAL": json.dumps({"gemini": outside}),
        "BONDHU__TIERS": json.dumps({TIER_NAME: limits}),
    }


def app_of(gateway: GatewayProcess) -> App:
    """An application of a gateway process."""
    return new_app(gateway.url, gateway.database_url, gateway.redis.url)


def new_app(url: str, database_url: str, redis_url: str) -> App:
    """An application with both its keys stored."""
    name = f"fault-{secrets.token_hex(4)}"
    made = [make_key(database_url, name, tier=TIER_NAME, allow_external=allows) for allows in (False, True)]
    return App(name, *made, url, database_url, redis_url)
