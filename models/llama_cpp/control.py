"""Prints a GGUF's control tokens as JSON: `python -m models.llama_cpp.control FILE [TEMPLATE]`.

llama.cpp recognises these anywhere in a rendered chat: its control and user-defined tokens, and those of type unknown.
It runs as a separate process, because its libraries are not needed again. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import json
import sys
from pathlib import Path

import gguf

from models.control_tokens import control_tokens

_RECOGNISED = (gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)


def tokens_of(model: Path, template: str | None = None) -> set[str]:
    """The model's control tokens; `template` replaces the file's own. Raises OSError, ValueError, KeyError."""
    fields = gguf.GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    if template is None and (own := fields.get("tokenizer.chat_template")) is not None:
        template = own.contents()
    added = {
        token: kind == gguf.TokenType.CONTROL for token, kind in zip(tokens, kinds, strict=True) if kind in _RECOGNISED
    }
    return control_tokens(added, template)


def main() -> None:
    """Print them."""
    model, *template = (Path(argument) for argument in sys.argv[1:])
    written = template[0].read_text(encoding="utf-8") if template else None
    json.dump(sorted(tokens_of(model, written)), sys.stdout)


if __name__ == "__main__":
    main()
