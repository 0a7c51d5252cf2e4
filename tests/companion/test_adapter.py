"""The committed adapter fits its base, and the model card says what the figures say."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.companion.card import CARD, FIGURES, filled
from models.companion.evaluate import DEMO, HERE, read_lines, score, score_unseen, write_lines
from models.companion.general import easy_questions
from models.companion.generate import Subject, answer_missing
from models.companion.subset import SIZES, subset

ADAPTER = HERE / "adapter"
LAYERS = 30
SHAPES = {
    "q_proj": (576, 576),
    "k_proj": (576, 192),
    "v_proj": (576, 192),
    "o_proj": (576, 576),
    "gate_proj": (576, 1536),
    "up_proj": (576, 1536),
    "down_proj": (1536, 576),
}
"""What each layer of SmolLM2-135M takes in and puts out."""


def prompts() -> list[dict[str, Any]]:
    """Prompts of three tasks."""
    made: list[dict[str, Any]] = []
    for number in range(30):
        made.append({"id": number, "task": "easy", "expect": {"accepted": ["Paris"]}})
    made += [{"id": 30 + n, "task": "unknown", "expect": {}} for n in range(4)]
    return [*made, {"id": 34, "task": "reply", "reply": "Hello you."}]


def answers(numbers: range, text: str) -> list[dict[str, Any]]:
    """The same answer to each; a loss for the reply."""
    return [{"id": each, "texts": [text]} | ({"loss": 2.0, "tokens": 2} if each == 34 else {}) for each in numbers]


@pytest.fixture
def figures() -> dict[str, Any]:
    """The committed figures."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def test_the_adapter_fits_every_linear_layer_of_its_base() -> None:
    """Both halves of each layer have the base's widths and one rank, in bf16, and none is missing or void."""
    rank = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    assert rank <= 16
    weights = load_file(ADAPTER / "adapter_model.safetensors")
    seen: Counter[str] = Counter()
    for name, each in weights.items():
        # type: ignore[union-attr]
        layer, part, half = re.search(r"layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])", name).groups()
        taken, put = SHAPES[part]
        assert int(layer) < LAYERS
        assert each.shape == ((rank, taken) if half == "A" else (put, rank)), name
        assert each.dtype == torch.bfloat16
        assert bool(each.isfinite().all()), name
        assert bool(each.any()), name
        seen[part] += 1
    assert seen == dict.fromkeys(SHAPES, 2 * LAYERS)


def test_the_adapter_is_small_enough_to_be_checked_in() -> None:
    """At most 12 MB, and it names its base by the id that the service serves it under."""
    assert sum(each.stat().st_size for each in ADAPTER.iterdir()) <= 12_000_000
    config = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "smollm2-135m-instruct"


def test_the_card_says_what_the_figures_say(figures: dict[str, Any]) -> None:
    """Its tables and dialogues are those that the figures make."""
    card = CARD.read_text(encoding="utf-8")
    assert filled(card, figures) == card


def test_the_figures_rest_on_enough_prompts(figures: dict[str, Any]) -> None:
    """At least a hundred easy questions for each model, the same for all, and ten dialogues of five turns."""
    same = figures["same_prompts"]
    assert {each["easy_questions"]["of"] for each in same.values()} == {figures["prompts"]["same"]["easy"]}
    assert figures["prompts"]["same"]["easy"] >= 100
    assert figures["prompts"]["all"]["easy"] == len(easy_questions())
    assert set(same) == {"base", "companion", "demo"}
    counts = [[each["role"] for each in talk].count("assistant") for talk in figures["dialogues"]]
    assert counts == [5] * 10
    assert figures["training"] == json.loads((HERE / "training.json").read_text(encoding="utf-8"))


def test_a_part_is_chosen_by_its_seed() -> None:
    """The same seed takes the same prompts, another seed others, in the prompts' order and as many as asked."""
    few = {"easy": 10, "unknown": 9}
    first = subset(prompts(), 1, few)
    assert first == subset(prompts(), 1, few)
    assert first != subset(prompts(), 2, few)
    assert Counter(each["task"] for each in first) == {"easy": 10, "unknown": 4}
    assert [each["id"] for each in first] == sorted(each["id"] for each in first)
    assert SIZES["easy"] >= 100


def test_models_are_compared_on_the_prompts_that_all_answered(tmp_path: Path) -> None:
    """Where one answered a part only, the others are scored on that part as well as on the whole."""
    write_lines(tmp_path / "base.jsonl", answers(range(20, 32), "It is Paris."))
    write_lines(tmp_path / "companion.jsonl", answers(range(35), "I don't know."))
    found = score(prompts(), tmp_path)
    same = found["same_prompts"]
    assert (same["base"]["easy_questions"]["right"], same["base"]["easy_questions"]["of"]) == (10, 10)
    assert (same["companion"]["easy_questions"]["right"], same["companion"]["easy_questions"]["of"]) == (0, 10)
    assert same["base"]["invented"]["share"] == 1.0
    assert same["companion"]["invented"]["share"] == 0.0
    assert same["companion"]["held_out"]["perplexity"] is None
    assert found["easy_questions_changed"] == {"lost": 10, "won": 0}
    assert found["all_answered"]["companion"]["easy_questions"]["of"] == 30
    assert found["all_answered"]["companion"]["held_out"]["perplexity"] == 2.72


def test_an_evaluation_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    """Answers that are there are kept, and with no time left none is begun."""
    subject = Subject(DEMO, None, "cpu")
    two = [{"id": n, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2} for n in range(2)]
    kept, out = {"id": 0, "texts": ["as it was"]}, tmp_path / "demo.jsonl"
    write_lines(out, [kept])
    answer_missing(subject, two, out, -1.0)
    assert read_lines(out) == [kept]
    answer_missing(subject, two, out, 60.0)
    assert read_lines(out)[0] == kept
    assert [each["id"] for each in read_lines(out)] == [0, 1]


def test_an_answer_that_denies_what_was_given_is_counted(tmp_path: Path) -> None:
    """Of wrong answers to a question about a given value, those that say that it is not known."""
    expect = {"holds": "Skye"}
    asked = [{"id": n, "task": "recall", "expect": expect} for n in range(3)]
    texts = ["I don't know that yet.", "To Orkney.", "I don't know, Skye?"]
    write_lines(tmp_path / "companion.jsonl", [{"id": n, "texts": [text]} for n, text in enumerate(texts)])
    found = score_unseen(asked, tmp_path)
    assert found["companion"]["denied"] == 1
    assert found["companion"]["copied"] == {"right": 1, "of": 3, "share": 0.333}


def test_a_card_without_a_place_for_its_figures_is_refused(figures: dict[str, Any]) -> None:
    """A lost marker is said by name."""
    with pytest.raises(ValueError, match="no markers for its training"):
        filled("# A card", figures)
