"""What a case must not leave: processes, open files, temporary files, mounts, secrets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

#: The variable of the environment by which every process of a case is known. Its value is the case's folder.
MARK = "GUESTKIT_SOAK_CASE"

#: Seconds until a process is gone whose parent was killed: libguestfs' own looks every two seconds.
PATIENCE = 20.0


def processes(folder: Path) -> list[int]:
    """Return the processes of that case; zombies are none.

    A confined QEMU has lost the mark, but has the case's directory for temporary files.
    """
    mark, below = f"{MARK}={folder}".encode(), f"TMPDIR={folder}/".encode()
    return [
        pid
        for pid in _all_processes()
        if any(one == mark or one.startswith(below) for one in environment(pid).split(b"\0"))
        or _has_tmp(pid, folder / "tmp")
    ]


def _has_tmp(pid: int, tmp: Path) -> bool:
    """Return whether that is the process' /tmp."""
    try:
        return os.path.samefile(Path("/proc", str(pid), "root", "tmp"), tmp)
    except OSError:  # it has ended, or is another user's
        return False


def _all_processes() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def command_line(pid: int) -> str:
    """Return the process' command line, cut to a line that can be read."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="backslashreplace").strip()[:160]


def arguments(pid: int) -> list[bytes]:
    """Return the process' command line by words."""
    return _read(pid, "cmdline").split(b"\0")


def environment(pid: int) -> bytes:
    """Return the process' environment."""
    return _read(pid, "environ")


def parent(pid: int) -> int:
    """Return the process' parent; 0 if it is gone."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started, and so on."""
    by_parent: dict[int, list[int]] = {}
    for one in _all_processes():
        by_parent.setdefault(parent(one), []).append(one)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = by_parent.get(waiting.pop(), [])
        found += below
        waiting += below
    return sorted(found)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Return whether that holds before the time is over."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def end_processes(folder: Path) -> list[str]:
    """Kill what is left of the case; return its command lines."""
    told: dict[int, str] = {}

    def ended() -> bool:
        found = processes(folder)
        for pid in found:
            told.setdefault(pid, command_line(pid))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    within(PATIENCE, ended)
    return list(told.values())


def left_processes(folder: Path) -> list[str]:
    """Wait for the end of the case's processes; kill those that go on, and return their command lines."""
    return [] if within(PATIENCE, lambda: not processes(folder)) else end_processes(folder)


def descriptors_below(*folders: Path) -> list[str]:
    """Return the files below the folders that this process has open."""
    beginnings = tuple(f"{folder}/" for folder in folders)
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            if target.startswith(beginnings):
                found.append(target)
    return found


def left_files(tmp: Path) -> list[str]:
    """Return what is in the case's /tmp. libguestfs keeps what it knows about QEMU in .guestfs-UID."""
    return sorted(entry.name for entry in os.scandir(tmp) if not entry.name.startswith(".guestfs-"))


def left_mounts(folder: Path) -> list[str]:
    """Return what is mounted below the folder."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if f" {folder}/" in line]


def files_with(secrets: list[bytes], files: list[Path]) -> list[str]:
    """Return the files that hold one of the secrets."""
    found = []
    for path in files:
        with path.open("rb") as file:
            end = b""
            while block := file.read(1 << 20):
                if any(secret in end + block for secret in secrets):
                    found.append(str(path))
                    break
                end = block[-256:]
    return found
