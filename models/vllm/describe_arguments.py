"""Describes the arguments of the installed vLLM's OpenAI server as JSON, from its own parser (imports vLLM).

Defaults and help texts are left out, because they depend on the machine and the build. Names, types and choices do not.
"""

import argparse
import dataclasses
import enum
import json
import re
from typing import Any

#: Server arguments that vLLM's `make_arg_parser` adds beside its FrontendArgs.
_BESIDE_FRONTEND = {"headless", "api_server_count", "config", "grpc"}


def describe() -> str:
    """Return the content of models/vllm/arguments.json for the vLLM that is installed."""
    from vllm.entrypoints.launchers.cli_args import FrontendArgs, make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser
    from vllm.version import __version__

    front = {field.name for field in dataclasses.fields(FrontendArgs)} | _BESIDE_FRONTEND
    parser = make_arg_parser(FlexibleArgumentParser())
    arguments = {
        action.dest: _describe(action, "server" if action.dest in front else "engine")
        for action in parser._actions
        if any(option.startswith("--") for option in action.option_strings) and action.dest != "help"
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(arguments[name])}" for name in sorted(arguments))
    version = __version__.split("+")[0]
    return f'{{"vllm": "{version}", "arguments": {{\n{lines}\n}}}}\n'


def _describe(action: argparse.Action, group: str) -> dict[str, Any]:
    flag = next(option for option in action.option_strings if option.startswith("--"))
    argument: dict[str, Any] = {"flag": flag, "group": group, "kind": _kind(action)}
    if isinstance(action, argparse._AppendAction):
        argument |= {"nargs": "*", "append": True}
    elif action.nargs in {"+", "*"} or (isinstance(action.nargs, int) and action.nargs > 0):
        argument["nargs"] = action.nargs
    choices = list(action.choices or ())
    if choices:
        argument["choices"] = choices
    elif action.dest == "tool_call_parser" and (listed := re.match(r"\{(.*?)\}", str(action.metavar))):
        argument["known"] = listed[1].split(",")  # a plugin may add more
    return argument


def _kind(action: argparse.Action) -> str:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool"
    if isinstance(action, argparse._StoreTrueAction):
        return "flag"
    if isinstance(action.default, enum.IntEnum):
        return "level"
    if action.const is True:
        return "text_or_bool"
    return _converter_kind(action.type)


def _converter_kind(converter: Any) -> str:
    """Return the kind that a converter accepts; vLLM's wrappers `optional_type` and `parse_type` are unwrapped."""
    name = getattr(converter, "__qualname__", "")
    if name.startswith(("optional_type.", "parse_type.")):
        return _converter_kind(converter.__closure__[0].cell_contents)
    if name.startswith("human_readable_int"):
        return "size"
    if name == "loads" or name.endswith(".parse_dataclass"):
        return "json"
    if name == "union_dict_and_str":
        return "json_or_text"
    return {"int": "int", "float": "float"}.get(name, "text")
