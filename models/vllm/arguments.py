"""vLLM's command-line arguments as data: check them without importing vLLM, and write the command line.

`models/vllm/arguments.json` describes every argument of the installed vLLM's OpenAI server; it is written by
`python -m models.vllm.arguments` (the only part that imports vLLM). Keys inside JSON arguments such as
`compilation_config` are not checked here, but by vLLM's own parser (`bondhu models check --deep`).
"""

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DATA_FILE = Path(__file__).with_suffix(".json")

#: Arguments that the service sets itself, and what to do in a model file instead.
RESERVED = {
    "model": "use `path`",
    "model_tag": "use `path`",
    "revision": "use the file's own `revision`",
    "served_model_name": "the model's name is the file's `id`",
    "host": "the service chooses the engine's address",
    "port": "the service chooses the engine's address",
    "uds": "the service chooses the engine's address",
    "api_key": "the service generates a key at every start of the engine",
    "hf_token": "secrets come from the environment: set HF_TOKEN",
    "config": "put the arguments into this file",
    "grpc": "the gateway talks HTTP to engines",
    "headless": "an engine must serve HTTP",
}
_SIZE = re.compile(r"\d+(\.\d+)?[kKmMgGtT]?|auto")


def check(engine: Mapping[str, Any], server: Mapping[str, Any], where: str) -> None:
    """Raise ValueError with a line, which starts with `where`, for every unknown name, wrong type or wrong choice."""
    if lines := [f"{where}: {key}: {message}" for key, message in problems(engine, server)]:
        raise ValueError("\n".join(lines))


def problems(engine: Mapping[str, Any], server: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key path, message) for everything that vLLM's parser would refuse, and for reserved names."""
    arguments = _arguments()
    for group, values in (("engine", engine), ("server", server)):
        for name, value in values.items():
            if message := _unusable(str(name), group, arguments) or _mismatch(value, arguments[name]):
                yield f"{group}.{name}", message
    parser = server.get("tool_call_parser")
    if server.get("enable_auto_tool_choice") and not parser:
        yield "server.enable_auto_tool_choice", "needs `tool_call_parser`"
    built_in = arguments["tool_call_parser"]["known"]
    if isinstance(parser, str) and parser not in built_in and not server.get("tool_parser_plugin"):
        yield "server.tool_call_parser", _not_among(parser, built_in) + " (or one of a `tool_parser_plugin`)"


def command_line(engine: Mapping[str, Any], server: Mapping[str, Any]) -> list[str]:
    """Return the command-line options for arguments that were checked; an argument that is None is left out.

    They are sorted, so that another order in a file does not restart the engine. Values are attached by `=`, because
    vLLM's parser misreads a separate value that starts with a dash and has a dot.
    """
    arguments = _arguments()
    return [
        option
        for name, value in (*sorted(engine.items()), *sorted(server.items()))
        if value is not None
        for option in _options(value, arguments[name])
    ]


@functools.cache
def _arguments() -> dict[str, dict[str, Any]]:
    arguments: dict[str, dict[str, Any]] = json.loads(DATA_FILE.read_bytes())["arguments"]
    return arguments


def _unusable(name: str, group: str, arguments: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return why `name` cannot be set in `group`, or None."""
    if name in RESERVED:
        return f"cannot be set: {RESERVED[name]}"
    argument = arguments.get(name)
    if argument is not None:
        return None if argument["group"] == group else f"belongs under `{argument['group']}:`"
    if name.replace("-", "_") in arguments:
        return f"write it with underscores: `{name.replace('-', '_')}`"
    settable = [candidate for candidate in arguments if candidate not in RESERVED]
    closest = difflib.get_close_matches(name, settable, n=1, cutoff=0.6)
    hint = f"; did you mean `{closest[0]}`?" if closest else "; see docs.vllm.ai, Engine Arguments"
    return f"vLLM has no such argument{hint}"


def _mismatch(value: Any, argument: Mapping[str, Any]) -> str | None:
    """Return why `value` does not fit the argument, or None."""
    if value is None:
        return None
    if "nargs" in argument:
        if not isinstance(value, list):
            return f"must be a list, got {value!r}"
        if isinstance(argument["nargs"], int) and len(value) != argument["nargs"]:
            return f"must be a list of {argument['nargs']}, got {len(value)}"
        return next((m for m in (_scalar_mismatch(item, argument) for item in value) if m), None)
    return _scalar_mismatch(value, argument)


def _scalar_mismatch(value: Any, argument: Mapping[str, Any]) -> str | None:
    kind, choices = argument["kind"], argument.get("choices")
    accepted = {
        "bool": isinstance(value, bool),
        "flag": isinstance(value, bool),
        "int": _is_int(value),
        "float": _is_int(value) or isinstance(value, float),
        "size": _is_int(value) or (isinstance(value, str) and _SIZE.fullmatch(value) is not None),
        "json": isinstance(value, (dict, list)),
        "json_or_text": isinstance(value, (dict, str)),
        "text_or_bool": isinstance(value, (str, bool)),
        "level": _is_int(value) or isinstance(value, str),
        "text": isinstance(value, str),
    }
    if not accepted[kind]:
        return f"must be {_KINDS[kind]}, got {value!r}"
    if choices and value not in choices:
        return _not_among(value, choices)
    return None


def _not_among(value: Any, choices: Sequence[Any]) -> str:
    names = [str(choice) for choice in choices]
    closest = difflib.get_close_matches(str(value), names, n=1)
    return f"got {value!r}; {f'did you mean `{closest[0]}`? ' if closest else ''}accepted: {', '.join(names)}"


_KINDS = {
    "bool": "true or false",
    "flag": "true or false",
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, or one such as 16k",
    "json": "a mapping or a list",
    "json_or_text": "a mapping or text",
    "text_or_bool": "text, true or false",
    "level": "a number or text",
    "text": "text (quote it)",
}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _options(value: Any, argument: Mapping[str, Any]) -> list[str]:
    """Return one argument's options: --flag, --no-flag, --flag=value, or --flag value value."""
    flag = argument["flag"]
    if isinstance(value, bool):
        if value:
            return [flag]
        return ["--no-" + flag.removeprefix("--")] if argument["kind"] == "bool" else []
    if argument.get("append"):
        return [f"{flag}={_text(item)}" for item in value]
    if "nargs" in argument:
        return [flag, *map(_text, value)] if value else []
    return [f"{flag}={_text(value)}"]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True) if isinstance(value, (dict, list)) else str(value)


if __name__ == "__main__":
    from models.vllm.describe_arguments import describe

    DATA_FILE.write_text(describe())
