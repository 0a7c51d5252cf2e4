"""Checks command lines with vLLM's own parser: JSON lists on stdin, error messages (or null) as JSON on stdout.

Run as `python -m models.vllm.parser_check`. It starts no engine and needs no weights. It finds what vLLM checks before
it loads anything: names, types, keys of JSON arguments, the chat template's file.
"""

import json
import os
import sys
from typing import NoReturn


def complaints(command_lines: list[list[str]]) -> list[str | None]:
    """Return vLLM's error message for each command line, or None if it accepts it. Imports vLLM."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]  # vLLM's modules are not followed by mypy
        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    def complaint(arguments: list[str]) -> str | None:
        try:
            validate_parsed_serve_args(make_arg_parser(Parser()).parse_args(arguments))
        except (TypeError, ValueError, KeyError, OSError) as error:
            return " ".join(str(error).split())
        return None

    return [complaint(arguments) for arguments in command_lines]


if __name__ == "__main__":
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    sys.stdout.write("\n" + json.dumps(complaints(json.load(sys.stdin))) + "\n")
