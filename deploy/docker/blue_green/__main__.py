"""Moves the service from one colour to the other without an interruption, or back.

    python3 deploy/docker/blue_green switch green [--compose "docker compose"] [--containers docker]
    python3 deploy/docker/blue_green show

It works on docker-compose.cpu.yml with docker-compose.blue-green.yml. Standard library only.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "compose_test"))

from engine import Engine
from switch import COLOURS, FILES, NotSwitched, Switch


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="blue_green", description="Upgrade without an interruption.")
    parser.add_argument("what", choices=("switch", "show"))
    parser.add_argument("colour", nargs="?", choices=COLOURS, help="that shall serve")
    parser.add_argument("--compose", default="docker compose", help="the command for compose files")
    parser.add_argument("--containers", default="docker", help="the command for single containers")
    parser.add_argument("--ready-s", type=float, default=420, help="longest wait for the new colour")
    parser.add_argument("--drain-s", type=float, default=120, help="longest wait for open requests of the old one")
    options = parser.parse_args()
    engine = Engine(shlex.split(options.compose), shlex.split(options.containers), list(FILES), dict(os.environ))
    switch = Switch(engine, ready_s=options.ready_s, drain_s=options.drain_s)
    try:
        if options.what == "show":
            print(switch.show())
        elif options.colour is None:
            parser.error("switch to which colour?")
        else:
            switch.to(options.colour)
    except NotSwitched as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
