"""Quantises a Llama or Mistral checkpoint to compressed-tensors, a format that vLLM loads.

    python -m models.quantize SOURCE OUT --scheme W4A16 --group-size 32
    python -m models.quantize SOURCE OUT --scheme W8A8
    python -m models.quantize SOURCE OUT --scheme W4A16 --gptq --calibration lines.txt

SOURCE is a local checkpoint or a hub id. Without `--gptq`, weights are rounded to nearest, and no data is
needed. With it, llm-compressor's GPTQ (arXiv:2210.17323) rounds so that each layer's output on the
calibration text changes as little as possible; that file has one sample a line, with chat markup.

llm-compressor needs other versions of transformers and compressed-tensors than the engine has, so install
it in a virtual environment of its own:

    python -m venv .venv-quantize
    .venv-quantize/bin/pip install llmcompressor==0.14.0.1 torch==2.13.0+cpu   # GPU: torch==2.13.0
    .venv-quantize/bin/python -m models.quantize SOURCE OUT

OUT appears complete or not at all: it is written beside its final path and renamed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")
SCHEMES = ("W4A16", "W8A8")
TOKENIZER_FILES = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


class QuantizeError(Exception):
    """The checkpoint cannot be quantised; the message says what would be accepted."""


def check_source(config: dict[str, Any], group_size: int, scheme: str) -> None:
    """Raise `QuantizeError` if this module cannot quantise a model with `config` (a `config.json`)."""
    architectures = config.get("architectures") or []
    if not set(architectures) & set(ARCHITECTURES):
        raise QuantizeError(f"architectures {architectures}: only {' and '.join(ARCHITECTURES)} are accepted")
    if config.get("quantization_config"):
        raise QuantizeError("the checkpoint is already quantised: use the original weights")
    for name in ("hidden_size", "intermediate_size"):
        if scheme == "W4A16" and config[name] % group_size:
            raise QuantizeError(f"{name} {config[name]} is not a multiple of the group size {group_size}")


def scheme_arguments(scheme: str, group_size: int) -> dict[str, Any]:
    """Return compressed-tensors' arguments for the number formats of weights and activations."""
    if scheme == "W4A16":
        weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group_size}
        return {"weights": weights}
    return {
        "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
        "input_activations": {
            "num_bits": 8,
            "type": "int",
            "symmetric": True,
            "strategy": "token",
            "dynamic": True,
        },
    }


def build_recipe(scheme: str, group_size: int, gptq: bool) -> Any:
    """Return llm-compressor's modifier for all linear layers except the output head."""
    from compressed_tensors.quantization import QuantizationScheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier

    group = QuantizationScheme(targets=["Linear"], **scheme_arguments(scheme, group_size))
    modifier = GPTQModifier if gptq else QuantizationModifier
    return modifier(config_groups={"group_0": group}, ignore=["lm_head"])


def calibration_rows(path: Path, tokenizer: Any, max_length: int) -> Any:
    r"""Return a tokenised dataset of the lines (`\n` escapes are decoded), at most `max_length` tokens each."""
    from datasets import Dataset

    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise QuantizeError(f"{path} has no calibration text")
    rows = [
        tokenizer(line.replace("\\n", "\n"), truncation=True, max_length=max_length, add_special_tokens=False)
        for line in lines
    ]
    return Dataset.from_list([{k: row[k] for k in ("input_ids", "attention_mask")} for row in rows])


def quantize(source: str, out: Path, scheme: str, group_size: int, calibration: Path | None) -> None:
    """Quantise `source` into the new directory `out`; with `calibration`, by GPTQ."""
    try:
        import torch
        from llmcompressor import oneshot
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise QuantizeError(f"{error.name} is missing: run this in the environment that `--help` describes") from error
    if out.exists():
        raise QuantizeError(f"{out} already exists")
    check_source(AutoConfig.from_pretrained(source).to_dict(), group_size, scheme)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(source)
    data: dict[str, Any] = {}
    if calibration is not None:
        rows = calibration_rows(calibration, tokenizer, max_length=2048)
        data = {"dataset": rows, "num_calibration_samples": len(rows), "max_seq_length": 2048}
    oneshot(model=model, recipe=build_recipe(scheme, group_size, calibration is not None), **data)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        complete = Path(scratch) / "complete"
        model.save_pretrained(complete, save_compressed=True)
        tokenizer.save_pretrained(complete)
        copy_tokenizer(source, complete)
        complete.rename(out)


def copy_tokenizer(source: str, out: Path) -> None:
    """Copy the source's own tokenizer files unchanged, if the source is a local directory."""
    for name in TOKENIZER_FILES:
        if (file := Path(source) / name).is_file():
            shutil.copyfile(file, out / name)
    for file in out.iterdir():
        file.chmod(0o644)
    (out / "recipe.yaml").unlink(missing_ok=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.quantize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="checkpoint directory or hub id, Llama or Mistral architecture")
    parser.add_argument("out", type=Path, help="directory to create")
    parser.add_argument("--scheme", choices=SCHEMES, default="W4A16")
    parser.add_argument("--group-size", type=int, default=32, help="weights that share a scale (W4A16)")
    parser.add_argument("--gptq", action="store_true", help="round by GPTQ; needs --calibration")
    parser.add_argument("--calibration", type=Path, help="text file, one sample a line")
    options = parser.parse_args(arguments)
    if options.gptq != (options.calibration is not None):
        parser.error("--gptq needs --calibration, and the other way round")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Quantise as the command line says; the exit status is 1 if that is not possible."""
    options = parse(arguments)
    try:
        quantize(options.source, options.out, options.scheme, options.group_size, options.calibration)
    except QuantizeError as error:
        print(f"quantize: {error}", file=sys.stderr)  # noqa: T201  # a command's own message
        return 1
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(json.dumps({"out": str(options.out), "scheme": options.scheme, "size_bytes": size}))  # noqa: T201  # its result
    return 0


if __name__ == "__main__":
    sys.exit(main())
