"""Disks on HTTP and SSH servers: nbdkit presents each as an NBD server, on a private socket of this host."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from guestkit._programs import LOST, STEP, TooLong, lost, pieces, running, signals_held, status
from guestkit._system import hint
from guestkit._text import hidden, printable, without_secrets
from guestkit.errors import Error

_START = 30.0  # seconds
#: How long the other host may say nothing: while the disk is opened, and later, when a guest's reads wait, in
#: seconds.
_ANSWER, _ANSWER_LATER = 20.0, 30.0
_END = 1.0  # seconds
_BEGINNING = 1 << 20  # bytes
_MOST_SAID = 1 << 14  # bytes

#: The command that nbdkit runs, and with which it ends: when this process closes the pipe, or dies.
_LIFE = 'printf "%s\\n" "$unixsocket"; exec cat >/dev/null'


@contextmanager
def serving(op: str, url: str, folder: str, beat: Callable[[], object]) -> Iterator[Server]:
    """Serve the disk at the URL, read-only, as long as the context lasts.

    folder: where temporary files go
    beat: called many times a second while nbdkit starts; an exception from it ends that
    """
    name, words, secret = _asked(op, url)
    with ExitStack() as stack:
        said = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        inherited = []
        if secret is not None:
            inherited = [stack.enter_context(_in_memory(secret))]
            words.append(f"password=-{inherited[0]}")
        # What has been read is kept in a file: one request for 64 KiB, not one for each sector.
        command = ["nbdkit", "-r", "-U", "-", "--filter=cache", *words, "cache-on-read=true"]
        release = stack.enter_context(signals_held())
        try:
            process = subprocess.Popen(
                [*command, "--run", _LIFE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "TMPDIR": folder},
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is not for it: the handle ends it
            )
        except FileNotFoundError:
            message = f"{name}: nbdkit, which opens it, is not installed"
            raise Error(op, message, errno.ENOENT, "url", hint("nbdkit")) from None
        socket = ""
        try:
            release()
            socket = _socket(process, beat)
            server = Server(op, name, socket, said, url)
            if not socket:
                raise server.failed("nbdkit does not start")
            yield server
        finally:
            _end(process, socket)


@contextmanager
def _in_memory(secret: str) -> Iterator[int]:
    """Yield the descriptor of a file that holds the secret and is on no disk, where a kill would leave it."""
    descriptor = os.memfd_create("guestkit-password")
    try:
        os.pwrite(descriptor, os.fsencode(secret), 0)
        yield descriptor
    finally:
        os.close(descriptor)


class Server:
    """A disk that nbdkit serves."""

    def __init__(self, op: str, name: str, socket: str, said: BinaryIO, url: str) -> None:
        self.name = name
        self.socket = socket
        self._op = op
        self._said = said
        self._url = url

    @property
    def uri(self) -> str:
        return f"nbd+unix:///?socket={self.socket}"

    @contextmanager
    def beginning(self, folder: str, beat: Callable[[], object]) -> Iterator[str]:
        """Yield the path of a file with the disk's first MiB.

        Raises Error if the disk is not there, or the other host does not answer (ETIMEDOUT).
        """
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            command = ["qemu-img", "dd", "-f", "raw", "-O", "raw", "bs=65536", f"count={_BEGINNING >> 16}"]
            with running([*command, f"if={self.uri}", f"of={file.name}"]) as process:
                written, deadline = 0, 0.0
                while status(process, STEP) is None:
                    beat()
                    if (latest := os.fstat(file.fileno()).st_mtime_ns) != written:
                        written, deadline = latest, time.monotonic() + _ANSWER
                    elif time.monotonic() > deadline:
                        silence = f"{self.name}: the server has not answered for {_ANSWER:g} s"
                        hint = "see whether it is up, and try again"
                        raise Error(self._op, silence, errno.ETIMEDOUT, hint=hint)
            if process.returncode == LOST:
                raise Error(self._op, f"{self.name}: {lost('qemu-img')}", errno.ECHILD)
            if process.returncode != 0:
                raise self.failed("cannot be read")
            yield file.name

    def failed(self, what: str) -> Error:
        """Return the error for what failed, with the reason that nbdkit gave."""
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), _MOST_SAID, max(0, size - _MOST_SAID))
        lines = text.decode("utf-8", "surrogateescape").splitlines()
        reasons = [line.partition("error: ")[2] for line in lines if "error: " in line]
        reason = f": {printable(hidden(reasons[0], self._url))[:300]}" if reasons else ""
        return Error(self._op, f"{self.name}: {what}{reason}", errno.EIO, "disk_missing")


def _asked(op: str, url: str) -> tuple[str, list[str], str | None]:
    """Return the disk's name for messages, the words that nbdkit takes, and the password."""
    name = printable(without_secrets(url))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Error(op, f"{name}: is no URL: {hidden(str(error), url)}", errno.EINVAL, "url") from None
    host = parts.netloc.rpartition("@")[2]
    if not parts.hostname or not url.isprintable() or " " in url:
        raise Error(op, f"{name}: is no URL of a disk: SCHEME://HOST/PATH", errno.EINVAL, "url")
    user = [] if parts.username is None else [f"user={unquote(parts.username)}"]
    password = None if parts.password is None else unquote(parts.password)
    patience = f"timeout={_ANSWER_LATER:g}"
    if parts.scheme == "ssh":
        where = [f"host={parts.hostname}", f"path={unquote(parts.path)}"]
        return name, ["ssh", *where, patience, *user, *([] if port is None else [f"port={port}"])], password
    plain = parts._replace(netloc=host).geturl()
    # A redirection, too, leads to nothing but such servers, and never out of TLS.
    protocols = "https" if parts.scheme == "https" else "http,https"
    return name, ["curl", f"url={plain}", f"protocols={protocols}", patience, *user], password


def _socket(process: subprocess.Popen[bytes], beat: Callable[[], object]) -> str:
    """Wait until nbdkit listens; return its socket, "" if it has ended."""
    assert process.stdout is not None
    line = b""
    with suppress(TooLong):
        for _, piece in pieces([process.stdout], beat, _START):
            line += piece
            if line.endswith(b"\n"):
                break
    return os.fsdecode(line[:-1]) if line.endswith(b"\n") else ""


def _end(process: subprocess.Popen[bytes], socket: str) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    if status(process, _END) is None:  # it waits for an answer of the other host
        os.killpg(process.pid, signal.SIGKILL)  # what it has started, too: that is what serves the disk
        process.wait()
        if re.fullmatch(r"/.*/nbdkit\w{6}/socket", socket):  # as nbdkit makes it: the text is a program's
            shutil.rmtree(os.path.dirname(socket), ignore_errors=True)
