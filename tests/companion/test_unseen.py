"""The unseen part is apart from the corpus by template and by topic, for every kind of task."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest

from models.companion import notes, talk, tools
from models.companion.corpus import Corpus
from models.companion.evaluate import FIGURES, UNSEEN_ANSWERS, read_lines, score_unseen
from models.companion.general import easy_questions, pairs, questions
from models.companion.prompts import UNSEEN_COUNTS, unseen_prompts
from models.companion.talk import SERVICE, read_talk
from models.companion.tools import read_tools
from models.companion.topics import DATA, UNSEEN, read_topics
from models.demo import grammar as demo_grammar
from models.demo.grammar import closing, held_out, split_choice

RUN = 4
"""A template is new if no so many words of it, in a row, are in the corpus; a slot counts as a word."""
SLOT = re.compile(r"\{[!+?]?\w+\}|<\w+>")


def words(text: str) -> list[str]:
    """A text's words in lower case, with a slot as "_"."""
    return re.findall(r"_|[^\W_]+(?:'[^\W_]+)*", SLOT.sub(" _ ", text.replace("{&name}", "")).lower())


def variants(template: str) -> Iterator[str]:
    """Every choice of a template's alternatives."""
    start = template.find("[")
    if start < 0 or (template.startswith(("{", "[{")) and '":' in template):  # a tool's result is JSON
        yield template
        return
    stop = closing(template, start)
    options = [each for one in split_choice(template[start + 1 : stop]) for each in variants(one)]
    for option, rest in product(options, list(variants(template[stop + 1 :]))):
        yield template[:start] + option + rest


def runs(template: str) -> set[tuple[str, ...]]:
    """The runs of RUN words in the sentences of a template's variants, of which at most one word is a slot."""
    found: set[tuple[str, ...]] = set()
    for sentence in {each for variant in variants(template) for each in re.split(r"[.!?]", variant)}:
        each = words(sentence)
        found.update(run for run in zip(*(each[at:] for at in range(RUN)), strict=False) if run.count("_") < 2)
    return found


def lines_of(path: Path) -> list[str]:
    """A file's lines without the keywords of its notation, both sides of a pair on their own."""
    kept = []
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"^(say|third|detail|reply|more|then|ask|answer|unknown|cue|title|about|done) ", "", raw.strip())
        if line and not line.startswith(("#", "=", "@", "names ", "words ", "arg ")):
            kept += line.split(" | ") if path.stem in ("general", "easy_questions") else line.split(" => ")
        elif line.startswith("arg "):
            kept.append(line.split(" ", 3)[3])
    return kept


@pytest.fixture(scope="module")
def written() -> list[str]:
    """Everything that a corpus is composed of, its held-out part included, but the service's own prompts."""
    texts = [line for name in ("talk", "topics", "tools", "general") for line in lines_of(DATA / f"{name}.txt")]
    for path in sorted((Path(demo_grammar.__file__).with_suffix("")).glob("*.txt")):
        texts += path.read_text(encoding="utf-8").splitlines()
    texts += [text for part in ("train", "held_out") for pair in pairs(part) for text in pair]  # type: ignore[arg-type]
    texts += [question for question, _ in questions()]
    texts += [*notes.LEADS, *notes.TAILS, *notes.SUMMARY, *notes.TITLE, *talk.BOTS, *talk.THINGS]
    texts += [*tools.ROUTER, *tools.FIELDS, *tools.KEYS, *tools.HEADING, *tools.LABEL]
    texts += [text for pair in tools.NO_TOOL_ROUTES for text in pair]
    texts += [
        name.replace("_", " ") for tool in read_tools() for name in [*tool.names, *(arg for arg, *_ in tool.args)]
    ]
    return texts


@pytest.fixture(scope="module")
def composed() -> list[str]:
    """What is in 600 examples of a corpus to train on, its tools included."""
    examples = islice(iter(Corpus("unseen-test", "train")), 600)
    return [json.dumps([each.messages, each.tools], ensure_ascii=False) for each in examples]


@pytest.fixture(scope="module")
def vocabulary(written: list[str], composed: list[str]) -> set[str]:
    """Every word that the corpus is written with or has, and that the service's prompts have."""
    found = {word for text in [*written, *composed] for word in words(text.replace("_", " "))}
    return found | set(words(json.dumps(SERVICE)))


def is_known(word: str, vocabulary: set[str]) -> bool:
    """Whether a word is in the vocabulary, as a singular or a plural."""
    return bool({word, word + "s", word.removesuffix("s"), word.removesuffix("'s")} & vocabulary)


def test_no_template_is_in_the_corpus(written: list[str], composed: list[str]) -> None:
    """No four words in a row are: neither of what people say, nor of replies, facts, tools or the prompts of tasks."""
    known = {run for text in written for run in runs(text)}
    known |= {run for text in composed for run in runs(text.replace("[", " ").replace("{", " ").replace("\\n", " "))}
    known_lines = {" ".join(words(variant)) for text in written for variant in variants(text)}
    checked: Counter[str] = Counter()
    shared: list[str] = []
    for path in sorted(UNSEEN.glob("*.txt")):
        for line in lines_of(path):
            if path.stem == "easy_questions" and not line.endswith(("?", ".")):
                continue  # an accepted answer
            texts = [each for variant in variants(line) if len(each := words(variant)) - each.count("_") > 1]
            same = {" ".join(each) for each in texts} & known_lines
            shared += [f"{path.stem}: {line}: {each}" for each in (same, runs(line) & known) if each]
            checked[path.stem] += 1
    assert not shared, "\n".join(shared)
    assert min(checked[name] for name in ("easy_questions", "talk", "tools", "topics")) > 50


def test_no_topic_is_in_the_corpus(vocabulary: set[str]) -> None:
    """Every statement, request and general question names something that the corpus never mentions."""
    topics, every_tool = read_topics("unseen")[0].values(), read_tools("unseen")
    assert len(topics) >= 12
    assert len(every_tool) >= 8
    mentioned = [word for each in (*topics, *every_tool) for word in each.words if is_known(word, vocabulary)]
    assert not mentioned
    for topic in topics:
        assert all(set(words(each)) & set(topic.words) for each in topic["say"]), topic.name
    for tool in every_tool:
        assert all(set(words(each)) & set(tool.words) for each, _ in tool.say), tool.name
    asked = [question for question, _ in easy_questions("unseen")]
    assert len(asked) >= 100
    assert not [each for each in asked if all(is_known(word, vocabulary) for word in words(each))]


def test_no_name_is_in_the_corpus(vocabulary: set[str]) -> None:
    """A listed value has a word that the corpus never has; names of tools, routes, bots and topics are others."""
    rules = read_topics("unseen")[1]
    values = [value for lists in rules.values() for each in lists for value in split_choice(each[1:-1])]
    assert len(values) > 100
    assert not [value for value in values if all(is_known(word, vocabulary) for word in words(value))]
    taken = {name for tool in read_tools() for name in tool.names} | {name for name, _ in tools.NO_TOOL_ROUTES}
    taken |= {*read_topics()[0], *tools.KEYS} | {*talk.BOTS}
    own = [name for tool in read_tools("unseen") for name in tool.names] + [*read_topics("unseen")[0]]
    own += [*read_talk("unseen")["key"], *(each.partition(":")[0] for each in read_talk("unseen")["no_tool"])]
    own += [each for each in read_talk("unseen")["bot"] if each != "Bondhu"]
    assert not taken.intersection(own)


def test_it_says_everything_in_its_own_words() -> None:
    """Each rule of the talk of all has a rule of its own here, so that none falls back on the corpus's."""
    unused = {"how_are_you_reply", "correction", "corrected"}
    own = read_talk("unseen")
    assert set(read_talk()) - unused <= set(own)
    assert {"router", "key", "no_tool", "heading", "label", "summary", "title", "fields", "lead", "tail"} <= set(own)


def test_each_kind_of_task_is_asked_about_what_is_new(vocabulary: set[str]) -> None:
    """The prompts have all kinds; a value to be copied is none of the corpus's, and nothing else of it is said."""
    prompts = unseen_prompts(0)
    counts = Counter(each["task"] for each in prompts)
    assert all(counts[task] == count for task, count in UNSEEN_COUNTS.items() if task not in ("recall", "name"))
    assert counts["recall"] == UNSEEN_COUNTS["recall"] + UNSEEN_COUNTS["name"]
    assert counts["easy"] == len(easy_questions("unseen"))
    held = [each["expect"]["holds"] for each in prompts if each["task"] == "recall"]
    assert not [value for value in held if all(is_known(word, vocabulary) for word in words(value))]
    invented = {value for value in held if value.isalpha() and not _is_listed(value)}
    assert invented
    assert all(held_out(value.capitalize()) for value in invented)


def test_the_figures_are_what_the_kept_answers_give() -> None:
    """The card's table of this part comes from the answers in the repository, each to a prompt that is asked today."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))["unseen"]
    prompts: list[dict[str, Any]] = unseen_prompts(0)
    assert score_unseen(prompts, UNSEEN_ANSWERS) == figures
    asked = {each["id"] for each in prompts}
    for path in UNSEEN_ANSWERS.glob("*.jsonl"):
        answered = [each["id"] for each in read_lines(path)]
        assert len(set(answered)) == len(answered)
        assert asked.issuperset(answered)


def test_what_is_said_there_is_in_no_example_of_the_corpus(composed: list[str]) -> None:
    """Not one message of a person, however short it is."""
    said = {_letters(each) for example in composed for each in _said(json.loads(example)[0])}
    prompts: list[dict[str, Any]] = unseen_prompts(0)
    asked = {_letters(each) for prompt in prompts for each in [*_said(prompt["messages"]), *prompt.get("turns", ())]}
    assert len(asked) > 300
    assert not said & asked


def _is_listed(value: str) -> bool:
    rules = read_topics("unseen")[1]
    return any(value in split_choice(each[1:-1]) for lists in rules.values() for each in lists)


def _said(messages: list[dict[str, Any]]) -> list[str]:
    return [str(each["content"]) for each in messages if each["role"] == "user"]


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
