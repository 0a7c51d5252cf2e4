"""From a request to the plan of its generation: its limits, its use of the cache, its memory and its targets.

It knows the collaborators, so that routes do not have to. A client's chat, an agent's run, the run's calls to a model
and a stream that another worker has begun: all get their plans here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import orjson

from agents.base import Agent
from memory.intents.executor import IntentExecutor
from memory.service import MemoryService
from serving.cache.directives import CacheDirectives
from serving.cache.response_cache import ResponseCache
from serving.chat_memory.for_agents import AgentRecollection
from serving.chat_memory.intent_model import AskModel, answer_of
from serving.chat_memory.session import ChatMemory
from serving.config.schema import ChatMemorySettings
from serving.errors import UnknownModel
from serving.generation.agent import AgentParts, AgentTarget
from serving.generation.catalogue import ModelCatalogue
from serving.generation.chain_model import ChainModel, TakenByTheRun
from serving.generation.degraded import Degraded
from serving.generation.fallback import FallbackChains
from serving.generation.pipeline import Generation, Plan
from serving.limits.limiter import Limiter
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.token_estimate import BYTES_PER_TOKEN, max_tokens_of, tokens_of
from serving.resilience.drain import Drain
from serving.safety.gate import SafetyGate

Memory = TypeVar("Memory", bound=ChatMemory)
NO_CACHE = CacheDirectives(reads=False, keeps=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """Who sends a request, and what it may use.

    Attributes:
        app: the application.
        user: its end user.
        tier: the key's tier.
        directives: of the response cache.
        tokens: estimate of the maximum tokens; None: estimated when it is planned.

    """

    app: str
    user: str | None
    tier: str
    directives: CacheDirectives = NO_CACHE
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Makes the plans of one gateway worker from its collaborators.

    `rules`: how much memory is added to a chat. `timeout_s`: of a whole request. `reserved_tokens`: those of a
    completion without a maximum of its own. The others are the worker's.
    """

    rules: ChatMemorySettings
    timeout_s: float
    reserved_tokens: int
    models: ModelCatalogue
    chains: FallbackChains
    agents: AgentParts
    limiter: Limiter
    answers: ResponseCache
    memory: MemoryService
    intents: IntentExecutor
    degraded: Degraded
    safety: SafetyGate
    drain: Drain
    now: Callable[[], datetime]

    def plan(self, request: GenerationRequest, terms: Terms) -> Plan:
        """The plan of a request."""
        agent = self.models.agent(request.model)
        tokens = terms.tokens
        if tokens is None:
            tokens = max_tokens_of(request.parsed, len(orjson.dumps(request.parsed)), self.reserved_tokens)
        memory: ChatMemory | None
        if agent is None:
            memory, directives = self._recollection(ChatMemory, request), terms.directives
            chain = self.chains.of(request.model)
        else:
            memory = of_run = self._recollection(AgentRecollection, request)
            directives = NO_CACHE
            chain = [self._run(agent, of_run, terms.directives)]
        return Plan(
            request=request,
            chain=chain,
            limiter=self.limiter,
            lookup=partial(self.answers.lookup, directives=directives),
            memory=memory,
            degraded=self.degraded,
            safety=self.safety,
            tier=terms.tier,
            tokens=tokens,
            timeout_s=self.timeout_s,
            drain=self.drain,
            is_repeatable=agent is None,
        )

    def _recollection(self, kind: type[Memory], request: GenerationRequest) -> Memory | None:
        if request.conversation is None:
            return None
        return kind(self.memory, self.intents, self.rules, request, tokens_of, self.now, self._asker(request))

    def _asker(self, request: GenerationRequest) -> AskModel | None:
        """Asks the model that agents use about requests about memory, if it is able; never an external one."""
        try:
            name = self.models.agents_model()
        except UnknownModel:
            return None
        if not self.agents.traits(name).detects_intents:
            return None
        inner = replace(request, conversation=None, allow_external=False, checks_safety=False)

        def generate(call: GenerationRequest, record: RequestRecord) -> Generation:
            return Generation(self._plan_of_call(call, NO_CACHE), record)

        async def ask(text: str, record: RequestRecord) -> str | None:
            model = ChainModel(name, request=inner, new_record=record.beside, generate=generate)
            return await answer_of(model, text, self.rules.detection_timeout_s)

        return ask

    def _run(self, agent: Agent, memory: AgentRecollection | None, directives: CacheDirectives) -> AgentTarget:
        """The target of an agent; `directives` apply to its calls to the model."""

        def generate(call: GenerationRequest, record: RequestRecord) -> Generation:
            return Generation(self._plan_of_call(call, directives), record)

        def model(request: GenerationRequest, record: RequestRecord) -> ChainModel:
            return ChainModel(self.models.agents_model(), request=request, new_record=record.part, generate=generate)

        return AgentTarget(agent, self.agents, memory, model)

    def _plan_of_call(self, request: GenerationRequest, directives: CacheDirectives) -> Plan:
        """The plan of a run's call to its model: like any other, except that the run has reserved the limits."""
        return Plan(
            request=request,
            chain=self.chains.of(request.model),
            limiter=TakenByTheRun(),
            lookup=partial(self.answers.lookup, directives=directives),
            memory=None,
            degraded=self.degraded,
            tier="",
            tokens=len(orjson.dumps(request.parsed)) // BYTES_PER_TOKEN,
            timeout_s=self.timeout_s,
            drain=self.drain,
        )
