"""Models that know the set: one that is right, one that falls for every trap, and one that never ends a memory.

They answer the real prompt in the real schema, so everything after the model is what is measured: the checks of quotes
and claims, duplicates, and how a contradiction is stored.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.extraction.turns import Expected, has
from memory.extraction.deduplication import Vector
from models.embedding.text_model import PACKAGE, located

Kind = Literal["perfect", "careless", "forgetful"]


class ScriptedModel:
    """See `memory.extraction.extractor.Model`.

    Args:
        turns: the set.
        kind: "careless" adds the trap of a turn; "forgetful" adds what contradicts an earlier memory without ending it.

    """

    def __init__(self, turns: Sequence[Expected], kind: Kind) -> None:
        from models.embedding.onnx_model import OnnxTextModel

        self._by_turn = {each.turn: each for each in turns}
        self._kind = kind
        self._embedder = OnnxTextModel(Path(located(PACKAGE)), threads=1)

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float) -> str:
        """The operations for the turns of the prompt."""
        prompt = json.loads(messages[-1]["content"])
        known = {each["id"]: each["text"] for each in prompt["known"]}
        operations: list[dict[str, Any]] = []
        said: dict[str, str] = {}  # by earlier turns of this prompt
        for turn in prompt["turns"]:
            expected = self._by_turn.get(turn["text"]) if "id" in turn else None
            if expected is None:
                continue
            if expected.claim:
                target = None
                if expected.ends and self._kind != "forgetful":
                    target = next((id_ for id_, text in (known | said).items() if has(text, expected.ends)), None)
                operations.append(_operation(turn, expected.claim, target))
                said[turn["id"]] = expected.claim
            if expected.trap and self._kind == "careless":
                operations.append(_operation(turn, expected.trap, None))
        return json.dumps({"operations": operations})

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector] | None:
        """MiniLM's vectors."""
        return list(np.asarray(self._embedder.embed(texts)))


def _operation(turn: Mapping[str, str], text: str, target: str | None) -> dict[str, Any]:
    return {
        "turn": turn["id"],
        "quote": turn["text"],
        "op": "ADD" if target is None else "SUPERSEDE",
        "target": target,
        "text": text,
        "kind": "fact",
        "event_at": None,
        "sensitivity": "ordinary",
        "confidence": 1.0,
    }
