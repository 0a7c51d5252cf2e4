"""The shape of every configuration file, as frozen pydantic models that reject unknown keys; a module for each section.

It knows names, types, units and defaults, but not where a value came from (`serving.config.load`) or what vLLM's
arguments are (`models.vllm.arguments`). `docs/configuration.md` is generated from these classes. Other packages import
them from here.
"""

from serving.config.schema.agents import AgentLimitsSettings, AgentsSettings, ServicesSettings
from serving.config.schema.backends import (
    BackupSettings,
    DatabaseSettings,
    LedgerSettings,
    RaySettings,
    RedisSettings,
    WorkerSettings,
)
from serving.config.schema.cache import CacheSettings, SemanticCacheSettings
from serving.config.schema.deployment import AutoscalingSpec, DeploymentSpec, GrammarsSpec
from serving.config.schema.embedding import BatchedSpec, EmbedderSettings, EmbedderSpec, RerankerSettings
from serving.config.schema.external import ExternalSpec, TokenPrice
from serving.config.schema.gateway import AdmissionSettings, GatewaySettings, Port, StreamsSettings
from serving.config.schema.jobs import JobScheduleSpec, JobsSettings
from serving.config.schema.memory import ChatMemorySettings, ExtractionSettings, MemorySettings
from serving.config.schema.model_file import (
    DEFAULT_MAX_IN_FLIGHT,
    MODEL_ID,
    NEVER,
    AdapterSpec,
    LlamaCppSpec,
    MediaPart,
    ModelSpec,
    Profile,
    Requirements,
    WeightsSource,
)
from serving.config.schema.observability import DoctorSettings, LogFormat, LogLevel, ObservabilitySettings
from serving.config.schema.rollout import CanarySpec, CheckSpec
from serving.config.schema.safety import ConsentSettings, GuardSpec, SafetySettings
from serving.config.schema.settings import ModelsSettings, ServiceFile, Settings
from serving.config.schema.tiers import DEFAULT_TIERS, Costly, StructuredOutputsSpec, TierName, TierSpec

__all__ = [
    "DEFAULT_MAX_IN_FLIGHT",
    "DEFAULT_TIERS",
    "MODEL_ID",
    "NEVER",
    "AdapterSpec",
    "AdmissionSettings",
    "AgentLimitsSettings",
    "AgentsSettings",
    "AutoscalingSpec",
    "BackupSettings",
    "BatchedSpec",
    "CacheSettings",
    "CanarySpec",
    "ChatMemorySettings",
    "CheckSpec",
    "ConsentSettings",
    "Costly",
    "DatabaseSettings",
    "DeploymentSpec",
    "DoctorSettings",
    "EmbedderSettings",
    "EmbedderSpec",
    "ExternalSpec",
    "ExtractionSettings",
    "GatewaySettings",
    "GrammarsSpec",
    "GuardSpec",
    "JobScheduleSpec",
    "JobsSettings",
    "LedgerSettings",
    "LlamaCppSpec",
    "LogFormat",
    "LogLevel",
    "MediaPart",
    "MemorySettings",
    "ModelSpec",
    "ModelsSettings",
    "ObservabilitySettings",
    "Port",
    "Profile",
    "RaySettings",
    "RedisSettings",
    "Requirements",
    "RerankerSettings",
    "SafetySettings",
    "SemanticCacheSettings",
    "ServiceFile",
    "ServicesSettings",
    "Settings",
    "StreamsSettings",
    "StructuredOutputsSpec",
    "TierName",
    "TierSpec",
    "TokenPrice",
    "WeightsSource",
    "WorkerSettings",
]
