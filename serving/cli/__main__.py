"""The `bondhu` program: Ctrl-C ends it with one line and exit code 130, also while its modules are being loaded.

Until a command runs, nothing has been started that would have to be stopped.
"""

import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as in a shell
MESSAGE = "interrupted\n"


def main() -> None:
    """Load the commands and run the one of the command line."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not one that is ignored
    if is_default:
        signal.signal(signal.SIGINT, _exit_while_loading)
    from serving.cli.main import app

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.stderr.write(MESSAGE)
        raise


def _exit_while_loading(*_: object) -> NoReturn:
    os.write(2, MESSAGE.encode())
    os._exit(INTERRUPTED)  # an exception would be printed with the imports that it went through


if __name__ == "__main__":
    main()
