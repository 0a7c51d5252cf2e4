"""Page cache is memory that a container still has: by Ray, which kills processes for memory, and by the doctor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.firing import machines

MIB = 2**20
READ_MIB = 96
LOOK = """
import json
from pathlib import Path
from ray._private.utils import get_used_memory
from serving.observability.host import read_host
usage = int(Path("/sys/fs/cgroup/memory/memory.usage_in_bytes").read_text())
print(json.dumps([usage, get_used_memory(), read_host(Path("/tmp")).memory_used_bytes]))
"""


@pytest.mark.slow  # for the time that Ray's import takes
@pytest.mark.skipif(not machines.is_possible(), reason="needs root and control groups of version 1")
def test_page_cache_does_not_count_as_used(tmp_path: Path) -> None:
    """Of a container that has read a large file; https://github.com/ray-project/ray/issues/59796."""
    file = tmp_path / "large"
    read_it = f"head -c {READ_MIB}M /dev/zero > {file} && sync {file} && cat {file} > /dev/null"
    with machines.SmallMachine(f"bondhu-cache-{os.getpid()}") as machine:
        limit = machines.CGROUP / f"memory/bondhu-cache-{os.getpid()}/memory.limit_in_bytes"
        limit.write_text(str(1536 * MIB))
        command = [*machine.command, "sh", "-c", f'{read_it} && exec "$0" -c "$1"', sys.executable, LOOK]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    usage, by_ray, by_doctor = json.loads(found.stdout.splitlines()[-1])
    assert usage - by_ray > READ_MIB * MIB * 0.9
    assert usage - by_doctor > READ_MIB * MIB * 0.9
