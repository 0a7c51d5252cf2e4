"""Gemini's registration. It imports the client, and with it Google's SDK, only when a model is made."""

from models.provider import Provider, ProviderModel, ProviderOptions


def _open(options: ProviderOptions) -> ProviderModel:
    from models.gemini.client import Gemini

    return Gemini(
        model=options.model,
        api_key=options.api_key,
        base_url=options.base_url,
        thinking_tokens=options.thinking_tokens,
        ttft_timeout_s=options.ttft_timeout_s,
        stall_timeout_s=options.stall_timeout_s,
        total_timeout_s=options.total_timeout_s,
        max_answer_bytes=options.max_answer_bytes,
        now=options.now,
        new_id=options.new_id,
    )


PROVIDER = Provider("gemini", "GEMINI_API_KEY", _open)
