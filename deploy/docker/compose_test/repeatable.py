"""Builds an image twice from nothing and compares every installed file: `make compose-test-repeatable`.

    python deploy/docker/compose_test/repeatable.py [--build "docker build"] [--containers docker] [--stage worker]

It fails when a file of the environment, of the configuration or of the carried models differs, or is in one of the two
only. The base image and Debian's packages are not compared: pin PYTHON by digest for those. Standard library only.
"""

import argparse
import os
import shlex
import subprocess
import sys

from engine import ROOT, Engine

TAG = "localhost/bondhu-repeated"
FOUND = "/opt/bondhu ( -type f -exec sha256sum {} + ) , ( -type l -printf 'link %l  %p\\n' )"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="repeatable", description="Build an image twice and compare its files.")
    parser.add_argument("--build", default="docker build")
    parser.add_argument("--containers", default="docker")
    parser.add_argument("--stage", default="worker")
    options = parser.parse_args()
    engine = Engine([], shlex.split(options.containers), [], dict(os.environ))
    first, second = (files(engine, options.stage, shlex.split(options.build), number) for number in (1, 2))
    differing = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
    print(f"{options.stage}: {len(first)} files, {len(differing)} differ between two builds")
    if differing:
        sys.exit("\n".join(differing[:50]))


def files(engine: Engine, stage: str, build: list[str], number: int) -> dict[str, str]:
    """Build the stage without what was built before; return the hash of each file by its path."""
    tag = f"{TAG}:{stage}-{number}"
    about = ("--no-cache", "--file", "deploy/docker/Dockerfile", "--target", stage, "--tag", tag, ".")
    subprocess.run([*build, *about], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    listed = engine.command("run", "--rm", "--entrypoint", "find", tag, *shlex.split(FOUND))
    engine.command("rmi", tag)
    return {path: said for said, _, path in (line.partition("  ") for line in listed.splitlines())}


if __name__ == "__main__":
    main()
