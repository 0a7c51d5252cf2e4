"""The card, by nvidia-smi: what it is, and the most memory that was in use. Absent on a machine without one."""

import shutil
import subprocess
import threading


def describe() -> dict[str, str]:
    """Name, total memory and driver of the first card; empty without one."""
    found = _ask("name,memory.total,driver_version")
    if not found:
        return {}
    name, memory_mib, driver = (part.strip() for part in found.split(","))
    return {"name": name, "memory_mib": memory_mib, "driver": driver}


class MemoryWatch:
    """The most memory of the first card that was in use since the start, MiB; looked at twice a second."""

    def __init__(self) -> None:
        self.peak_mib: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            used = _ask("memory.used")
            if not used:
                return
            self.peak_mib = max(self.peak_mib or 0, int(used))


def _ask(fields: str) -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""
