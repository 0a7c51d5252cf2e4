"""The demonstration model: its corpus, tokenizer, chat template, weights and the quantiser's checks."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from models import quantize
from models.demo.corpus import GRAMMAR, Dialogue, dialogues
from models.demo.grammar import held_out, load
from models.demo.wording import to_you

DEMO = Path(__file__).parents[3] / "models" / "demo"
CHECKPOINT, QUANTISED = DEMO / "checkpoint", DEMO / "quantised"
TOOL = {"type": "function", "function": {"name": "play_music", "parameters": {"type": "object"}}}


def some(part: Any, count: int = 200, seed: int = 7) -> list[Dialogue]:
    """Return the first dialogues of a part."""
    return list(islice(dialogues(seed, part), count))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Load the checked-in tokenizer."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """Load the checked-in weights, for one thread."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield transformers.AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    torch.set_num_threads(threads)


def reply(model: Any, tokenizer: Any, texts: list[str]) -> str:
    """Say one thing after another; return the last greedy answer."""
    messages: list[dict[str, str]] = []
    answer = ""
    for text in texts:
        messages.append({"role": "user", "content": text})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=48, do_sample=False, temperature=None, top_p=None)
        answer = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        messages.append({"role": "assistant", "content": answer})
    return str(answer)


def test_the_corpus_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    """A seed fixes every dialogue."""
    assert some("train", 50) == some("train", 50)
    assert some("train", 50) != some("train", 50, seed=8)


def test_training_never_uses_a_held_out_user_template() -> None:
    """The split by template holds, and the held-out part is made of such templates."""
    splittable = {
        line
        for scene in load(GRAMMAR).scenes.values()
        for turn in scene.turns
        if turn.speaker == "user" and len(turn.lines) >= 4
        for line in turn.lines
    }
    trained = {line for dialogue in some("train", 500) for line in dialogue.templates} & splittable
    tested = {line for dialogue in some("held_out") for line in dialogue.templates} & splittable
    assert not {line for line in trained if held_out(line)}
    assert sum(map(held_out, tested)) > 20


def test_training_and_held_out_dialogues_share_no_copied_made_up_name() -> None:
    """What a held-out reply copies was never copied in training."""
    trained = {value for dialogue in some("train", 500) for _, value in dialogue.copied if " " not in value}
    tested = {value for dialogue in some("held_out") for _, value in dialogue.copied if " " not in value}
    assert len(tested) > 20
    assert len(trained & tested) < 0.1 * len(tested)  # short lists keep no held-out entries


def test_a_reply_repeats_only_what_was_said_before() -> None:
    """Every copied noun stands in an earlier message of the person or the system."""
    for dialogue in some("train"):
        for index, value in dialogue.copied:
            before = " ".join(message["content"] for message in dialogue.messages[:index])
            assert value.lower().replace("'", "") in before.lower().replace("'", "")


@pytest.mark.parametrize(
    ("words", "turned"),
    [("my boss yelled at me", "your boss yelled at you"), ("i lost my keys", "you lost your keys")],
)
def test_a_persons_words_are_turned_round(words: str, turned: str) -> None:
    """First person becomes second."""
    assert to_you(words) == turned


@pytest.mark.parametrize("text", ["Hi, I'm Zoë!", '{"name": "x", "n": [1, 2.5]}', "日本 🎵\n\ttabs", "plain"])
def test_the_tokenizer_gives_every_text_back(tokenizer: Any, text: str) -> None:
    """Byte-level tokens lose nothing and need no unknown token."""
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_template_renders_every_role_and_the_tools(tokenizer: Any) -> None:
    """System, parts, tool calls and tool results have their markup."""
    call = {"type": "function", "function": {"name": "play_music", "arguments": {"query": "jazz"}}}
    text = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "play jazz"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "ok"},
        ],
        tools=[TOOL],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text.startswith("<|bos|><|system|>Be kind.\n")
    assert f"<tools>\n{json.dumps(TOOL)}\n</tools><|end|><|user|> play jazz<|end|>" in text
    assert '<tool_call>{"name": "play_music", "arguments": {"query": "jazz"}}</tool_call>' in text
    assert text.endswith("<|tool|><tool_response>ok</tool_response><|end|><|assistant|>")


def test_the_last_message_can_be_continued(tokenizer: Any) -> None:
    """A started reply stays open."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello, I"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert text.endswith("<|assistant|>Hello, I")


def test_the_weights_are_small_and_the_quantised_ones_are_quantised() -> None:
    """All that is checked in stays within 20 MB."""
    size_bytes = sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file() and "runs" not in file.parts)
    assert size_bytes <= 20_000_000
    config = json.loads((QUANTISED / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hi, i'm Zorana"], "Zorana"),
        (["Hello, my name is Quillon."], "Quillon"),
        (["i live in Plovdiv"], "Plovdiv"),
    ],
)
def test_a_greedy_reply_copies_an_unseen_name(model: Any, tokenizer: Any, words: list[str], expected: str) -> None:
    """A name that training never saw comes back letter by letter."""
    assert expected in reply(model, tokenizer, words)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"architectures": ["LlamaForCausalLM"], "quantization_config": {"bits": 4}}, "already quantised"),
        ({"architectures": ["MistralForCausalLM"], "hidden_size": 250, "intermediate_size": 768}, "hidden_size 250"),
    ],
)
def test_the_quantiser_refuses_what_it_cannot_do(config: dict[str, Any], complaint: str) -> None:
    """A wrong checkpoint is refused with the reason."""
    with pytest.raises(quantize.QuantizeError, match=complaint):
        quantize.check_source(config, group_size=32, scheme="W4A16")


def test_the_quantiser_says_when_its_tool_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without llm-compressor, or on an existing target, it fails in words and writes nothing."""
    assert quantize.main([str(CHECKPOINT), str(tmp_path)]) == 1
    assert "quantize:" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
