"""Trains the demonstration model from scratch on the CPU, with a corpus that is generated during training.

    python -m models.demo.train --seed 0 --out models/demo/runs/0

The batch of a step depends only on the seed and the step's number, so a resumed run sees the same data as
an uninterrupted one. The learning rate warms up, stays, and falls to zero over a cycle's last `--decay`
steps; there can be several cycles, and the defaults are those of the checked-in weights. A run can be
paused with SIGSTOP. It saves its state every few minutes, and continues from there when it is started
again with the same options.
"""

import argparse
import copy
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from models.demo.corpus import GRAMMAR, Writer, dialogues
from models.demo.encoding import Rows, encode, pack
from models.demo.grammar import Grammar, load
from models.demo.network import Network, Shape, export, parameter_count
from models.demo.optimiser import build
from models.demo.tokenizer import train_tokenizer

TOKENIZER_DIALOGUES = 3000
SAVE_EVERY_S = 300.0
LONG_SHARE = 0.12
"""Share of the steps, at the end, that have rows of twice the length, for longer conversations."""


def make_tokenizer(seed: int, shape: Shape) -> Any:
    """Train the tokenizer on the corpus's first dialogues."""
    corpus = islice(dialogues(f"{seed}-tokenizer", "train"), TOKENIZER_DIALOGUES)
    texts = (
        " " * (message["role"] == "user") + (message["content"] or json.dumps(message.get("tool_calls")))
        for dialogue in corpus
        for message in [*dialogue.messages, {"role": "tools", "content": json.dumps(dialogue.tools)}]
    )
    return train_tokenizer(texts, shape.vocab, shape.max_length)


def batch(grammar: Grammar, tokenizer: Any, key: str, rows: int, length: int) -> Rows:
    """Compose the rows that belong to `key`."""
    writer = Writer(grammar, key, "held_out" if key.endswith("held_out") else "train")
    return pack((encode(writer.write(), tokenizer) for _ in iter(int, 1)), rows, length, tokenizer.pad_token_id)


def learning_share(step: int, steps: int, warmup: int, decay: int) -> float:
    """Return the learning rate's share of its peak: trapezoid."""
    return max(0.0, min((step + 1) / warmup, (steps - step) / decay, 1.0))


def loss_of(network: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the summed weighted cross-entropy of rows (batch, length)."""
    logits = network(ids[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum()


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
def held_out_figures(network: torch.nn.Module, rows: Rows) -> dict[str, float]:
    """Return the assistant's loss per token and the share of copied proper nouns all of whose tokens lead."""
    loss, count, right, spans = 0.0, 0, 0, 0
    for ids, weights, marks in zip(*(torch.from_numpy(a).split(4) for a in vars(rows).values()), strict=True):
        logits = network(ids[:, :-1])
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        own = (weights[:, 1:] == 1.0).flatten()
        loss, count = loss + float(losses[own].sum()), count + int(own.sum())
        hit = logits.argmax(-1) == ids[:, 1:]
        for row_hit, row_marks in zip(hit, marks[:, 1:], strict=True):
            for number in range(1, int(row_marks.max()) + 1):
                spans += 1
                right += bool(row_hit[row_marks == number].all())
    return {"loss": loss / count, "copy_accuracy": right / max(spans, 1), "spans": spans}


def sharing(network: Network) -> Network:
    """Return a copy of `network` on the same weights, with gradients of its own."""
    replica = copy.deepcopy(network)
    for own, other in zip(network.parameters(), replica.parameters(), strict=True):
        other.data = own.data
    return replica


class Run:
    """A training run's state: network, optimisers, step, and when the learning rate began to fall."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        self.network = Network(Shape(layers=options.layers, heads=options.heads))
        self.optimisers = build(self.network, options.matrix_lr, options.other_lr)
        self.replicas = [self.network, *(sharing(self.network) for _ in range(options.workers - 1))]
        self.pool = ThreadPoolExecutor(options.workers)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.log: list[dict[str, float]] = []
        if (self.out / "state.pt").exists():
            self.resume()

    def resume(self) -> None:
        """Continue from the last saved state."""
        state = torch.load(self.out / "state.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.log = state["log"]

    def save(self) -> None:
        """Save the state; if interrupted, the previous state stays."""
        state = {name: getattr(self, name) for name in ("step", "tokens", "seconds", "log")}
        state |= {"network": self.network.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers]}
        torch.save(state, self.out / "state.part")
        (self.out / "state.part").rename(self.out / "state.pt")

    def update(self, rows: Rows, share: float) -> float:
        """Take one step on `rows` at a `share` of the peak learning rate; return the mean weighted loss."""
        total = float(rows.weights[:, 1:].sum())
        parts = [torch.from_numpy(array).chunk(len(self.replicas)) for array in (rows.ids, rows.weights)]
        loss = sum(self.pool.map(self.gradients, self.replicas, *parts, repeat(total)))
        for own, *others in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            for other in others:
                own.grad += other.grad
                other.grad = None
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * share
        list(self.pool.map(lambda optimiser: optimiser.step(), self.optimisers))
        self.network.zero_grad(set_to_none=True)
        self.tokens += int((rows.weights > 0).sum())
        self.step += 1
        return loss

    def gradients(self, replica: Network, ids: torch.Tensor, weights: torch.Tensor, total: float) -> float:
        """Add the gradients of some rows to `replica`; return their share of the loss."""
        loss, size = 0.0, max(1, self.options.micro_tokens // ids.shape[1])
        for some_ids, some_weights in zip(ids.split(size), weights.split(size), strict=True):
            part = loss_of(replica, some_ids, some_weights) / total
            part.backward()
            loss += float(part.detach())
        return loss


def train(options: argparse.Namespace) -> None:
    """Train, and write the checkpoint and `report.json` to `--out`."""
    # One thread per operation: on busy cores, threads that synchronise once a step are faster than threads
    # that synchronise in every operation.
    torch.set_num_threads(1)
    run = Run(options)
    grammar, tokenizer = load(GRAMMAR), make_tokenizer(options.seed, run.network.shape)
    held = batch(grammar, tokenizer, f"{options.seed}-held_out", 16, 512)
    print(f"{parameter_count(run.network):,} parameters, from step {run.step}", flush=True)
    for steps, decay in zip(options.steps, options.decay, strict=True):
        cycle(run, grammar, tokenizer, held, steps, decay)
    run.save()
    export(run.network, tokenizer, run.out / "checkpoint")
    report = {
        "options": {name: value for name, value in vars(options).items() if name != "out"},
        "shape": asdict(run.network.shape),
        "parameters": parameter_count(run.network),
        "steps": run.step,
        "tokens": run.tokens,
        "seconds": round(run.seconds),
        "held_out": run.log,
    }
    (run.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def cycle(run: Run, grammar: Grammar, tokenizer: Any, held: Rows, steps: int, decay: int) -> None:
    """Train up to step `steps`, with the learning rate falling over the last `decay` steps."""
    saved = last = time.monotonic()
    while run.step < steps:
        long = run.step >= steps * (1 - LONG_SHARE)
        rows, length = (run.options.rows // 2, 1024) if long else (run.options.rows, 512)
        share = learning_share(run.step, steps, run.options.warmup, decay)
        loss = run.update(batch(grammar, tokenizer, f"{run.options.seed}-{run.step}", rows, length), share)
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        if run.step % 10 == 0:
            rate, eta_s = run.tokens / run.seconds, (run.options.steps[-1] - run.step) * run.seconds / run.step
            progress = f"step {run.step}/{run.options.steps[-1]}"
            print(f"{progress} loss {loss:.3f} {rate:.0f} tok/s ETA {eta_s / 60:.1f} min", flush=True)
        if run.step % run.options.evaluate_every == 0 or run.step == steps:
            run.log.append({"step": run.step, "tokens": run.tokens, **held_out_figures(run.network, held)})
            print("held out:", json.dumps(run.log[-1]), flush=True)
        if now - saved > SAVE_EVERY_S:
            run.save()
            saved = now


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="models/demo/runs/0")
    parser.add_argument("--steps", type=int, nargs="+", default=[576, 740], help="step at which each cycle ends")
    parser.add_argument("--decay", type=int, nargs="+", default=[172, 270], help="steps each fall takes")
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--rows", type=int, default=8, help="rows of 512 tokens in a step")
    parser.add_argument("--micro-tokens", type=int, default=1024, help="tokens in one forward pass")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--matrix-lr", type=float, default=0.02, help="Muon's peak learning rate")
    parser.add_argument("--other-lr", type=float, default=0.003, help="AdamW's peak learning rate")
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="threads, each on a share of the rows")
    return parser.parse_args()


if __name__ == "__main__":
    train(parse())
