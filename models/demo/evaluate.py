"""Evaluates a checkpoint of the demonstration model: perplexity, copying, recall, sample dialogues.

    python -m models.demo.evaluate models/demo/checkpoint --against models/demo/quantised --out figures.json

Perplexity and copying are measured on held-out user templates and names; the probes are everyday phrasings
with names that are in no list. Everything runs in transformers, which also loads compressed-tensors
checkpoints. `--against` adds the figures of a second checkpoint, and how often both choose the same next
token. Only the sampling is random, and it is seeded.
"""

import argparse
import json
import math
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.demo.corpus import Dialogue, dialogues
from models.demo.encoding import Encoded, encode

SAMPLES = Path(__file__).with_name("sample_prompts.json")
PROBES = Path(__file__).with_name("probes.json")


class Subject:
    """A checkpoint under test."""

    def __init__(self, path: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def logits(self, encoded: Encoded) -> torch.Tensor:
        """Return next-token logits (length - 1, vocab) of a dialogue."""
        return self.model(torch.from_numpy(encoded.ids)[None, :-1]).logits[0]

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def reply(self, messages: list[dict[str, str]], seed: int | None = None, limit: int = 64) -> str:
        """Answer `messages`: greedily, or sampled as the generation config says when a seed is given."""
        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        if seed is not None:
            torch.manual_seed(seed)
        greedy = {"do_sample": False, "temperature": None, "top_p": None} if seed is None else {}
        out = self.model.generate(**ids, max_new_tokens=limit, **greedy)
        return str(self.tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def held_out_figures(subject: Subject, encoded: list[Encoded]) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Return loss figures over the assistant's tokens, and the leading tokens of every dialogue."""
    loss, tokens, right, spans, leading = 0.0, 0, 0, 0, []
    for each in encoded:
        logits = subject.logits(each)
        target, own = torch.from_numpy(each.ids[1:]), torch.from_numpy(each.weights[1:] == 1.0)
        loss += float(torch.nn.functional.cross_entropy(logits[own], target[own], reduction="sum"))
        tokens += int(own.sum())
        choice = logits.argmax(-1)
        leading.append(choice[own])
        hit, marks = choice == target, torch.from_numpy(each.spans[1:])
        for number in range(1, int(marks.max()) + 1):
            spans += 1
            right += bool(hit[marks == number].all())
    figures = {
        "perplexity": math.exp(loss / tokens),
        "copy_accuracy": right / spans,
        "assistant_tokens": tokens,
        "copied_names": spans,
    }
    return figures, leading


def probe(subject: Subject) -> dict[str, Any]:
    """Generate answers that must contain the user's own words."""
    probes = json.loads(PROBES.read_text(encoding="utf-8"))
    results: dict[str, Any] = {}
    for kind, cases in probes.items():
        held, missed = 0, []
        for case in cases:
            messages: list[dict[str, str]] = []
            reply = ""
            for user_text in case["user"]:
                messages.append({"role": "user", "content": user_text})
                reply = subject.reply(messages)
                messages.append({"role": "assistant", "content": reply})
            found = case["expect"].lower() in reply.lower()
            held += found
            missed += [] if found else [{"user": case["user"], "reply": reply}]
        results[kind] = {"right": held, "of": len(cases), "missed": missed}
    return results


def samples(subject: Subject) -> list[list[dict[str, str]]]:
    """Generate the fixed sample dialogues, each with its number as the seed; none is left out."""
    sampled = []
    for number, user_turns in enumerate(json.loads(SAMPLES.read_text(encoding="utf-8"))):
        messages: list[dict[str, str]] = []
        for turn, text in enumerate(user_turns):
            messages.append({"role": "user", "content": text})
            messages.append({"role": "assistant", "content": subject.reply(messages, seed=100 * number + turn)})
        sampled.append(messages)
    return sampled


def evaluate(path: Path, against: Path | None, count: int) -> dict[str, Any]:
    """Return all figures of the checkpoint at `path`, and those of `against`."""
    held: list[Dialogue] = list(islice(dialogues("evaluation", "held_out"), count))
    result: dict[str, Any] = {"held_out_dialogues": count}
    chosen = []
    for name, folder in [("checkpoint", path), ("against", against)]:
        if folder is None:
            continue
        started = time.monotonic()
        subject = Subject(folder)
        encoded = [encode(dialogue, subject.tokenizer) for dialogue in held]
        figures, leading = held_out_figures(subject, encoded)
        chosen.append(torch.cat(leading))
        result[name] = {"size_bytes": sum(f.stat().st_size for f in folder.iterdir()), **figures}
        result[name] |= {"probes": probe(subject), "samples": samples(subject)}
        print(f"{folder}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    if len(chosen) == 2:
        result["greedy_agreement"] = float((chosen[0] == chosen[1]).float().mean())
    return result


def main() -> None:
    """Evaluate as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--against", type=Path, help="a second checkpoint, such as the quantised one")
    parser.add_argument("--count", type=int, default=300, help="held-out dialogues")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = json.dumps(evaluate(options.checkpoint, options.against, options.count), indent=1, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
