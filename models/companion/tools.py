"""Training tasks for choosing tools and routes, with the right answers.

Tools are called in the markup of the chat template (`<tool_call>`, as in Hermes); a route is answered as JSON. The
tools are in `data/tools.txt`.
"""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from models.companion.talk import Example, Talker
from models.companion.topics import Blanks, Part, folder_of, of_part
from models.demo.wording import as_typed

NO_TOOL_ROUTES = (("chat", "Everything else: small talk, feelings, questions."), ("talk", "Just a conversation."))
ROUTER = (
    "Choose the route for the person's message. Answer with JSON only: {shape}",
    "You decide who answers. Pick exactly one route and reply as JSON like {shape}.",
    "Classify the message into one of the routes below. Output: {shape}",
    "Which of these fits the last message best? Answer in JSON: {shape}",
    "Route the request. Reply with {shape} and nothing else.",
)
FIELDS = (
    "Fill in this JSON from the message; null where it says nothing: {shape}",
    "Extract these fields as JSON, null if unknown: {keys}.",
    "Return JSON with the keys {keys}. Use null for what is not said.",
)
HEADING, LABEL = ("Routes:",), ("Message:",)
KEYS = ("route", "route", "route", "intent", "tool", "agent", "category")


@dataclass
class Tool:
    """A tool: its names and descriptions, requests with the values of its arguments, results with replies."""

    name: str
    held: bool
    words: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    about: list[str] = field(default_factory=list)
    args: list[tuple[str, str, str]] = field(default_factory=list)
    say: list[tuple[str, list[str]]] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def described(self, name: str, about: str) -> dict[str, Any]:
        """The tool in the API's format."""
        properties = {arg: {"type": kind, "description": what} for arg, kind, what in self.args}
        schema = {"type": "object", "properties": properties, "required": [arg for arg, _, _ in self.args]}
        return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


def read_tools(part: Part = "train") -> list[Tool]:
    """Read a part's `tools.txt`."""
    tools: list[Tool] = []
    for raw in (folder_of(part) / "tools.txt").read_text(encoding="utf-8").splitlines():
        word, _, rest = raw.strip().partition(" ")
        if word == "@":
            name, *held = rest.split()
            tools.append(Tool(name, bool(held), names=[name]))
        elif word == "names":
            tools[-1].names += rest.split(", ")
        elif word == "words":
            tools[-1].words += rest.split(", ")
        elif word == "about":
            tools[-1].about.append(rest)
        elif word == "arg":
            arg, kind, what = rest.split(" ", 2)
            tools[-1].args.append((arg, kind, what))
        elif word == "say":
            request, _, values = rest.partition(" =>")
            tools[-1].say.append((request, [each.strip() for each in values.split("|") if each.strip()]))
        elif word == "done":
            result, _, reply = rest.partition(" => ")
            tools[-1].done.append((result, reply))
    return tools


class ToolTasks:
    """Writes examples of these tasks."""

    def __init__(self, seed: str, part: Part, talker: Talker) -> None:
        self.rng, self.part, self.talker = random.Random(f"tools-{part}-{seed}"), part, talker
        every = read_tools(part)
        self.tools = [each for each in every if part != "train" or not each.held]
        rules = talker.rules  # of a part that has its own
        self.routers, self.keys = rules.get("router", ROUTER), rules.get("key", KEYS)
        self.no_tool = [(name, about) for name, _, about in (each.partition(": ") for each in rules.get("no_tool", ()))]
        self.heading, self.label = rules.get("heading", HEADING)[0], rules.get("label", LABEL)[0]

    def pick(self) -> Tool:
        """Choose a tool; in the held-out part, half of them are held out."""
        held = [each for each in self.tools if each.held]
        return self.rng.choice(held if held and self.rng.random() < 0.5 else self.tools)

    def request(self, tool: Tool) -> tuple[str, dict[str, Any]]:
        """A user message, and the arguments of the tool call."""
        blanks = self.blanks = Blanks(self.talker.grammar, self.rng, self.part)
        blanks.enter("request")
        blanks.scene |= {"n1": str(self.rng.randint(2, 99)), "n2": str(self.rng.randint(2, 20))}
        lines = dict(tool.say)
        request = self.rng.choice(of_part(list(lines), self.part))
        typed = blanks.typed(request)
        values = [blanks.plain_text(each) for each in lines[request]]
        kinds = zip(tool.args, values, strict=True)
        return typed, {arg: int(value) if kind == "integer" else value for (arg, kind, _), value in kinds}

    def small_talk(self) -> str:
        """A user message that needs no tool."""
        self.talker.begin()
        rule = self.rng.choice(
            ("hi", "feeling", "thanks", "short_said", "unknowable", "bye", "topic", "topic", "feeling")
        )
        if rule == "topic":
            topic = self.talker.pick(self.talker.topics)
            self.talker.blanks.enter(topic.name)
            return self.talker.blanks.typed(self.rng.choice(of_part(topic["say"], self.part)))
        return self.talker.person(rule)

    def offered(self, tool: Tool, min_others: int, max_others: int) -> list[tuple[Tool, str, str]]:
        """Several tools with this one among them, each with one of its names."""
        others = self.rng.sample(
            [each for each in self.tools if each is not tool], self.rng.randint(min_others, max_others)
        )
        mixed = self.rng.sample([tool, *others], len(others) + 1)
        return [(each, self.rng.choice(each.names), self.rng.choice(each.about)) for each in mixed]

    def route(self) -> Example:
        """The choice of a route."""
        tool = self.pick()
        chosen = self.offered(tool, 1, 5)
        offered = [(name, about) for _, name, about in chosen]
        right = next(name for each, name, _ in chosen if each is tool)
        typed = self.request(tool)[0]
        if self.rng.random() < 0.6:
            other = self.rng.choice(self.no_tool or NO_TOOL_ROUTES)
            offered.insert(self.rng.randint(0, len(offered)), other)
            if self.rng.random() < 0.35:
                typed, right = self.small_talk(), other[0]
        key = self.rng.choice(self.keys)
        shape = json.dumps({key: "…"}, ensure_ascii=False)
        task = self.rng.choice(of_part(self.routers, self.part)).replace("{shape}", shape)
        bare = self.rng.random() < 0.15
        lines = [f"- {name}" if bare else f"- {name}: {about}" for name, about in offered]
        prompt = "\n".join([task, *([self.heading] if self.rng.random() < 0.5 else []), *lines])
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": typed}]
        if self.rng.random() < 0.3:
            messages = [{"role": "user", "content": f"{prompt}\n\n{self.label} {typed}"}]
        messages.append({"role": "assistant", "content": json.dumps({key: right})})
        return Example("route", messages, expect={"route": right, "key": key, "routes": [name for name, _ in offered]})

    def call(self) -> Example:
        """A call of one of the offered tools, or of none; sometimes with the reply after the result."""
        tool = self.pick()
        chosen = self.offered(tool, 0, 3)
        name = next(name for each, name, _ in chosen if each is tool)
        offer = [each.described(name, about) for each, name, about in chosen]
        prompt = self.rng.choice(self.talker.rules["persona"]).replace("{bot}", "Bondhu")
        messages: list[dict[str, Any]] = [{"role": "system", "content": prompt}] if self.rng.random() < 0.75 else []
        if self.rng.random() < 0.22:
            return self.no_call(messages, offer)
        typed, arguments = self.request(tool)
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        messages += [{"role": "user", "content": typed}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        if tool.done and self.rng.random() < 0.5:
            result, reply = self.rng.choice(tool.done)
            for number, value in enumerate(arguments.values()):
                reply = reply.replace("{" + str(number) + "}", str(value))
            messages += [{"role": "tool", "content": result}, {"role": "assistant", "content": reply}]
        return Example("call", messages, offer, expect={"name": name, "arguments": arguments})

    def no_call(self, messages: list[dict[str, Any]], offer: list[dict[str, Any]]) -> Example:
        """An example with tools, but a message that needs none."""
        talker = self.talker
        talker.begin()
        talker.example.messages += messages
        for move in (talker.tell, talker.feel, talker.greet):
            talker.attempt(move)
            if talker.example.messages[-1:] and talker.example.messages[-1]["role"] == "assistant":
                break
        example = talker.example
        example.kind, example.tools, example.expect = "call", offer, {"name": None}
        return example

    def fields(self) -> Example:
        """Extraction of fields as JSON from a user message."""
        talker = self.talker
        talker.begin()
        topics = [each for each in talker.topics if each["detail"] and each["detail"][0].endswith("}")]
        shown: dict[str, str | None] = {}
        statements: list[str] = []
        for topic in self.rng.sample(topics, self.rng.randint(2, 4)):
            if topic["detail"][0].count("{") != 1:
                continue
            key = topic["detail"][0].partition(":")[0].replace(" ", "_")
            talker.blanks.enter(topic.name)
            line = as_typed(talker.blanks.written(self.rng.choice(topic["say"])), talker.blanks.typing, self.rng)
            if self.rng.random() < 0.75:
                statements.append(line.rstrip(".!") + ".")
                shown[key] = talker.blanks.plain_text(topic["detail"][0].partition(": ")[2])
            else:
                shown[key] = None
        shape = json.dumps(dict.fromkeys(shown, "…"), ensure_ascii=False)
        template = self.rng.choice(talker.rules.get("fields", FIELDS))
        request = template.replace("{shape}", shape).replace("{keys}", ", ".join(shown))
        content = f"{request}\n\n{' '.join(statements) or 'Hello!'}"
        answer = json.dumps(shown, ensure_ascii=False)
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        return Example("fields", messages, expect={"fields": shown})
