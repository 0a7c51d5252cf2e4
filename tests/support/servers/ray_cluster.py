"""Ray Serve's REST API, the directory and the engines as an apply sees them, for tests of what it does in which order.

What is put runs at once, but models in `broken`, whose applications fail. Engines answer chats with `answers`.

    with RayCluster() as cluster:
        cluster.put(document)
        ...
        assert cluster.documents == [...]
"""

from typing import Any

from aiohttp import web

from serving.cluster.manifest import Manifest, engines_of, routes_of
from tests.support.gateway_process import free_port
from tests.support.servers.threaded import ThreadedServer

Json = dict[str, Any]


class RayCluster(ThreadedServer):
    """The servers; a context manager.

    Attributes:
        documents: what was put, in order.
        broken: models whose engines do not start.
        answers: the text of each model.
        asleep: models whose engines sleep until they are woken.
        traffic: what gateways counted, by fingerprint; each reading adds `more`.

    """

    def __init__(self) -> None:
        self.port = free_port()
        super().__init__(self.port)
        self.documents: list[Manifest] = []
        self.broken: set[str] = set()
        self.answers: dict[str, str] = {}
        self.asleep: set[str] = set()
        self.traffic: dict[str, Json] = {}
        self.more: dict[str, Json] = {}
        self.reports: Json = {}  # added to each replica's report

    @property
    def document(self) -> Manifest:
        """What runs."""
        return self.documents[-1]

    def _serve(self, app: web.Application) -> None:
        app.router.add_get("/api/serve/applications/", self._applications)
        app.router.add_put("/api/serve/applications/", self._put)
        app.router.add_get("/directory", self._directory)
        app.router.add_post("/directory", self._note)
        app.router.add_post("/v1/chat/completions", self._chat)

    async def _put(self, request: web.Request) -> web.Response:
        self.documents.append(await request.json())
        return web.Response()

    async def _applications(self, _: web.Request) -> web.Response:
        found = {}
        for app in self.document["applications"] if self.documents else ():
            is_broken = app.get("args", {}).get("model") in self.broken
            found[app["name"]] = {
                "status": "DEPLOY_FAILED" if is_broken else "RUNNING",
                "message": "EngineStartError: the weights are cut off" if is_broken else "",
                "deployed_app_config": app,
                "deployments": {},
            }
        return web.json_response({"applications": found})

    async def _directory(self, _: web.Request) -> web.Response:
        replicas = [self._report(app) for app in engines_of(self.document) if app["args"]["model"] not in self.broken]
        for fingerprint, more in self.more.items():
            known = self.traffic.setdefault(fingerprint, dict.fromkeys(more, 0))
            self.traffic[fingerprint] = {key: known[key] + more[key] for key in more}
        answer = {"routing": routes_of(self.document), "replicas": replicas, "traffic": self.traffic}
        return web.json_response(answer)

    async def _note(self, request: web.Request) -> web.Response:
        self.asleep -= set((await request.json())["used"])
        return await self._directory(request)

    def _report(self, app: Json) -> Json:
        adapters = (app["deployments"][0].get("user_config") or {}).get("adapters", {})
        return {
            "replica_id": app["name"],
            "epoch": 1,
            "model": app["args"]["model"],
            "fingerprint": app["args"]["fingerprint"],
            "revision": "r",
            "quantization": "none",
            "adapters": {name: each["revision"] for name, each in adapters.items()},
            "state": "asleep" if app["args"]["model"] in self.asleep else "ready",
            "reason": "",
            "address": self.url,
            "key": "engine-key",
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
            **self.reports,
        }

    async def _chat(self, request: web.Request) -> web.Response:
        body: Json = await request.json()
        message = {"role": "assistant", "content": self.answers.get(body["model"], "")}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"choices": choices, "usage": {"completion_tokens": 3}})
