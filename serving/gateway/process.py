"""The gateway's process: uvicorn's command line, which exits with status 0 after SIGTERM or SIGINT.

After a graceful shutdown uvicorn raises the signal again for the previous handler, which this module installs.
`python -m serving.gateway.process serving.gateway.app:create_app --factory ...`
"""

import signal
import sys
from types import FrameType

import uvicorn

from serving.config.private_files import keep_private


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
