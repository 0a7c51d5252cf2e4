"""The whole configuration: configs/bondhu.yaml, and the settings that it makes together with the model files."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from serving.config.frozen import Frozen
from serving.config.schema.agents import AgentsSettings, ServicesSettings
from serving.config.schema.backends import (
    BackupSettings,
    DatabaseSettings,
    LedgerSettings,
    RaySettings,
    RedisSettings,
    WorkerSettings,
)
from serving.config.schema.cache import CacheSettings
from serving.config.schema.embedding import EmbedderSettings, RerankerSettings
from serving.config.schema.external import ExternalSpec, TokenPrice
from serving.config.schema.gateway import AdmissionSettings, GatewaySettings, StreamsSettings
from serving.config.schema.jobs import JobsSettings
from serving.config.schema.memory import MemorySettings
from serving.config.schema.model_file import ModelSpec, Profile
from serving.config.schema.observability import DoctorSettings, ObservabilitySettings
from serving.config.schema.safety import ConsentSettings, SafetySettings
from serving.config.schema.tiers import DEFAULT_TIERS, TierName, TierSpec

if TYPE_CHECKING:
    from serving.config.model_ids import ModelIds


class ModelsSettings(Frozen):
    """Which models of the catalogue are served."""

    active: str = Field(description="the model that the alias points to; the name of a file in configs/models/")
    also: tuple[str, ...] = Field(default=(), description="other models to serve beside the active one")
    alias: str = Field(default="bondhu", description="a model name that always means the active model")


class ServiceFile(Frozen):
    """configs/bondhu.yaml; a profile overlays any of it but `profile`."""

    profile: Profile = Field(default="cpu", description="the file of configs/profiles/ that overlays this one")
    var_dir: Path = Field(
        default=Path("var"), description="folder of all files written at run time; relative to the root"
    )
    runtime_dir: Path | None = Field(default=None, description="folder of sockets; none: in XDG_RUNTIME_DIR or /tmp")
    models: ModelsSettings
    embedder: EmbedderSettings = EmbedderSettings()
    reranker: RerankerSettings | None = Field(default=None, description="reranking of recall results; none: off")
    gateway: GatewaySettings = GatewaySettings()
    admission: AdmissionSettings = AdmissionSettings()
    streams: StreamsSettings = StreamsSettings()
    ray: RaySettings = RaySettings()
    redis: RedisSettings = RedisSettings()
    database: DatabaseSettings = DatabaseSettings()
    worker: WorkerSettings = WorkerSettings()
    jobs: JobsSettings = JobsSettings()
    agents: AgentsSettings = AgentsSettings()
    services: ServicesSettings = ServicesSettings()
    safety: SafetySettings = SafetySettings()
    ledger: LedgerSettings = LedgerSettings()
    backup: BackupSettings = BackupSettings()
    doctor: DoctorSettings = DoctorSettings()
    cache: CacheSettings = CacheSettings()
    memory: MemorySettings = MemorySettings()
    external: dict[str, ExternalSpec] = Field(
        default_factory=dict, description="external models, by an id of your choice"
    )
    prices: dict[str, TokenPrice] = Field(
        default_factory=dict,
        description="prices of external models by id: input_usd_per_mtok, output_usd_per_mtok, "
        "cached_input_usd_per_mtok",
    )
    consent: ConsentSettings = ConsentSettings()
    tiers: dict[TierName, TierSpec] = Field(default=DEFAULT_TIERS, min_length=1, description="limits of keys, by tier")
    observability: ObservabilitySettings = ObservabilitySettings()


class Settings(ServiceFile):
    """The complete configuration: absolute paths, and the catalogue of models by id."""

    root: Path
    runtime_dir: Path
    catalogue: dict[str, ModelSpec]

    def served(self) -> tuple[ModelSpec, ...]:
        """Return the models to run, the active one first."""
        return tuple(self.catalogue[name] for name in (self.models.active, *self.models.also))

    @cached_property
    def ids(self) -> "ModelIds":
        """Every model id that the configuration makes."""
        from serving.config.model_ids import declared  # here: it reads the classes of this module

        return declared(self, self.catalogue)

    def base_of(self, name: str) -> ModelSpec | None:
        """Return the model that `name` is, means, or is an adapter of; None for an id that no engine answers."""
        found = self.ids.find(name)
        return self.catalogue.get(found.file) if found else None

    @property
    def models_dir(self) -> Path:
        """The folder of fetched weights."""
        return self.var_dir / "models"
