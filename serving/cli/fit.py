"""`bondhu models fit`: which models of the catalogue fit this machine, with how many conversations at what length.

For a GPU by the formula of docs/models.md, without a load: weights, KV cache, and a fixed rest. For a CPU by the memory
that the model file states, and the conversations that its engine is configured for.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.cli.console import out, settings_or_exit
from serving.config.schema import LlamaCppSpec, ModelSpec
from serving.supervisor.machine import Gpu, Machine

GIB = 2**30
KV_BLOCK_TOKENS = 128  # of vLLM's CPU build
SHORT_TOKENS = 4096  # a usual conversation, for the second figure


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits, and what it then holds.

    `lengths` has the number of conversations at once by their length in tokens.
    """

    id: str
    where: str
    fits: bool
    needs_gib: float | None
    lengths: dict[int, int]
    why: str = ""


def fit(
    gpu_memory: Annotated[
        float | None, typer.Option(help="Compute for a card with so many GiB, instead of this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Show which models fit this machine, or a card that you name, with how many conversations at what length."""
    settings = settings_or_exit()
    machine = Machine()
    gpus = machine.gpus() or ()
    if gpu_memory is not None:
        gpus = (Gpu(f"a card of {gpu_memory:g} GiB", int(gpu_memory * GIB), 99.0),)
    memory_gib = machine.available_memory_bytes() / GIB
    card = max(gpus, key=lambda gpu: gpu.memory_bytes, default=None)
    found = [each for spec in settings.catalogue.values() for each in fits_of(spec, card, memory_gib)]
    found.sort(key=lambda each: (not each.fits, each.where, -(each.needs_gib or 0)))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    what = f"{card.name}, {card.memory_bytes / GIB:.1f} GiB" if card else "no GPU"
    out.print(f"{what}; {memory_gib:.1f} GiB of memory are available", markup=False)
    table = Table("", box=None)
    for heading in ("model", "on", "needs", "conversations at once, of tokens", ""):
        table.add_column(heading)
    for each in found:
        needs = "" if each.needs_gib is None else f"{each.needs_gib:.1f} GiB"
        lengths = ", ".join(f"{number} of {tokens:,}" for tokens, number in each.lengths.items())
        table.add_row("+" if each.fits else "-", each.id, each.where, needs, lengths, each.why)
    out.print(table)


def fits_of(spec: ModelSpec, card: Gpu | None, memory_gib: float) -> Iterator[Fit]:
    """Yield how the model fits the card, if it is for GPUs and says what it needs, and the host's memory."""
    if "gpu" in spec.profiles and spec.requires.gpu_memory_gib is not None:
        yield _on_gpu(spec, card)
    if "cpu" in spec.profiles:
        needs_gib = spec.requires.memory_gib
        fits = needs_gib is None or needs_gib <= memory_gib
        why = "" if fits else f"{memory_gib:.1f} GiB are available"
        yield Fit(spec.id, "CPU", fits, needs_gib, _on_cpu(spec), why)


def _on_gpu(spec: ModelSpec, card: Gpu | None) -> Fit:
    needs_gib = spec.requires.gpu_memory_gib
    if card is None:
        return Fit(spec.id, "GPU", fits=False, needs_gib=needs_gib, lengths={}, why="there is no GPU")
    share = spec.engine_arguments.get("gpu_memory_utilization")
    usable_gib = (share if isinstance(share, float) else 0.9) * card.memory_bytes / GIB
    capability = spec.requires.gpu_capability
    if capability is not None and card.capability < capability:
        why = f"it needs compute capability {capability:g}, the card has {card.capability:g}"
        return Fit(spec.id, "GPU", fits=False, needs_gib=needs_gib, lengths={}, why=why)
    shape, context = spec.requires.shape, spec.context_tokens
    lengths: dict[int, int] = {}
    if shape is not None and context is not None:
        most = {tokens: shape.conversations(tokens, usable_gib) for tokens in (context, min(SHORT_TOKENS, context))}
        lengths = {tokens: min(number, spec.max_in_flight) for tokens, number in most.items() if number > 0}
        fits = context in lengths
    else:
        fits = needs_gib is not None and needs_gib <= usable_gib
    why = "" if fits else f"an engine may use {usable_gib:.1f} GiB of the card"
    return Fit(spec.id, "GPU", fits=fits, needs_gib=needs_gib, lengths=lengths, why=why)


def _on_cpu(spec: ModelSpec) -> dict[int, int]:
    """The conversations that the engine's KV cache is configured for."""
    if spec.runs_llama_cpp:
        rules = spec.llama_cpp or LlamaCppSpec()
        return {rules.context_tokens: rules.parallel}
    arguments: dict[str, Any] = spec.engine_arguments
    blocks, context = arguments.get("num_gpu_blocks_override"), spec.context_tokens
    if not isinstance(blocks, int) or context is None:
        return {}
    tokens = blocks * KV_BLOCK_TOKENS
    return {context: min(tokens // context, spec.max_in_flight)}
