"""Converts a GGUF file back to a checkpoint: safetensors in bfloat16, config, tokenizer.

It supports Llama's architecture with a byte-level BPE tokenizer. The weights are dequantised, which does not restore
the lost precision. llama.cpp stores the rows of Q and K in another order (`convert_hf_to_gguf.py`,
`LlamaModel.permute`), which is undone. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import save_file

from models.fetch.errors import FetchError

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL, _USER_DEFINED = 3, 4  # gguf.TokenType
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
# How text is cut before merges, by llama.cpp's name for it (`tokenizer.ggml.pre`).
_PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [{**_BYTE_LEVEL, "use_regex": True}],
    "smollm": [{"type": "Digits", "individual_digits": True}, {**_BYTE_LEVEL, "use_regex": True}],
    "llama-bpe": [
        {"type": "Split", "pattern": {"Regex": _LLAMA3_SPLIT}, "behavior": "Isolated", "invert": False},
        {**_BYTE_LEVEL, "use_regex": False},
    ],
}
_INSTEAD = "serve it as it is with `engine: llama_cpp`, or fetch the checkpoint that it was made of"


def write_checkpoint(file: Path, out: Path) -> None:
    """Write the checkpoint of the GGUF `file` into the directory `out`; raises FetchError if invalid."""
    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, OverflowError, IndexError) as problem:
        raise FetchError(f"{file.name} is no whole GGUF file ({problem}): fetch it again") from problem
    values = {name: field.contents() for name, field in reader.fields.items()}
    if values.get("general.architecture") != "llama":
        raise FetchError(
            f"{file.name} has the architecture {values.get('general.architecture')}, not llama: {_INSTEAD}"
        )
    save_file(dict(_tensors(reader, values)), out / "model.safetensors", metadata={"format": "pt"})
    tied = not any(tensor.name == "output.weight" for tensor in reader.tensors)
    for name, content in {
        "config.json": _config(values, tied),
        "generation_config.json": _special_ids(values),
        "tokenizer.json": _tokenizer(file, values),
        "tokenizer_config.json": _tokenizer_config(values),
    }.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if template := values.get("tokenizer.chat_template"):
        (out / "chat_template.jinja").write_text(template, encoding="utf-8")


def _tensors(reader: Any, values: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    heads = values["llama.attention.head_count"]
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            raise FetchError(f"it scales its positions (rope_freqs), which is not converted: {_INSTEAD}")
        weight = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        *block, part, _ = tensor.name.split(".")
        if block:
            if part in ("attn_q", "attn_k"):
                own = heads if part == "attn_q" else values.get("llama.attention.head_count_kv", heads)
                weight = unpermuted(weight, own)
            yield f"model.layers.{block[1]}.{_BLOCK[part]}.weight", weight.to(torch.bfloat16)
        else:
            yield f"{_OUTER[part]}.weight", weight.to(torch.bfloat16)


def unpermuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Return Q's or K's rows (heads x size, inputs) in transformers' order instead of llama.cpp's."""
    rows, inputs = weight.shape
    return weight.view(heads, rows // heads // 2, 2, inputs).transpose(1, 2).reshape(rows, inputs).contiguous()


def _config(values: dict[str, Any], tied: bool) -> dict[str, Any]:
    heads, hidden = values["llama.attention.head_count"], values["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "dtype": "bfloat16",
        "head_dim": values.get("llama.attention.key_length", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": values["llama.feed_forward_length"],
        "max_position_embeddings": values["llama.context_length"],
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": values["llama.block_count"],
        "num_key_value_heads": values.get("llama.attention.head_count_kv", heads),
        "rms_norm_eps": float(f"{values['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": values.get("llama.rope.freq_base", 10000.0),
        "tie_word_embeddings": tied,
        "vocab_size": len(values["tokenizer.ggml.tokens"]),
        **_special_ids(values),
    }


def _special_ids(values: dict[str, Any]) -> dict[str, int]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    found = {f"{name}_token_id": values.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    return {name: value for name, value in found.items() if value is not None}


def _tokenizer(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    model, pre = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre", "")
    if model != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise FetchError(f"{file.name} has a tokenizer ({model}, {pre}) that is not converted: {_INSTEAD}")
    tokens = values["tokenizer.ggml.tokens"]
    kinds = values["tokenizer.ggml.token_type"]
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kinds[number] == _CONTROL,
        }
        for number, token in enumerate(tokens)
        if kinds[number] in (_CONTROL, _USER_DEFINED)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PRE_TOKENIZERS[pre]},
        "post_processor": _begins_with_bos(values, tokens),
        "decoder": {**_BYTE_LEVEL, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in values["tokenizer.ggml.merges"]],
        },
    }


def _begins_with_bos(values: dict[str, Any], tokens: list[str]) -> dict[str, Any] | None:
    if not values.get("tokenizer.ggml.add_bos_token"):
        return None
    number = values["tokenizer.ggml.bos_token_id"]
    bos = tokens[number]
    begin = {"SpecialToken": {"id": bos, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [number], "tokens": [bos]}},
    }


def _tokenizer_config(values: dict[str, Any]) -> dict[str, Any]:
    tokens = values["tokenizer.ggml.tokens"]
    special = {name.removesuffix("_id"): tokens[number] for name, number in _special_ids(values).items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": values["llama.context_length"],
        **special,
    }
