"""The other programs that guestkit runs, pretended: what they say, and what is waited for."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from guestkit import Error, fuse


def test_a_mount_in_use_was_not_said_to_be_busy_in_another_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fusermount3"
    program.write_text(
        "#!/bin/sh\n"
        'case $LC_ALL in C) echo "umount: target is busy." ;; *) echo "umount: cible occupée" ;; esac >&2\n'
        "exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    mount = fuse.Mount(directory=str(tmp_path), server=1, dedicated=False, user=0, readonly=True)
    monkeypatch.setattr(fuse, "mount_at", lambda path: mount)
    with pytest.raises(Error, match="is in use") as caught:
        fuse.unmount(tmp_path)
    assert caught.value.errno == errno.EBUSY


def test_with_1024_open_files_nothing_could_be_waited_for() -> None:
    """select(2) takes no larger descriptors; a server has them."""
    program = """if True:
        import os, resource, socket, subprocess, time
        from guestkit import _nbdkit, _template, fuse

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, most), most))
        null = os.open("/dev/null", os.O_RDONLY)
        while os.dup(null) < 1024:
            pass
        server = subprocess.Popen(["echo", "/socket"], stdout=subprocess.PIPE)
        print(_nbdkit._socket(server, lambda: None))
        server.wait()
        ours, its = socket.socketpair()
        its.sendall(b"ready\\n")
        print(_template._line(ours, time.monotonic() + 60).decode(), end="")
        waited = subprocess.Popen(["true"])
        process = os.pidfd_open(waited.pid)
        print(fuse._has_ended(process, 1e9), process > 1023)
        waited.wait()
    """
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("/socket\nready\nTrue True\n", "")
