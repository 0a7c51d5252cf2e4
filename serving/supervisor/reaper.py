"""The reaper: runs a command so that neither it nor its descendants outlive the process that started it.

    python -I -S reaper.py [--grace-s 10] [--cwd DIR] [--unwatched] [--remove DIR] -- CMD...

The starter gives the reaper a pipe as standard input and keeps the other end open: end of file means that the starter
is gone, for whatever reason. Then, and on SIGTERM, SIGINT or SIGHUP, CMD gets SIGTERM, and after `grace-s` seconds all
descendants get SIGKILL. Descendants that CMD leaves behind when it exits by itself are killed too, and finally the
directory `--remove` is deleted. The exit status is that of CMD (128 + n if signal n ended it, 126 or 127 if it could
not be started).

There are two watching processes, an outer one and, in its own session, an inner one. Both are child subreapers
(prctl(2), PR_SET_CHILD_SUBREAPER), so that daemons that leave their parent, group and session are still found. If one
of the two gets SIGKILL, the other cleans up; a signal to a whole process group misses the inner one. Only SIGKILL to
both at once can leave a daemonised grandchild. CMD itself dies even then: its parent-death signal is SIGKILL, because
at that time nobody is left to follow up on SIGTERM. The starter is watched with a pipe, because a parent-death signal
is sent when the starting *thread* ends, which in an actor is not the process.

It only uses the standard library, runs only on Linux, and knows nothing about the command.
"""

import argparse
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TRACKERS_S = 3.0  # time for remaining resource trackers to clean up
GIVE_UP_S = 15.0  # maximum wait for a process in uninterruptible sleep, or of another user


def argv(
    command: Sequence[str],
    *,
    grace_s: float = 10.0,
    cwd: str | None = None,
    watched: bool = True,
    remove: str | None = None,
) -> list[str]:
    """Return the command line that runs `command` under a reaper.

    Start it with `stdin=subprocess.PIPE` and keep that pipe, unless `watched` is off. The directory `remove` is deleted
    with its content when everything has ended.
    """
    flags = [
        "--grace-s",
        str(grace_s),
        *(["--cwd", cwd] if cwd else []),
        *(["--remove", remove] if remove else []),
    ]
    return [
        sys.executable,
        "-I",
        "-S",
        __file__,
        *flags,
        *([] if watched else ["--unwatched"]),
        "--",
        *command,
    ]


def descendants(root: int) -> list[int]:
    """Return the process ids of all descendants of `root` that are not zombies, from /proc."""
    children: dict[int, list[int]] = {}
    zombies = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it has just ended
        children.setdefault(int(parent), []).append(int(name))
        if state in "ZX":
            zombies.add(int(name))
    found, queue = [], [root]
    while queue:
        for child in children.get(queue.pop(), []):
            queue.append(child)
            if child not in zombies:
                found.append(child)
    return found


def parent_of(pid: int) -> int:
    """Return the parent's process id; raises OSError if there is no such process."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def _is_resource_tracker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return b"multiprocessing.resource_tracker" in command.read()
    except OSError:
        return False


class Watch:
    """One watching process: waits for `child`, for end of file on `lifeline` (-1: none), for stop signals."""

    def __init__(self, child: int, lifeline: int, wakeup: int) -> None:
        self.child, self.wakeup = child, wakeup
        self.status: int | None = None
        self.is_stopping = False
        self.childless = False
        self._poller = select.poll()
        self._poller.register(wakeup, select.POLLIN)
        if lifeline >= 0:
            self._poller.register(lifeline, select.POLLIN)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for an event for at most `timeout_s`, and note it."""
        for fd, _ in self._poller.poll(None if timeout_s is None else max(0, int(timeout_s * 1000))):
            data = os.read(fd, 4096)
            if fd == self.wakeup:
                self.is_stopping |= any(number in STOP_SIGNALS for number in data)
            elif not data:
                self._poller.unregister(fd)
                self.is_stopping = True
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                return
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code

    def until_stop(self) -> None:
        """Wait until the child has ended or a stop was requested."""
        while self.status is None and not self.is_stopping:
            self.wait(None)

    def stop(self, grace_s: float) -> None:
        """Send SIGTERM to the child and wait for its end for at most `grace_s`."""
        if self.status is not None:
            return
        os.kill(self.child, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.status is None and time.monotonic() < deadline:
            self.wait(deadline - time.monotonic())

    def sweep(self) -> None:
        """Send SIGKILL to all descendants until none is left: a subreaper without children has no descendants.

        Python's resource trackers come last: they exit by themselves once the processes that they serve are dead, after
        deleting those processes' shared memory. If killed, they would leave it in /dev/shm.
        """
        deadline = time.monotonic() + GIVE_UP_S
        spared_until = deadline
        self._reap()
        while not self.childless:
            now = time.monotonic()
            left = descendants(os.getpid())
            if now > deadline:
                _complain(f"gave up waiting for {left}")
                return
            trackers = [pid for pid in left if _is_resource_tracker(pid)]
            if len(trackers) == len(left):
                spared_until = min(spared_until, now + TRACKERS_S)
            doomed = left if now > spared_until else [pid for pid in left if pid not in trackers]
            for pid in doomed:
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue  # already gone, or not ours to kill: then the deadline decides
            self.wait(0.02)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command under both watches; returns its exit status."""
    parser = argparse.ArgumentParser(prog="reaper", description="Run CMD; no descendant outlives the starter.")
    parser.add_argument("--grace-s", type=float, default=10.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--cwd", help="directory to run CMD in")
    parser.add_argument("--unwatched", action="store_true", help="outlive the starter: standard input is not a pipe")
    parser.add_argument("command", nargs="+", metavar="-- CMD")
    parser.add_argument("--remove", metavar="DIR", help="delete this directory when everything has ended")
    args = list(sys.argv[1:] if arguments is None else arguments)
    split = args.index("--") if "--" in args else len(args)
    options = parser.parse_args([*args[:split], "CMD"])
    command = args[split + 1 :] or parser.error("no command: put it after --")

    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup = _catch_signals()
    far_end, near_end = os.pipe()
    inner = _fork()
    if inner == 0:
        os.close(near_end)
        os._exit(_inner(command, options.cwd, options.grace_s, options.remove, far_end))
    os.close(far_end)

    watch = Watch(inner, -1 if options.unwatched else 0, wakeup)
    watch.until_stop()
    watch.stop(options.grace_s + GIVE_UP_S)  # time for the inner watch's own grace and sweep
    watch.sweep()
    _delete(options.remove)  # again, in case the inner watch was killed
    return 128 + signal.SIGKILL if watch.status is None else watch.status


def _inner(command: Sequence[str], cwd: str | None, grace_s: float, remove: str | None, lifeline: int) -> int:
    os.setsid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup = _catch_signals()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    myself = os.getpid()
    child = _fork()
    if child == 0:
        _become(command, cwd, myself)
    watch = Watch(child, lifeline, wakeup)
    watch.until_stop()
    watch.stop(grace_s)
    watch.sweep()
    _delete(remove)
    return 128 + signal.SIGKILL if watch.status is None else watch.status


def _become(command: Sequence[str], cwd: str | None, parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)  # the watch died before the death signal was set
    try:
        if cwd:
            os.chdir(cwd)
        os.execvp(command[0], list(command))  # noqa: S606 - our own command, without a shell
    except OSError as problem:
        _complain(f"cannot start {command[0]}: {problem}")
        os._exit(126 if isinstance(problem, PermissionError) else 127)


def _fork() -> int:
    """fork(2) with default signal handling in the child, which must not write to the parent's wake-up pipe."""
    caught = {*STOP_SIGNALS, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (*caught, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
    return pid


def _catch_signals() -> int:
    """Write signal numbers to a pipe as bytes; returns its read end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def _delete(directory: str | None) -> None:
    if directory and os.path.isdir(directory) and not os.path.islink(directory):
        import shutil  # here, because most reapers have nothing to delete

        shutil.rmtree(directory, ignore_errors=True)


def _complain(what: str) -> None:
    os.write(2, f"reaper: {what}\n".encode())


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
