"""Programs that hold a disk open like a running guest: QEMU's own, so that they take QEMU's locks."""

from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_to(disk: Path, format: str) -> Iterator[int]:
    """Open the disk for writing in another process; yield the process id."""
    # Below /tmp itself: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        words = ["qemu-nbd", "--fork", "-t", "-k", f"{folder}/socket", "-f", format, str(disk)]
        with _daemon([*words, "--pid-file"]) as process:
            yield process


@contextmanager
def read_by_a_guest(disk: Path) -> Iterator[int]:
    """Attach a raw disk to a machine, read-only."""
    drive = f"if=virtio,format=raw,readonly=on,file={disk}"
    host = platform.machine()
    board = "q35" if host == "x86_64" else "virt"
    machine = ["-machine", f"{board},accel=tcg", "-S", "-display", "none", "-monitor", "none"]
    with _daemon([f"qemu-system-{host}", *machine, "-drive", drive, "-daemonize", "-pidfile"]) as process:
        yield process


@contextmanager
def _daemon(words: Sequence[str]) -> Iterator[int]:
    """Run a program that daemonizes once the disk is open; a file for its process id is its last argument."""
    with tempfile.TemporaryDirectory() as folder:
        number = Path(folder, "pid")
        subprocess.run([*words, str(number)], check=True)
        process = int(number.read_text())
        descriptor = os.pidfd_open(process)
        try:
            yield process
        finally:
            # SIGTERM can be lost: qemu-nbd forgets one that arrives right after it has daemonized.
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [])  # has ended, and so released its locks
            os.close(descriptor)
