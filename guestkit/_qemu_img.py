"""qemu-img, run on disks that guestkit has checked and holds open."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guestkit import _native
from guestkit._programs import LOST, STEP, Program, lost, pieces, running, status
from guestkit._system import hint
from guestkit.disks import PlainDisk, plain_disks
from guestkit.errors import CallTimeout, Error
from guestkit.handle_options import Sandbox
from guestkit.images import ImageInfo
from guestkit.opening import OpenDiskOptions

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: Called with the fraction that is done, 0.0 to 1.0.
Progress = Callable[[float], object]

#: How the program that shuts others in ends if it cannot.
_NOT_SHUT_IN = 127

_MOST_PRINTED = 4 << 20  # bytes, of an answer; of each snapshot it has some 300
_MOST_SAID = 4096  # bytes of its complaints, of which `qemu-img check` has a line for each leaked cluster


@dataclass
class _Said:
    """What qemu-img has written so far."""

    printed: bytes = b""
    complaint: bytes = b""
    """The last lines of its complaints: the image says how many those are."""


@dataclass(frozen=True)
class CheckedDisk:
    """A checked disk, held open."""

    given: StrOrBytesPath
    """Its path as the user has it, which may be that of an archive."""
    info: ImageInfo
    node: str
    """How qemu-img opens the disk: its files by their descriptors."""
    path: str
    """How it opens the disk's own file alone."""
    descriptors: Sequence[int]
    readonly: bool

    def lies_in(self, path: Path) -> bool:
        """Return whether the path is one of the files that the disk consists of."""
        return any(_is_same_file(path, file) for file in (self.given, *self.descriptors))


class QemuImg:
    """Runs qemu-img for one call.

    op: the call, which errors name
    timeout: how long the call may take from now on, in seconds; None: no limit
    is_cancelled: whether the call is to end; not asked while qemu-img writes to the disk itself
    """

    def __init__(
        self, op: str, sandbox: Sandbox, timeout: float | None, is_cancelled: Callable[[], bool]
    ) -> None:
        self._op = op
        self._strict = sandbox == "strict"
        self._timeout = math.inf if timeout is None else timeout
        self._deadline = time.monotonic() + self._timeout
        self._is_cancelled = is_cancelled

    @contextlib.contextmanager
    def checked(self, path: StrOrBytesPath, opening: OpenDiskOptions) -> Iterator[CheckedDisk]:
        """Unpack the disk if it is packed, check it, and hold it open."""
        with self._making("a temporary file"):
            folder = tempfile.gettempdir()
        with plain_disks(self._op, [PlainDisk(path, opening)], folder, self._go_on, one=True) as (plain,):
            with plain.named():
                found, node, descriptors = _native.check_disk(
                    self._op, plain.path, opening.native(self._op), self._strict
                )
            info = ImageInfo.from_native(found)
            own = f"/proc/{'self' if self._strict else os.getpid()}/fd/{descriptors[0]}"
            try:
                yield CheckedDisk(path, info, f"json:{node}", own, descriptors, opening.readonly)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def run(
        self,
        words: Sequence[str],
        disk: CheckedDisk | None = None,
        output: Path | None = None,
        progress: Progress | None = None,
        accept: Sequence[int] = (0,),
    ) -> str:
        """Run qemu-img; return what it prints, or raise Error.

        What changes the disk itself ends by itself or by the limit, since half a change would spoil the disk:
        KeyboardInterrupt is raised after that, with a note of what has failed.

        disk, output: what it reads and writes; without a disk, it has nothing to be shut in for
        """
        changes = disk is not None and not disk.readonly
        with contextlib.ExitStack() as stack:
            program = stack.enter_context(self._command(disk, output))
            pipe = subprocess.PIPE
            try:
                process = stack.enter_context(
                    running([*program, *words], stdout=pipe, stderr=pipe, terminal=not changes)
                )
            except FileNotFoundError:
                raise self._missing() from None
            except OSError as error:
                reason = f"qemu-img cannot be run: {error.strerror}"
                raise Error(self._op, reason, error.errno or 0) from error
            said = _Said()
            interrupts: list[KeyboardInterrupt] = []
            try:
                code = self._ended(process, said, progress, interrupts if changes else None)
                if code not in accept:
                    raise self._failure(code, said.complaint, shut_in=len(program) > 1)
            except Error as error:
                if not interrupts:
                    raise
                interrupts[0].add_note(error.message)
                raise interrupts[0]  # noqa: B904 - the error stays its context
            if interrupts:
                raise interrupts[0]
            return os.fsdecode(said.printed)

    def _failure(self, code: int, complaint: bytes, *, shut_in: bool) -> Error:
        if code == LOST:
            return Error(self._op, lost("qemu-img"), errno.ECHILD)
        said = os.fsdecode(complaint).strip().removeprefix("qemu-img: ")
        if code == _NOT_SHUT_IN and shut_in:
            return Error(self._op, f"sandbox=strict: {said}", errno.ENOTSUP)
        return Error(self._op, said or f"qemu-img ended with {code}", errno.EIO)

    def answer(self, words: Sequence[str], disk: CheckedDisk, accept: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run qemu-img; return the JSON object that it prints, or raise Error."""
        output = self.run(words, disk, accept=accept)
        try:
            found: dict[str, Any] = json.loads(output[output.index("{") :])
        except (ValueError, RecursionError) as error:
            raise Error(self._op, f"qemu-img prints no JSON: {error}", errno.EIO) from error
        return found

    def _go_on(self) -> None:
        if self._is_cancelled():
            raise Error(self._op, "cancelled", errno.EINTR)
        self._check_time()

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            message = f"took longer than {self._timeout:g} s (timeout) and was stopped"
            raise CallTimeout(self._op, message, errno.ETIMEDOUT, self._timeout)

    @contextlib.contextmanager
    def _command(self, disk: CheckedDisk | None, output: Path | None) -> Iterator[Sequence[str]]:
        """Yield the program to run, with what shuts it in: appliance/cage.hpp has the form of that."""
        if disk is None or not self._strict:
            yield ["qemu-img"]
            return
        cage, program = _native.cage_program(), shutil.which("qemu-img")
        if not cage:
            message = "sandbox=strict: what shuts qemu-img in is part of an appliance that guestkit has built"
            raise Error(self._op, message, errno.ENOTSUP, hint="guestkit appliance build")
        if program is None:
            raise self._missing()
        with contextlib.ExitStack() as stack:
            with self._making("a temporary directory"):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="guestkit-"))
            writes = () if disk.readonly else disk.descriptors[:1]
            files = [f"{number}{'w' if number in writes else ''}" for number in disk.descriptors]
            if output is not None:  # there already, since a program that is shut in makes no files
                with self._making("the output"):
                    files.append(f"{stack.enter_context(output.open('xb')).fileno()}w")
            what = f"{os.getpid()}:{','.join(files)}:{folder}"
            yield [cage, "-guestkit-cage", what, "-guestkit-program", program]

    @contextlib.contextmanager
    def _making(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Error(self._op, f"{what} cannot be made: {error.strerror}", error.errno or 0) from error

    def _missing(self) -> Error:
        return Error(self._op, "qemu-img cannot be run", errno.ENOENT, hint=hint("qemu-img"))

    def _ended(
        self,
        process: Program,
        said: _Said,
        progress: Progress | None,
        interrupts: list[KeyboardInterrupt] | None,
    ) -> int:
        """Return its exit status.

        interrupts: where it changes the disk itself, so that neither a cancel nor Ctrl-C ends it: gets each
            KeyboardInterrupt meanwhile
        """
        beat = self._go_on if interrupts is None else self._check_time
        while True:
            try:
                self._read(process, said, progress, beat)
                while (code := status(process, STEP)) is None:
                    beat()
                return code
            except KeyboardInterrupt as error:
                if interrupts is None:
                    raise
                interrupts.append(error)

    def _read(
        self,
        process: Program,
        said: _Said,
        progress: Progress | None,
        beat: Callable[[], object],
    ) -> None:
        """Read what it writes until its end."""
        assert process.stdout is not None
        assert process.stderr is not None
        for pipe, piece in pieces([process.stdout, process.stderr], beat, math.inf):
            if pipe is process.stderr:
                said.complaint = _last_lines(said.complaint + piece)
                continue
            said.printed += piece
            if progress is not None:
                *lines, said.printed = said.printed.split(b"\r")
                for line in lines[-1:]:
                    if (part := _part(line)) is not None:
                        progress(part)
            if len(said.printed) > _MOST_PRINTED:
                raise Error(self._op, f"qemu-img prints more than {_MOST_PRINTED} bytes", errno.EIO)


def _last_lines(text: bytes) -> bytes:
    if len(text) <= _MOST_SAID:
        return text
    end = text[-_MOST_SAID:]
    return end.partition(b"\n")[2] or end


def _part(line: bytes) -> float | None:
    """Return the fraction that "    (12.34/100%)" tells, a line of qemu-img's; None for any other line."""
    try:
        return float(line.strip().lstrip(b"(").partition(b"/")[0]) / 100
    except ValueError:
        return None


def _is_same_file(path: Path, other: StrOrBytesPath | int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.stat(other))
    except OSError:  # one of them is not there, or no file but a URL
        return False
