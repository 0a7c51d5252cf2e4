"""The demonstration model's network: a Llama decoder written for a fast CPU training loop.

The same function as transformers' `LlamaForCausalLM` with tied embeddings, with fewer operations per
layer: q, k, v and the two halves of the MLP are one matrix each. `export` writes it as a Hugging Face
checkpoint. Formulas: RMSNorm (arXiv:1910.07467), RoPE (arXiv:2104.09864), SwiGLU (arXiv:2002.05202).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; `hidden` and `intermediate` are multiples of 128 (a quantisation group)."""

    vocab: int = 2048
    hidden: int = 256
    intermediate: int = 768
    layers: int = 6
    heads: int = 4
    max_length: int = 2048
    rope_theta: float = 10000.0

    @property
    def head(self) -> int:
        """Size of one attention head."""
        return self.hidden // self.heads


def rotary_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Return cos and sin of the rotary angles, each (length, head), halves laid out as Llama has them."""
    inverse = shape.rope_theta ** (-torch.arange(0, shape.head, 2).float() / shape.head)
    angles = torch.outer(torch.arange(length).float(), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary angles to x (batch, heads, length, head)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One decoder layer: attention, then the gated MLP, each on a normalised residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        hidden, inner = shape.hidden, shape.intermediate
        self.attention_norm = nn.RMSNorm(hidden, eps=1e-5)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = nn.RMSNorm(hidden, eps=1e-5)
        self.gate_up = nn.Linear(hidden, 2 * inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map the residual stream x (batch, length, hidden) to the next layer's."""
        batch, length, hidden = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.shape.heads, self.shape.head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, hidden))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token ids (batch, length) to next-token logits (batch, length, vocab)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=1e-5)
        cos, sin = rotary_tables(shape, shape.max_length)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:
            nn.init.zeros_(block.out.weight)
            nn.init.zeros_(block.down.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits for every position."""
        length = tokens.shape[1]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        return F.linear(self.norm(x), self.embedding.weight)


def llama_state(network: Network) -> dict[str, Tensor]:
    """Return the weights under the names of transformers' `LlamaForCausalLM` (tied: no `lm_head`)."""
    state = {
        "model.embed_tokens.weight": network.embedding.weight,
        "model.norm.weight": network.norm.weight,
    }
    for index, block in enumerate(network.blocks):
        prefix = f"model.layers.{index}."
        q, k, v = block.qkv.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        state |= {
            prefix + "input_layernorm.weight": block.attention_norm.weight,
            prefix + "self_attn.q_proj.weight": q,
            prefix + "self_attn.k_proj.weight": k,
            prefix + "self_attn.v_proj.weight": v,
            prefix + "self_attn.o_proj.weight": block.out.weight,
            prefix + "post_attention_layernorm.weight": block.mlp_norm.weight,
            prefix + "mlp.gate_proj.weight": gate,
            prefix + "mlp.up_proj.weight": up,
            prefix + "mlp.down_proj.weight": block.down.weight,
        }
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}


def parameter_count(network: Network) -> int:
    """Return the number of trainable parameters; the tied embedding counts once."""
    return sum(parameter.numel() for parameter in network.parameters())


def export(network: Network, tokenizer: "object", out: Path) -> None:
    """Write `network` as a bf16 Hugging Face checkpoint to `out`, with tokenizer and generation config."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM  # slow to import

    shape = network.shape
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.head,
        max_position_embeddings=shape.max_length,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=ids["bos"],
        eos_token_id=ids["eos"],
        pad_token_id=ids["pad"],
        dtype=torch.bfloat16,
    )
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(llama_state(network), strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        raise ValueError(f"the network does not fit Llama's names: {missing}")
    model.tie_weights()
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        repetition_penalty=1.0,
        bos_token_id=ids["bos"],
        eos_token_id=ids["eos"],
        pad_token_id=ids["pad"],
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)  # type: ignore[attr-defined]  # a transformers tokenizer, imported lazily
    plain_tokenizer_class(out / "tokenizer_config.json")
    for file in out.iterdir():
        file.chmod(0o644)


def plain_tokenizer_class(path: Path) -> None:
    """Name the tokenizer's class as transformers 4 knows it too; its special tokens are in `tokenizer.json`."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name in ("backend", "extra_special_tokens"):
        config.pop(name, None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
