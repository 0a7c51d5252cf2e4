"""Generates a model's answers to the evaluation's prompts in batches, by greedy decoding, on a CPU or a GPU.

    python -m models.companion.generate --base BASE --adapter ADAPTER --prompts prompts.jsonl --out adapter.jsonl

The model is a checkpoint, with an adapter or without. A prompt has messages, optionally tools, and either a `reply`
whose loss is computed, or the `max_tokens` of an answer; `turns` are the user's next messages, one after each answer.
It needs torch, transformers and peft; it does not know which answers are right (`models.companion.evaluate`).

Answers are written after every few prompts, and those that are there already are kept: what was interrupted, or was
ended by `--stop-after-s`, goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from models.companion.rows import read_tokenizer

TOKENS_AT_ONCE = {"cpu": 6_000, "cuda": 120_000}
PROMPTS_AT_ONCE = {"cpu": 24, "cuda": 2_000}
"""Answers of so many prompts are written at once."""


class Subject:
    """A model under test."""

    def __init__(self, base: Path, adapter: Path | None, device: str) -> None:
        self.device = device
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        self.model = model.to(device).eval()
        self.tokenizer = read_tokenizer(base, padding_side="left")
        self.end = self.model.generation_config.eos_token_id
        self.max_tokens = min(self.model.config.max_position_embeddings, 4096)

    def prompt(self, messages: Sequence[Any], tools: Any) -> list[int]:
        """The token ids of a conversation before a reply; if it is too long, its beginning is cut off."""
        text = self.tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])[-(self.max_tokens - 512) :]

    def padded(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows padded on the left, and their mask."""
        width = max(map(len, rows))
        ids = torch.tensor([[self.tokenizer.pad_token_id or 0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def answers(self, rows: Sequence[list[int]], max_tokens: int) -> list[str]:
        """The answer to each prompt."""
        ids, mask = self.padded(rows)
        settings: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        settings["pad_token_id"] = self.tokenizer.pad_token_id or 0
        out = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, **settings)
        texts = self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=False)
        special = [each for each in self.tokenizer.all_special_tokens if each]
        return [cut(text, special) for text in texts]

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def losses(self, rows: Sequence[list[int]], replies: Sequence[list[int]]) -> list[tuple[float, bool]]:
        """The summed loss of each reply, and whether greedy decoding would have generated exactly that reply."""
        ids, mask = self.padded([row + reply for row, reply in zip(rows, replies, strict=True)])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = self.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        losses = []
        for row, reply in enumerate(replies):
            own = logits[row, -len(reply) - 1 : -1].float()
            target = torch.tensor(reply, device=own.device)
            loss = float(torch.nn.functional.cross_entropy(own, target, reduction="sum"))
            losses.append((loss, bool((own.argmax(-1) == target).all())))
        return losses


def device_here() -> str:
    """The device to use: cuda if there is one, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def cut(text: str, special: Sequence[str]) -> str:
    """A text up to its first special token."""
    for each in special:
        text = text.partition(each)[0]
    return text.strip()


def grouped(prompts: Sequence[dict[str, Any]], sizes: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of each batch: prompts of similar length with the same `max_tokens`."""
    order = sorted(range(len(prompts)), key=lambda index: (prompts[index].get("max_tokens", 0), sizes[index]))
    group: list[int] = []
    for index in order:
        limit = prompts[index].get("max_tokens", 0)
        full = group and (len(group) + 1) * (sizes[index] + limit) > max_tokens
        if full or (group and prompts[group[0]].get("max_tokens", 0) != limit):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def run(subject: Subject, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer all prompts; one result each, in their order."""
    max_tokens = TOKENS_AT_ONCE[subject.device]
    results: list[dict[str, Any]] = [{"id": each["id"], "texts": []} for each in prompts]
    talks = [list(each["messages"]) for each in prompts]
    pending = [index for index, each in enumerate(prompts) if "reply" not in each]
    measured = [index for index, each in enumerate(prompts) if "reply" in each]
    rows = {index: subject.prompt(talks[index], prompts[index].get("tools")) for index in measured}
    replies = {
        index: [*subject.tokenizer(prompts[index]["reply"], add_special_tokens=False)["input_ids"]]
        for index in measured
    }
    sizes = [len(rows[index]) + len(replies[index]) for index in measured]
    vocabulary = int(subject.model.config.vocab_size)
    for group in grouped(
        [prompts[index] for index in measured], sizes, max(max_tokens // 3, max_tokens * 2048 // vocabulary)
    ):
        chosen = [measured[each] for each in group]
        losses = subject.losses([rows[each] for each in chosen], [replies[each] for each in chosen])
        for index, (loss, right) in zip(chosen, losses, strict=True):
            results[index] |= {"loss": loss, "tokens": len(replies[index]), "right": right}
    turn = 0
    while pending:
        started = time.monotonic()
        before = [subject.prompt(talks[each], prompts[each].get("tools")) for each in pending]
        for group in grouped([prompts[each] for each in pending], [len(each) for each in before], max_tokens):
            limit = prompts[pending[group[0]]]["max_tokens"]
            for index, text in zip(group, subject.answers([before[each] for each in group], limit), strict=True):
                results[pending[index]]["texts"].append(text)
                talks[pending[index]].append({"role": "assistant", "content": text})
        print(f"turn {turn + 1}: {len(pending)} answers in {time.monotonic() - started:.0f} s", flush=True)
        pending = [each for each in pending if len(prompts[each].get("turns", ())) > turn]
        for each in pending:
            talks[each].append({"role": "user", "content": prompts[each]["turns"][turn]})
        turn += 1
    return results


def answer_missing(subject: Subject, prompts: list[dict[str, Any]], out: Path, stop_after_s: float) -> None:
    """Answer those prompts that have no answer in `out` yet, and add theirs; none is begun after `stop_after_s`."""
    began = time.monotonic()
    done = {json.loads(line)["id"] for line in out.read_text(encoding="utf-8").splitlines()} if out.exists() else set()
    missing = [each for each in prompts if each["id"] not in done]
    size = PROMPTS_AT_ONCE[subject.device]
    for start in range(0, len(missing), size):
        if time.monotonic() - began > stop_after_s:
            print(f"{len(missing) - start} prompts have no answer yet", flush=True)
            return
        results = run(subject, missing[start : start + size])
        with out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in results)


def main() -> None:
    """Answer as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU; one is faster than two on busy cores")
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stop-after-s", type=float, default=float("inf"), help="begin no more prompts after this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    subject = Subject(options.base, options.adapter, device_here())
    prompts = [json.loads(line) for line in options.prompts.read_text(encoding="utf-8").splitlines()]
    answer_missing(subject, prompts, options.out, options.stop_after_s)


if __name__ == "__main__":
    main()
