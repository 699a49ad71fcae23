"""Copy files between the host and a guest whose filesystems are mounted: `copy_out`, `copy_in`.

`copy_out` writes nothing but the target, whatever the guest's names and symlinks are (`Guestfs.extract`).
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from guestkit import _operations as operations
from guestkit._aside import naming, unfinished
from guestkit._walk import walk
from guestkit.errors import Error, is_final
from guestkit.files import MAX_BYTES, Extracted, SkippedFile, guest_path
from guestkit.handle import Guestfs, check_blocking

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: Called with the number of bytes copied so far, and in total.
CopyProgress = Callable[[int, int], object]


def copy_out(
    g: Guestfs,
    sources: Sequence[str],
    target: StrOrBytesPath,
    *,
    recursive: bool = False,
    replace: bool = False,
    max_bytes: int = MAX_BYTES,
    progress: CopyProgress | None = None,
) -> Extracted:
    """Copy files from the guest to the host: into the directory `target`, or a single one to that name.

    A target that ends in / is a directory: it has to be there, unless a single directory is copied to it.

    A copy appears under its name only when it is complete. A symlink among `sources` is followed in the
    guest; symlinks below a directory stay symlinks, and are skipped if they point outside. Raises Error; its
    note names the copies that are there already.

    recursive: copy directories too
    replace: replace an existing file; otherwise raises Error with EEXIST, as it always does for a directory
    max_bytes: of all files together; more raise Error with EFBIG. A guest's sparse file may claim any size
    progress: called now and then, on the calling thread, with the bytes copied so far and those of all files
        as they were at the beginning, without those in directories that cannot be read: the total may be too
        small, even 0. An exception from it ends the copying, and is raised
    """
    check_blocking("copy_out", g)
    _check_sources("copy_out", sources)
    check_target(target)
    into = Path(os.fsdecode(target))
    only, slash = len(sources) == 1, os.fsdecode(target).endswith("/")
    files = [_Outgoing(g, source, into, only, slash, recursive, replace) for source in sources]
    left = max_bytes
    _check_distinct("copy_out", (str(file.final) for file in files))
    tally = _Tally(progress, sum(file.size() for file in files) if progress else 0)
    copied: list[Extracted] = []
    try:
        for file in files:
            copied.append(file.copy(tally, left, max_bytes))
            left -= copied[-1].bytes
    except BaseException as ended:
        if copied or isinstance(ended, KeyboardInterrupt):
            ended.add_note(_written([str(file.final) for file in files[: len(copied)]]))
        raise
    return _sum(copied)


def check_target(target: StrOrBytesPath) -> None:
    """Raise Error if this user may write nothing there. `copy_out` does so; call it before a launch."""
    into = Path(os.fsdecode(target))
    folder = into if os.path.isdir(into) else into.parent  # Path.is_dir may raise
    if os.path.isdir(folder) and not os.access(folder, os.W_OK | os.X_OK):
        raise Error("copy_out", f"{folder}: cannot be written by this user", errno.EACCES)


def copy_in(
    g: Guestfs,
    sources: Sequence[StrOrBytesPath],
    target: str,
    *,
    recursive: bool = False,
    replace: bool = False,
    progress: CopyProgress | None = None,
) -> Extracted:
    """Copy files from the host to the guest: into the directory `target`, or a single one to that name.

    A target that ends in / is a directory: it has to be there, unless a single directory is copied to it.

    The copies belong to root, without set-id bits; permissions and times are kept. A symlink among `sources`
    is followed; symlinks below a directory stay symlinks. Devices, FIFOs and sockets are skipped, and so is a
    file below a directory that says it is smaller than it is, as in /proc, and has 1 MiB or more. Raises
    Error; its note names the copies that are there already.

    recursive, replace: as in `copy_out`
    progress: called for each part that was read, with the bytes so far and those of all files as they were at
        the beginning; on another thread, which reads the files while this one waits for the guest. An
        exception from it ends the copying, and is raised here
    """
    check_blocking("copy_in", g)
    _check_sources("copy_in", sources)
    only = len(sources) == 1 and (not target.endswith("/") or os.path.isdir(sources[0]))
    target = guest_path(target)
    inside = g.is_dir(target, followsymlinks=True)
    if not inside and not only:
        raise Error("copy_in", f"{target}: is no directory in the guest", errno.ENOTDIR)
    plan = [_Incoming(Path(os.fsdecode(source)), target, inside, recursive) for source in sources]
    for one in plan:
        one.look(g, replace)
    _check_distinct("copy_in", (one.final for one in plan))
    tally = _Tally(progress, sum(one.size() for one in plan) if progress else 0)
    copied: list[Extracted] = []
    try:
        for one in plan:
            copied.append(one.copy(g, tally))
    except BaseException as ended:
        if isinstance(ended, KeyboardInterrupt) or is_final(ended):
            ended.add_note(f"what was to be written to {target} may be there in part")
        elif copied:
            ended.add_note(_written([one.final for one in plan[: len(copied)]]))
        raise
    return _sum(copied)


def _written(names: Sequence[str]) -> str:
    """Return a sentence on which copies are there: a second attempt would find them."""
    if not names:
        return "nothing was written"
    return f"only {', '.join(names)} {'was' if len(names) == 1 else 'were'} written"


def _check_sources(op: str, sources: object) -> None:
    """Raise TypeError for a single path: each letter of a text would be a source."""
    if isinstance(sources, (str, bytes, os.PathLike)):
        raise TypeError(f"{op}() takes a sequence of sources, such as [{sources!r}]")


@dataclass
class _Tally:
    """The progress of the whole copy."""

    tell: CopyProgress | None
    total: int
    done: int = 0
    failure: BaseException | None = None  # what `tell` has raised

    def now(self, more: int) -> None:
        if self.tell is None:
            return
        try:
            self.tell(self.done + more, self.total)
        except BaseException as error:
            self.failure = error
            raise


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _check_distinct(op: str, finals: Iterable[str]) -> None:
    """Raise Error if a copy would replace another one of the same call."""
    if twice := repeated(finals):
        raise Error(op, f"{twice}: several of the files would get this name", errno.EEXIST, "already_exists")


def _is_there(op: str, message: str, hint: str = "") -> Error:
    """Return the error for a target that is there already."""
    return Error(op, message, errno.EEXIST, "already_exists", hint)


#: The hint where the caller could have permitted to replace the target.
_REPLACE = "replace=True replaces it"


def _sum(parts: Sequence[Extracted]) -> Extracted:
    return Extracted(
        files=sum(part.files for part in parts),
        directories=sum(part.directories for part in parts),
        symlinks=sum(part.symlinks for part in parts),
        bytes=sum(part.bytes for part in parts),
        skipped=tuple(skipped for part in parts for skipped in part.skipped),
    )


# ---- out


class _Outgoing:
    """A file or tree to copy out, and its target."""

    def __init__(
        self,
        g: Guestfs,
        source: str,
        target: Path,
        only: bool,
        slash: bool,
        recursive: bool,
        replace: bool,
    ) -> None:
        self._g = g
        self._replace = replace
        path = guest_path(source)
        try:
            self._path = g.realpath(path)
        except Error as error:
            if is_final(error):
                raise
            raise error.reworded(f"{path}: {error.message.removeprefix(f'{path}: ')}", "copy_out") from error
        self._is_directory = g.is_dir(self._path)
        if self._is_directory and not recursive:
            raise Error(
                "copy_out", f"{path}: is a directory, which only a recursive copy takes", errno.EISDIR
            )
        name = posixpath.basename(path)
        if os.path.isdir(target):
            if not name:
                raise _is_there("copy_out", f"{target}: is there already: / needs a new name")
            self.final = target / name
        elif only and os.path.isdir(target.parent) and (self._is_directory or not slash):
            self.final = target
        else:
            raise Error("copy_out", f"{target}: is no directory", errno.ENOTDIR)
        self._look()

    def _look(self) -> None:
        if not os.path.lexists(self.final):
            return
        if self._is_directory or (os.path.isdir(self.final) and not self.final.is_symlink()):
            raise _is_there("copy_out", f"{self.final}: is there already")
        if not self._replace:
            raise _is_there("copy_out", f"{self.final}: is there already", _REPLACE)

    def size(self) -> int:
        if not self._is_directory:
            return self._g.filesize(self._path)
        try:
            files, _ = walk(self._g, self._path)
        except Error as error:  # the copying tells what cannot be read
            if is_final(error):
                raise
            return 0
        return sum(file.size for file in files if file.kind == "-")

    def copy(self, tally: _Tally, left: int, most: int) -> Extracted:
        """Copy it. left: of `most`, the bytes that all files may have."""
        with ExitStack() as stack:
            with naming("copy_out", self.final):
                folder = stack.enter_context(unfinished(self.final.parent))
                if self._path == "/":  # it has no name of its own
                    made = into = folder / "root"
                    into.mkdir()
                else:
                    made, into = folder / posixpath.basename(self._path), folder
            copied = self._extracted(into, tally, left, most)
            is_made = os.path.lexists(made)
            if copied.skipped and not (is_made and self._is_directory):  # of a tree, a part may be missing
                (skipped,) = copied.skipped
                number = errno.EIO if is_made else errno.EINVAL
                raise Error("copy_out", f"{skipped.path}: {skipped.reason}", number)
            self._look()
            with naming("copy_out", self.final):
                made.rename(self.final)
        tally.done += copied.bytes
        return copied

    def _extracted(self, into: Path, tally: _Tally, left: int, most: int) -> Extracted:
        try:
            return self._g.extract(
                self._path, into, max_bytes=left, progress=lambda path, count: tally.now(count)
            )
        except Error as error:
            if error.cause != "too_large":
                raise
            raise error.reworded(f"{self._path}: more than {most} bytes in all", "copy_out") from error


# ---- in

#: How much of a file is read to find out whether it is as large as it says, in bytes.
_START = 1 << 20

_NO_END = "has no end: who reads it waits for more"


@dataclass
class _Incoming:
    """A file or tree to copy in, as a tar stream that a separate thread writes.

    The directory of `final` must not contain a symlink: `tar_in` does not chroot, and would follow it out of
    the guest.
    """

    source: Path
    target: str
    inside: bool
    recursive: bool
    final: str = ""
    skipped: list[SkippedFile] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"files": 0, "directories": 0, "symlinks": 0})

    def look(self, g: Guestfs, replace: bool) -> None:
        """Determine the target; raise Error if it cannot be copied there."""
        try:
            mode = self.source.stat().st_mode
        except OSError as error:
            raise Error("copy_in", f"{self.source}: {error.strerror}", error.errno or 0) from error
        if stat.S_ISDIR(mode):
            if not self.recursive:
                text = f"{self.source}: is a directory, which only a recursive copy takes"
                raise Error("copy_in", text, errno.EISDIR)
        elif not stat.S_ISREG(mode):
            raise Error("copy_in", f"{self.source}: is neither a file nor a directory", errno.EINVAL)
        if self.inside:
            folder, name = self.target, self.source.name
            name = name if name not in ("", "..") else self.source.resolve().name
        else:
            folder, name = posixpath.split(self.target)
            if not g.is_dir(folder, followsymlinks=True):
                raise Error("copy_in", f"{folder}: is no directory in the guest", errno.ENOTDIR)
        self.final = final = posixpath.join(g.realpath(folder), name)
        if g.exists(final) or g.is_symlink(final):
            if stat.S_ISDIR(mode) or g.is_dir(final):
                raise _is_there("copy_in", f"{final}: is there already in the guest")
            if not replace:
                raise _is_there("copy_in", f"{final}: is there already in the guest", _REPLACE)

    def size(self) -> int:
        total = 0
        with suppress(OSError):  # which the copying tells
            for path, _ in _tree(self.source.resolve(), ""):
                seen = path.lstat()
                total += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
        return total

    def copy(self, g: Guestfs, tally: _Tally) -> Extracted:
        before = tally.done
        with operations.replacement(g, self.final) as made:
            self._transfer(g, made, tally)
        return Extracted(**self.counts, bytes=tally.done - before, skipped=tuple(self.skipped))

    def _transfer(self, g: Guestfs, made: str, tally: _Tally) -> None:
        """Copy to that name in the guest; the reason on the host comes first, for tar saw only the end."""
        folder, name = posixpath.split(made)
        reader, writer = os.pipe()
        pipe = os.fdopen(writer, "wb")
        failed: list[BaseException] = []

        def write() -> None:
            try:
                with pipe, suppress(BrokenPipeError):  # tar_in says why
                    self._pack(pipe, name, tally)
            except BaseException as error:
                failed.append(error)

        packing = threading.Thread(target=write, name="guestkit-copy-in")
        refused: Error | None = None
        try:
            try:
                packing.start()
            except RuntimeError:  # no thread can be started
                pipe.close()
                raise
            g.tar_in(f"/proc/self/fd/{reader}", folder)
        except Error as error:
            refused = error
        finally:
            os.close(reader)  # which ends the thread, also where Ctrl-C has come while it started
            if packing.is_alive():
                packing.join()
        if tally.failure is not None:
            raise tally.failure
        for cause in failed:
            if isinstance(cause, OSError):
                text = f"{cause.filename or self.source}: {cause.strerror or cause}"
                raise Error("copy_in", text, cause.errno or errno.EIO) from cause
            raise cause
        if refused is None:
            return
        if is_final(refused):
            raise refused
        if g.statvfs(folder)["bavail"] == 0:
            message = f"{self.source}: the guest's filesystem is full"
            raise Error("copy_in", message, errno.ENOSPC, "no_space") from refused
        raise refused.reworded(f"{self.source}: {' '.join(refused.message.split())}") from refused

    def _pack(self, pipe: BinaryIO, name: str, tally: _Tally) -> None:
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path, each in _tree(self.source.resolve(), name):
                self._add(tar, path, each, tally)

    def _add(self, tar: tarfile.TarFile, path: Path, name: str, tally: _Tally) -> None:
        entry = tar.gettarinfo(path, name)
        if entry is None:  # a socket
            self._skip(path)
            return
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode &= 0o1777
        if entry.isreg():
            self._add_file(tar, entry, path, tally)
        elif entry.isdir():
            tar.addfile(entry)
            self.counts["directories"] += 1
        elif entry.issym() or entry.islnk():
            tar.addfile(entry)
            self.counts["symlinks" if entry.issym() else "files"] += 1
        else:
            self._skip(path)

    def _add_file(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path, tally: _Tally) -> None:
        """Add a regular file. Its size may be wrong: in /proc it is 0, in /sys that of a page."""
        with open(path, "rb", opener=_open_without_waiting) as file:
            content: BinaryIO = file
            try:
                start = _read(file, path, _START)
            except BlockingIOError:
                self._leave_out(path, _NO_END)
                return
            if len(start) < _START:  # all of it
                content, entry.size = io.BytesIO(start), len(start)
            elif entry.size < _START:
                reason = f"says that it has {entry.size} bytes, and has {_START} or more"
                self._leave_out(path, reason)
                return
            else:
                file.seek(0)
            tar.addfile(entry, _Counted(content, path, tally))
        self.counts["files"] += 1

    def _leave_out(self, path: Path, reason: str) -> None:
        """Skip a file below the source; the source itself is an error."""
        if path == self.source.resolve():
            raise OSError(errno.EIO, reason, str(path))
        self._skip(path, reason)

    def _skip(self, path: Path, reason: str = "neither a regular file, a directory nor a symlink") -> None:
        self.skipped.append(SkippedFile(path=str(path), reason=reason))


def _tree(top: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield what is there and all below it, with its name in the tree, each directory before its entries.

    Without recursion: a tree may be deeper than Python's stack.
    """
    waiting = [(top, name)]
    while waiting:
        path, name = waiting.pop()
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
        yield path, name
        if is_directory:
            below = sorted(os.listdir(path), reverse=True)
            waiting += [(path / child, f"{name}/{child}") for child in below]


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file so that no read waits for what may come, as in /proc/kmsg: Ctrl-C would not end that."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(file: BinaryIO, path: Path, size: int) -> bytes:
    """Return the next bytes of a file, fewer only at its end.

    An OSError names it: BlockingIOError where it may get more later.
    """
    try:
        found = file.read(size)
        if found is None or (len(found) < size and file.read(1) is None):
            raise BlockingIOError(errno.EAGAIN, _NO_END)
    except OSError as error:
        error.filename = str(path)
        raise
    return found


class _Counted:
    """A file whose reads are counted as progress."""

    def __init__(self, file: BinaryIO, path: Path, tally: _Tally) -> None:
        self._file = file
        self._path = path
        self._tally = tally

    def read(self, size: int = -1) -> bytes:
        chunk = _read(self._file, self._path, size)
        if len(chunk) < size:  # tarfile asks for no more than the file had
            raise OSError(errno.EIO, "became shorter while it was copied", str(self._path))
        self._tally.done += len(chunk)
        self._tally.now(0)
        return chunk
