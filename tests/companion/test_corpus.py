"""The companion's corpus: what it promises about its examples, and that it speaks as the service does."""

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from memory.extraction.operations import INSTRUCTIONS, question_on, read_answer
from models.companion.corpus import Corpus
from models.companion.general import ANSWERS, easy_questions, holds, pairs, questions
from models.companion.rows import batches, encode, gather, padded, read_tokenizer
from models.companion.scores import NOT_KNOWN, called_right, memories, repetition
from models.companion.talk import SERVICE, Example
from models.companion.tools import read_tools
from models.companion.topics import read_topics
from serving.chat_memory import prompt
from storage.memory.memories import MemoryRecord
from storage.memory.unread_turns import Batch, Turn

DEMO = Path("models/demo/checkpoint")
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def some(part: Any, count: int, seed: str = "test") -> list[Example]:
    """Some examples of a part."""
    return list(islice(iter(Corpus(seed, part)), count))


@pytest.fixture(scope="module")
def train() -> list[Example]:
    """Examples to train on."""
    return some("train", 600)


@pytest.fixture(scope="module")
def held_out() -> list[Example]:
    """Examples to measure on."""
    return some("held_out", 300)


def test_the_corpus_uses_the_services_own_sentences() -> None:
    """What stands in the data folder is what a served prompt says."""
    assert SERVICE["introduction"] == prompt.INTRODUCTION
    assert SERVICE["not_done"] == prompt.NOT_DONE
    assert SERVICE["nothing"] == prompt._NOTHING
    assert SERVICE["done"] == prompt._DONE
    assert SERVICE["extraction"] == INSTRUCTIONS


def test_memories_are_asked_for_and_answered_as_extraction_does(train: list[Example]) -> None:
    """Extraction's own question on the same turns is the same text, and it takes every operation of the answer."""
    examples = [each for each in train if each.kind == "memories"]
    assert examples
    for example in examples:
        batch = json.loads(example.messages[1]["content"])
        shown = [Turn(f"id{n}", t["speaker"], t["text"], _day(t)) for n, t in enumerate(batch["turns"])]
        own = [turn for turn, t in zip(shown, batch["turns"], strict=True) if "id" in t]
        before = [Turn("b", t["speaker"], t["text"], _day(t)) for t in batch["before"]]
        known = [_memory(each["text"]) for each in batch["known"]]
        question = question_on(Batch(before, shown), own, known, characters=10_000)
        assert question.messages == example.messages[:2]
        decisions, refused = read_answer(example.messages[2]["content"], question)
        assert not refused
        expected = [each for each in example.expect["operations"] if each["op"] != "NOOP"]
        assert [each.quote for each in decisions] == [each["quote"] for each in expected]


def test_a_held_out_topic_is_in_no_training_example(train: list[Example]) -> None:
    """The words that only held-out topics use do not come up."""
    held = {name for name, topic in read_topics()[0].items() if topic.held}
    assert {"garden", "instrument", "colleague", "car"} == held
    prompts = " ".join(str(m["content"]) for each in train for m in each.messages if m["role"] == "system").lower()
    assert "a colleague called" not in prompts
    assert "something happen with the car" not in prompts


def test_the_same_seed_writes_the_same_examples() -> None:
    """And another seed others."""
    assert some("train", 40) == some("train", 40)
    assert some("train", 40) != some("train", 40, seed="other")


def test_no_question_of_the_evaluation_is_in_the_corpus() -> None:
    """Neither among the questions nor among the answers that the base gave."""
    easy = {question.casefold() for question, _ in easy_questions()}
    assert len(easy) >= 100
    assert not easy & {question.casefold() for question, _ in questions()}
    # type: ignore[arg-type]
    assert not easy & {question.casefold() for part in ("train", "held_out") for question, _ in pairs(part)}


def test_the_repository_holds_the_base_s_answer_to_every_general_question() -> None:
    """So that a corpus composed from it mixes in what the adapter's training mixed in."""
    known = {json.loads(line)["question"] for line in ANSWERS.read_text(encoding="utf-8").splitlines()}
    assert {question for question, _ in questions()} <= known
    train, held_out = ({question for question, _ in pairs(part)} for part in ("train", "held_out"))  # type: ignore[arg-type]
    assert len(train) > 600
    assert not train & held_out


def test_no_held_out_tool_is_in_training() -> None:
    """Neither called nor offered nor a route, and the held-out part has each of them."""
    held = {name for tool in read_tools() if tool.held for name in tool.names}

    def seen(part: str) -> set[str]:
        texts = [json.dumps([each.tools, each.messages]) for each in some(part, 900) if each.kind in ("route", "call")]
        return {name for name in held if any(f'"{name}"' in text.replace("\\", "") for text in texts)}

    offered = {part: seen(part) for part in ("train", "held_out")}
    assert not offered["train"]
    assert len(offered["held_out"]) >= 4


def test_the_base_s_prompts_are_the_service_s(tmp_path: Path) -> None:
    """A checkpoint with ChatML's tokens is prompted as it is served, tools included; another by its own template."""
    plain = AutoTokenizer.from_pretrained(DEMO)
    assert read_tokenizer(DEMO).chat_template == plain.chat_template
    plain.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    plain.save_pretrained(tmp_path)
    text = read_tokenizer(tmp_path).apply_chat_template(
        [{"role": "user", "content": "hi"}], tools=[{"name": "play"}], tokenize=False
    )
    assert "<tools>" in text
    assert text.startswith("<|im_start|>system")


def test_a_reply_copies_only_what_stands_before_it(train: list[Example], held_out: list[Example]) -> None:
    """A proper noun in a reply was said or was known."""
    checked = 0
    for example in [*train, *held_out]:
        for index, value in example.copied:
            before = " ".join(str(message["content"]) for message in example.messages[:index]).lower()
            assert value.lower().replace("'", "") in before.replace("'", "")
            checked += 1
    assert checked > 100


def test_a_conversation_never_says_the_same_twice(train: list[Example]) -> None:
    """No reply comes again."""
    for example in train:
        replies = [m["content"] for m in example.messages if m["role"] == "assistant" and m["content"]]
        assert len(set(replies)) == len(replies)


def test_loss_is_taken_over_replies_and_their_ends_only() -> None:
    """The marked tokens are the replies with their end token, and nothing else."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokenizer.chat_template = CHATML
    messages = [
        {"role": "user", "content": "hi there"},
        {"role": "assistant", "content": "Hello you."},
        {"role": "user", "content": "bye"},
        {"role": "assistant", "content": "See you."},
    ]
    ids, marks = encode(messages, None, tokenizer)
    marked = tokenizer.decode([each for each, mark in zip(ids, marks, strict=True) if mark])
    assert marked == "Hello you.<|im_end|>See you.<|im_end|>"


def test_every_example_is_in_one_batch_of_an_epoch() -> None:
    """None is lost or seen twice, and no batch is larger than allowed."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokenizer.chat_template = CHATML
    texts = ["word " * length for length in range(1, 60)]
    examples = ([{"role": "assistant", "content": text}] for text in texts)
    rows = gather((encode(each, None, tokenizer) for each in examples), 1_000_000)
    made = batches(rows, 512, "0")
    assert sorted(index for batch in made for index in batch) == list(range(len(rows)))
    assert all(len(batch) == 1 or padded(rows, batch)[0].size <= 512 for batch in made)


def test_answers_are_judged_by_whole_words() -> None:
    """An accepted answer inside another word is none."""
    assert holds("It is Paris.", ["Paris"])
    assert not holds("It has 24 letters.", ["4"])


def test_not_knowing_differs_from_inventing() -> None:
    """The rule of the evaluation on plain cases."""
    assert NOT_KNOWN.search("I don't know that yet.")
    assert not NOT_KNOWN.search("You had pancakes.")


def test_a_call_counts_with_its_arguments() -> None:
    """Case is forgiven, another value is not; and where no tool is of use, none may be called."""
    expect = {"name": "taxi", "arguments": {"destination": "Oslo"}}
    assert called_right('<tool_call>\n{"name": "taxi", "arguments": {"destination": "oslo"}}\n</tool_call>', expect)
    assert not called_right('<tool_call>\n{"name": "taxi", "arguments": {"destination": "Rome"}}\n</tool_call>', expect)
    assert not called_right('<tool_call>{"name": "taxi"}</tool_call>', {"name": None})


def test_a_memory_counts_only_with_a_quote_from_its_turn() -> None:
    """One right, one invented: half precise."""
    expected = {"turn": "t1", "quote": "i live in Oslo", "op": "ADD", "text": "The person lives in Oslo."}
    answer = {"operations": [expected, expected | {"quote": "i like tea"}]}
    found = memories([({"operations": [expected], "turns": {"t1": "well, i live in Oslo"}}, json.dumps(answer))])
    assert (found["precision"], found["recall"], found["verbatim"]) == (0.5, 1.0, 0.5)


def test_repetition_is_seen_across_a_dialogue() -> None:
    """The same sentence in a later reply counts, a short one does not."""
    assert (
        repetition([["How are you feeling today?", "I see. How are you feeling today?"], ["Yes.", "Yes."]])["right"]
        == 1
    )


def _day(turn: dict[str, str]) -> datetime:
    return datetime.fromisoformat(turn["said_at"]).replace(tzinfo=UTC)


def _memory(text: str) -> MemoryRecord:
    return MemoryRecord(text=text, kind="fact", id="m", changed_in=1, created_at=NOON, updated_at=NOON)
