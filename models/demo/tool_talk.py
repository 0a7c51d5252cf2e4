"""Dialogues with a tool: the call, its result and the reply, so that the model learns the markup."""

import json
from typing import TYPE_CHECKING, Any

from models.demo.memory import Memory, expansion
from models.demo.wording import as_reply, as_typed

if TYPE_CHECKING:
    from models.demo.corpus import Dialogue

TOOLS = {
    "play_music": (
        "query",
        "Play music.",
        (
            "play {artist}",
            "play {song}",
            "play some {genre}",
            "put on {song} by {artist}",
            "please play {genre}",
            "i want to hear {artist}",
            "can you play {song}?",
        ),
    ),
    "search_videos": (
        "query",
        "Search videos.",
        (
            "find {video_kind}",
            "show me {video_kind}",
            "search for {video_kind}",
            "i want to watch {film}",
            "find a video about {hobby}",
        ),
    ),
    "get_weather": (
        "place",
        "Get the weather.",
        (
            "what's the weather in {place}?",
            "is it cold in {place}?",
            "weather in {place} please",
            "how is the weather in {place}?",
        ),
    ),
    "remember": (
        "fact",
        "Remember a fact.",
        ("remember that i like {food}", "remember that i like {hobby}", "remember my {animal} {pet_name}"),
    ),
}
RESULTS = {
    "play_music": ('{"status": "playing"}', "Now playing {x}. Enjoy!"),
    "search_videos": ('{"found": 3}', "I found some videos about {x}. Have fun!"),
    "get_weather": ('{"sky": "SKY"}', "It is SKY in {x} right now."),
    "remember": ('{"status": "saved"}', "Okay, I'll remember {x}."),
}
SKIES = ("sunny", "rainy", "cloudy", "windy", "cold", "snowy", "foggy", "warm")


def describe(name: str) -> dict[str, Any]:
    """Return a tool's description as the API has it."""
    argument, what, _ = TOOLS[name]
    schema = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": what, "parameters": schema}}


def write(dialogue: "Dialogue", memory: Memory, training: bool) -> None:
    """Fill `dialogue` with one request that a tool answers."""
    del training  # tools have no held-out templates of their own
    rng = memory.rng
    memory.start_scene()
    name = rng.choice(list(TOOLS))
    offered = {name, rng.choice(list(TOOLS))}
    dialogue.tools = [describe(each) for each in TOOLS if each in offered]
    argument, _, requests = TOOLS[name]
    typed = as_typed(expansion(memory, rng.choice(requests), "user"), memory.habit, rng)
    value = " ".join(
        memory.scene[slot]
        for slot in ("song", "artist", "genre", "video_kind", "film", "hobby", "place", "food", "pet_name")
        if slot in memory.scene
    )
    result, reply = RESULTS[name]
    sky = rng.choice(SKIES)
    call = {"type": "function", "function": {"name": name, "arguments": json.dumps({argument: value})}}
    dialogue.messages += [
        {"role": "user", "content": typed},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result.replace("SKY", sky)},
        {"role": "assistant", "content": as_reply(reply.replace("SKY", sky).replace("{x}", value))},
    ]
