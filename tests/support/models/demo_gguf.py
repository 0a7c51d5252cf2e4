"""The demonstration model as a GGUF (Q8_0), so that llama.cpp serves the very model that vLLM does.

The other way round from `models.fetch.gguf_checkpoint`, for one checkpoint: Llama, byte-level BPE cut as GPT-2's, tied
embeddings. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy
from safetensors import safe_open

from models.llama_cpp.adapter import permuted

CHECKPOINT = Path(__file__).resolve().parents[3] / "models/demo/checkpoint"
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_demo_gguf(path: Path, context_tokens: int) -> None:
    """Write it to `path`, with a context that may be longer than the one it was trained with."""
    config = json.loads((CHECKPOINT / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    _add_tokenizer(writer, config)
    _add_weights(writer, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, config: dict[str, Any]) -> None:
    tokenizer = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    added = {each["content"]: each for each in tokenizer["added_tokens"]}
    numbers = {**tokenizer["model"]["vocab"], **{text: each["id"] for text, each in added.items()}}
    tokens = sorted(numbers, key=lambda text: int(numbers[text]))
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [kinds[added[text]["special"]] if text in added else gguf.TokenType.NORMAL for text in tokens]
    )
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((CHECKPOINT / "chat_template.jinja").read_text())


def _add_weights(writer: Any, config: dict[str, Any]) -> None:
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    with safe_open(CHECKPOINT / "model.safetensors", framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a mapping
            weight = tensors.get_tensor(name).float().numpy()
            tensor_name = OUTER.get(name) or _place_in_layer(name)
            if (part := tensor_name.split(".")[-2]) in heads:
                weight = permuted(weight, heads[part])
            if weight.ndim == 1:
                writer.add_tensor(tensor_name, weight.astype(numpy.float32))
                continue
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor_name, gguf.quants.quantize(numpy.ascontiguousarray(weight), kind), raw_dtype=kind)


def _place_in_layer(name: str) -> str:
    number, _, part = name.removeprefix("model.layers.").partition(".")  # model.layers.3.self_attn.q_proj.weight
    return f"blk.{number}.{LAYER[part.removesuffix('.weight')]}.weight"
