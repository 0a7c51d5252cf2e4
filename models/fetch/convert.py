"""The heavy steps of a fetch, in a separate process, so that the caller needs neither torch nor its memory.

    python -m models.fetch.convert checkpoint FILE.gguf DIRECTORY
    python -m models.fetch.convert W8A8 CHECKPOINT DIRECTORY

Exit codes: 0 done; 1 impossible, with the reason on standard error; otherwise the number of an OSError.
"""

import errno
import json
import sys
from pathlib import Path

from models.fetch.errors import FetchError
from models.fetch.staging import FULL

FAILED = 1
GROUP_SIZE = 32


def _convert(form: str, source: Path, out: Path) -> None:
    if form == "checkpoint":
        from models.fetch.gguf_checkpoint import write_checkpoint

        write_checkpoint(source, out)
        return
    from models.quantize import check_source
    from models.rounding import Scheme, quantize_checkpoint

    scheme: Scheme = "W8A8" if form == "W8A8" else "W4A16"
    check_source(json.loads((source / "config.json").read_text()), GROUP_SIZE, scheme)
    made = out / ".made"
    quantize_checkpoint(source, made, scheme, GROUP_SIZE)
    for path in made.iterdir():
        path.rename(out / path.name)
    made.rmdir()


def main(arguments: list[str]) -> int:
    """Convert as the command line says."""
    from models.quantize import QuantizeError

    form, source, out = arguments
    try:
        _convert(form, Path(source), Path(out))
    except FetchError as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - a command's own message
        return FAILED
    except (QuantizeError, ValueError) as problem:
        message = f"it cannot be quantised: {problem}. Serve it as it is (form: checkpoint)"
        print(message, file=sys.stderr)  # noqa: T201 - likewise
        return FAILED
    except OSError as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - likewise
        return problem.errno if problem.errno in FULL else FAILED
    except Exception as problem:  # noqa: BLE001 - safetensors tells of a full disk in an exception of its own
        print(problem, file=sys.stderr)  # noqa: T201 - likewise
        full = any(word in str(problem) for word in ("No space left", "File too large", "Disk quota"))
        return errno.ENOSPC if full else FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
