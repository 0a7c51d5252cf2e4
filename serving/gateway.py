"""The gateway's process: uvicorn's own command line, ending with status 0 when it is told to stop.

After an orderly stop uvicorn sends itself the signal again, for whoever handled it before: that is this module.
`python -m serving.gateway serving.app:create_app --factory ...`
"""

import signal
import sys
from types import FrameType

import uvicorn

from serving.private_files import keep_private


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    keep_private()

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    uvicorn.main()


if __name__ == "__main__":
    main()
