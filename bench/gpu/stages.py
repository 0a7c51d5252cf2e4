"""The stages of the check, each a function from a started service to plain data.

A stage that fails raises; `bench.gpu.__main__` records that and goes on with the next. Latencies in milliseconds.
"""

import json
import os
import re
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.gpu.service import Service, Variant
from bench.load.generator import Block, Seen
from bench.load.process import LoadGenerator
from bench.percentiles import percentile
from bench.stack import StartFailed, Target, generates

TTFT_GOAL_MS, TPOT_GOAL_MS = 500.0, 30.0  # goodput counts requests that meet both
PERSONA = (
    "You are Bondhu, a warm friend. Answer in one or two short sentences, ask back now and then, use what you know of "
    "the person, and never invent facts about them. If you do not know something about them, say so."
)
PEAK_PER_S = 27.0  # of 10,000 people: 20 % active, 0.4 requests a minute each, peak twice the mean
PEAK_PROMPT_TOKENS, PEAK_OUTPUT_TOKENS = 512, 256
LOADED = re.compile(r"Model loading took ([\d.]+) ?GiB")
KV_CACHE = re.compile(r"Available KV cache memory: ([\d.]+) ?GiB")
KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: the same stages, small on a CPU."""

    concurrencies: Sequence[int]
    output_tokens: int
    block_s: float
    peak_per_s: float
    peak_s: float
    peak_prompt_tokens: int
    peak_output_tokens: int
    load_during_swap: int


FULL = Sizes((1, 32, 256), 64, 6.0, PEAK_PER_S, 60.0, PEAK_PROMPT_TOKENS, PEAK_OUTPUT_TOKENS, 16)
TINY = Sizes((1, 4), 16, 2.0, 2.0, 5.0, 128, 16, 2)


@dataclass
class Run:
    """What the stages share: the service, its key, the load generator, and where prompts were calibrated."""

    service: Service
    sizes: Sizes
    key: str
    generator: LoadGenerator
    seed: int = field(default_factory=lambda: int(time.time()))

    def gateway(self, model: str) -> Target:
        """A target through the gateway."""
        return self.service.through_gateway(self.key, model)

    def load(self, target: Target, **plan: Any) -> Seen:
        """One block of streamed load."""
        self.seed += 1
        defaults: dict[str, Any] = {"output_tokens": self.sizes.output_tokens, "warmup_s": 1.0, "system": PERSONA}
        block = Block(
            url=target.url, key=target.key, model=target.model, stream=True, seed=self.seed, **{**defaults, **plan}
        )
        return self.generator.run(block)


def describe(seen: Seen) -> dict[str, Any]:
    """A block in numbers: throughput, percentiles, goodput, and what failed."""
    good = sum(
        ttft <= TTFT_GOAL_MS and tpot <= TPOT_GOAL_MS for ttft, tpot in zip(seen.ttft_ms, seen.tpot_ms, strict=True)
    )
    return {
        "requests": seen.requests,
        "requests_per_s": round(seen.requests / seen.duration_s, 2),
        "output_tokens_per_s": round(seen.output_tokens / seen.duration_s, 1),
        "goodput_per_s": round(good / seen.duration_s, 2),
        "ttft_ms": {f"p{share}": percentile(seen.ttft_ms, share) for share in (50, 95, 99)},
        "tpot_ms": {f"p{share}": percentile(seen.tpot_ms, share) for share in (50, 95, 99)},
        "e2e_ms": {f"p{share}": percentile(seen.e2e_ms, share) for share in (50, 95, 99)},
        "failures": seen.errors,
        "load_generator_cpu_share": round(seen.cpu_share, 2),
    }


def chats(run: Run, model: str) -> dict[str, Any]:
    """One chat through the gateway, whole: who answered and how many tokens it took."""
    target = run.gateway(model)
    body = {
        "model": model,
        "messages": [
            {"role": "system", "content": PERSONA},
            {"role": "user", "content": "Hi! I am Maya. Who are you?"},
        ],
        "max_tokens": 48,
        "temperature": 0,
    }
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{target.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        document = json.load(answer)
        by = answer.headers["x-bondhu-model"]
    return {"by": by, "usage": document["usage"], "text": document["choices"][0]["message"]["content"][:200]}


def side_by_side(run: Run, variant: Variant) -> list[dict[str, Any]]:
    """The gateway beside the same engine asked directly, at each concurrency."""
    sides = {"gateway": run.gateway(variant.model), "bare": run.service.bondhu.engine(variant.model)}
    rows = []
    for concurrency in run.sizes.concurrencies:
        row: dict[str, Any] = {"concurrency": concurrency}
        for side, target in sides.items():
            row[side] = describe(run.load(target, concurrency=concurrency, duration_s=run.sizes.block_s))
        bare = row["bare"]["requests_per_s"]
        row["requests_per_s_ratio"] = round(row["gateway"]["requests_per_s"] / bare, 3) if bare else None
        rows.append(row)
    return rows


def peak(run: Run, variant: Variant) -> dict[str, Any]:
    """Poisson arrivals at the peak of 10,000 people on this one engine, through the gateway."""
    sizes, target = run.sizes, run.gateway(variant.model)
    words, prompt_tokens = _words_for(target, sizes.peak_prompt_tokens)
    seen = run.load(
        target,
        concurrency=32 if sizes is FULL else 2,
        rate_per_s=sizes.peak_per_s,
        warmup_s=3.0,
        duration_s=sizes.peak_s,
        output_tokens=sizes.peak_output_tokens,
        prompt_words=words,
    )
    return {
        "rate_per_s": sizes.peak_per_s,
        "prompt_tokens": prompt_tokens,
        "output_tokens": sizes.peak_output_tokens,
        **describe(seen),
    }


def swap(run: Run, to: Variant) -> dict[str, Any]:
    """`bondhu apply` to another quantisation while clients ask by the alias: no request may fail."""
    target, seen, ended = run.gateway("bondhu"), list[Seen](), threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            seen.append(run.load(target, concurrency=run.sizes.load_during_swap, duration_s=3.0, warmup_s=0.0))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    began = time.monotonic()
    try:
        run.service.serve(to.model)
        printed = run.service.bondhu.command("apply")
        took_s = time.monotonic() - began
        time.sleep(3)  # requests by the alias reach the new one
    finally:
        ended.set()
        asking.join()
    failures = sum((Counter(each.errors) for each in seen), Counter[str]())
    return {
        "took_s": round(took_s, 1),
        "requests_meanwhile": sum(each.answered for each in seen),
        "failures": dict(failures),
        "answered_by_afterwards": chats(run, "bondhu")["by"],
        "printed": printed[-400:],
    }


def killed(run: Run, variant: Variant) -> dict[str, Any]:
    """SIGKILL to the engine's own process; how long until it answers through the gateway again."""
    roles = run.service.bondhu.roles()
    pids = roles.get("vLLM EngineCore") or roles["vLLM API server"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    time.sleep(1)
    target = run.gateway(variant.model)
    while not generates(target):
        if time.monotonic() - began > 300:
            raise StartFailed("the engine did not come back within 300 s")
        time.sleep(0.5)
    return {"back_after_s": round(time.monotonic() - began, 1)}


def real(run: Run, active: Variant) -> dict[str, Any]:
    """The published small model with its adapter beside the big one: both answer; the adapter's speed at 32 at once."""
    service = run.service
    assert service.real_model, "only asked where there is one"
    service.serve(active.model, service.real_model)
    service.bondhu.command("apply")
    found: dict[str, Any] = {"base": chats(run, service.real_model)}
    model = service.real_model
    if service.adapter is not None:
        found["adapter"] = chats(run, service.adapter)
        model = service.adapter
    concurrency = 32 if run.sizes is FULL else 1
    found["load"] = describe(run.load(run.gateway(model), concurrency=concurrency, duration_s=run.sizes.block_s))
    return found


def memory(run: Run, variant: Variant) -> dict[str, Any]:
    """What vLLM itself says it took, beside what the model file of the published model of this shape says it needs.

    vLLM takes as much for its cache as it is allowed, and the check allows another share than that file does: weights
    and bytes a token are what can be compared.
    """
    log = run.service.engine_log(variant.model)

    def last(pattern: re.Pattern[str]) -> float | None:
        found = pattern.findall(log)
        return float(found[-1].replace(",", "")) if found else None

    return {
        "weights_gib": last(LOADED),
        "kv_cache_gib": last(KV_CACHE),
        "kv_cache_tokens": last(KV_TOKENS),
        "kv_bytes_per_token": run.service.shape.kv_bytes_per_token,
        "model_file_needs_gib": run.service.stated_gib(variant),
    }


def _words_for(target: Target, tokens: int) -> tuple[int, int]:
    """How many words make a prompt of about `tokens`, and how many tokens that prompt had."""
    words, found = tokens, 0
    for _ in range(3):
        found = _prompt_tokens(target, words)
        if abs(found - tokens) <= tokens * 0.02:
            break
        words = max(8, round(words * tokens / found))
    return words, found


def _prompt_tokens(target: Target, words: int) -> int:
    from bench.load.generator import requests

    block = Block(target.url, target.key, target.model, False, 1, 1, 0, 0, 1, prompt_words=words, system=PERSONA)
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{target.url}/v1/chat/completions", next(requests(block)), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return int(json.load(answer)["usage"]["prompt_tokens"])
