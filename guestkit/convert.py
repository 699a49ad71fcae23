"""Convert, create, resize and check disk images with qemu-img, which opens only what is permitted.

result = DiskConverter().convert("disk.vmdk", "disk.qcow2", compress=True)
print(result["success"], result["output_size"])
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from guestkit import _native
from guestkit._aside import put, unfinished
from guestkit._programs import STEP, pieces, running, status
from guestkit._system import hint
from guestkit._text import without_secrets
from guestkit.disks import PlainDisk, plain_disks
from guestkit.errors import Error
from guestkit.handle_options import Sandbox
from guestkit.images import Backing, ImageInfo, InUse, OpenDiskOptions, probe
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.generated.values import Cause

#: Called with the fraction that is done, 0.0 to 1.0.
Progress = Callable[[float], object]

#: How the program that shuts others in ends if it cannot.
_NOT_SHUT_IN = 127

_MOST_PRINTED = 4 << 20  # bytes, of an answer; of each snapshot it has some 300
_MOST_SAID = 4096  # bytes of its complaints, of which `qemu-img check` has a line for each leaked cluster

#: How much of a new disk is allocated when it is created.
Preallocation = Literal["off", "metadata", "falloc", "full"]


class ConversionResult(TypedDict):
    """The outcome of a conversion."""

    source_path: str
    output_path: str
    source_format: str
    """"" if it could not be determined."""
    output_format: str
    output_size: int
    """Of the file, in bytes; 0 if there is none."""
    duration_secs: float
    success: bool
    error: str | None
    cause: Cause | None
    """One word for what is wrong, as in `Error`."""
    hint: str
    """How to fix it, in terms of this library; "" if guestkit does not know."""


class DiskConverter:
    """Converts, creates, resizes and checks disk images. Any thread may use it.

    Sources are opened as `Guestfs.open_disk` opens disks: by descriptor, and without the other files that an
    image names unless `backing` permits them.

    sandbox: "strict": a qemu-img that reads an image is shut in, in case the image takes it over: it opens no
        files but the image's and the output, and makes no other system calls than it needs. That takes a
        kernel with Landlock and an appliance that guestkit has built; without them the methods fail with
        ENOTSUP. "auto" and "none": it runs free
    """

    def __init__(self, *, sandbox: Sandbox = "auto") -> None:
        if sandbox not in get_args(Sandbox):
            raise ValueError(f'sandbox must be "auto", "strict" or "none", not {sandbox!r}')
        self.sandbox: Sandbox = sandbox

    # The async twin (guestkit/aio/convert.py) overrides these two.

    def _begin(self, op: str) -> QemuImg:
        return QemuImg(op, self.sandbox)

    def _telling(self, progress: Progress | None) -> Progress | None:
        return progress

    def convert(
        self,
        source: StrOrBytesPath,
        output: StrOrBytesPath,
        format: str = "qcow2",
        compress: bool = False,
        flatten: bool = True,
        progress: Progress | None = None,
        *,
        source_format: str | None = None,
        backing: Backing = "refuse",
        in_use: InUse = "refuse",
        unpack: UnpackLimits | None = UNPACK,
        replace: bool = False,
    ) -> ConversionResult:
        """Write the disk into a new image. Problems with the images are reported in the result.

        The output is written to a temporary file beside its target, and renamed once it is complete and
        synced. Raises ValueError or TypeError for a wrong argument.

        format: of the output, QEMU's name
        flatten: copy the data of backing files too; False: let the output name the source's backing file
        progress: called now and then, on the calling thread, with the fraction that is done, 0.0 to 1.0. An
            exception from it ends the conversion, and is raised
        source_format: as `format` of `Guestfs.open_disk`
        backing, unpack: as in `Guestfs.open_disk`; choose one disk of an archive with several
        in_use: as in `Guestfs.open_disk`; a copy of a disk that is being written to mixes states from
            different moments
        replace: replace an output that is there already; otherwise that is an error
        """
        opening = OpenDiskOptions(format=source_format, backing=backing, in_use=in_use, unpack=unpack)
        job = self._begin("convert")
        return job.convert(
            source, output, format, compress, flatten, self._telling(progress), opening, replace
        )

    def detect_format(self, image: StrOrBytesPath) -> str:
        """Return QEMU's name of the format, judged by the start of the file.

        Raises Error as `probe` does: it is no file or block device, or the image is damaged.
        """
        return probe(image).format

    def get_info(
        self,
        image: StrOrBytesPath,
        format: str | None = None,
        *,
        backing: Backing = "refuse",
        unpack: UnpackLimits | None = UNPACK,
    ) -> dict[str, Any]:
        """Return what `qemu-img info --output=json` says of the image.

        Raises Error if the image cannot be opened or is refused, as in `Guestfs.open_disk`, and if qemu-img
        is not installed (ENOENT) or fails (EIO).
        """
        job = self._begin("get_info")
        return job.info(image, OpenDiskOptions(format=format, backing=backing, unpack=unpack))

    def create_disk(
        self,
        path: StrOrBytesPath,
        size: int | None = None,
        format: str = "qcow2",
        *,
        preallocation: Preallocation = "off",
        backing_file: StrOrBytesPath | None = None,
        backing_format: str | None = None,
    ) -> ImageInfo:
        """Create an empty disk; the path must not exist yet.

        Raises Error if it does (EEXIST) or cannot be written, if the backing file cannot be opened, and if
        qemu-img is not installed (ENOENT) or fails (EIO), as on a format that it cannot write; OSError if the
        new file cannot be synced.

        size: in bytes; None: that of the backing file
        backing_file: supplies the data of whatever has not been written yet; state its format too
        """
        job = self._begin("create_disk")
        return job.create(path, size, format, preallocation, backing_file, backing_format)

    def resize(
        self,
        path: StrOrBytesPath,
        size: int,
        format: str,
        *,
        shrink: bool = False,
        backing: Backing = "refuse",
    ) -> ImageInfo:
        """Change the size of the disk, in bytes. Only the image changes: partitions stay as they are.

        Raises Error if the image cannot be opened or is refused, as in `Guestfs.open_disk`, also because it
        is in use; and if qemu-img is not installed (ENOENT) or fails (EIO), as where the disk would become
        smaller without `shrink`.

        shrink: permit a smaller size; the data beyond the new end is lost
        """
        job = self._begin("resize")
        with job.checked(path, OpenDiskOptions(readonly=False, format=format, backing=backing)) as disk:
            words = ["resize", "-q", *(["--shrink"] if shrink else [])]
            job.run([*words, disk.node, str(_size("resize", size))], disk)
        return probe(path, format)

    def check(
        self,
        path: StrOrBytesPath,
        format: str,
        *,
        repair: Literal["leaks", "all"] | None = None,
        backing: Backing = "refuse",
    ) -> dict[str, Any]:
        """Return what `qemu-img check --output=json` says about the image, plus "clean": no problem is left.

        Raises Error if the image cannot be opened or is refused, as in `Guestfs.open_disk`, and if qemu-img
        is not installed (ENOENT) or cannot check it (EIO), as a raw one. A corrupt image raises nothing.

        repair: "leaks": free leaked clusters, which is harmless; "all": repair corruption too, which may lose
            data
        """
        if repair not in (None, "leaks", "all"):
            raise ValueError(f'check() argument \'repair\' must be "leaks", "all" or None, not {repair!r}')
        job = self._begin("check")
        opening = OpenDiskOptions(readonly=repair is None, format=format, backing=backing)
        with job.checked(path, opening) as disk:
            words = ["check", "--output=json", *(["-r", repair] if repair else ["-U"])]
            # 2: corrupt, 3: clusters leaked
            output = job.run([*words, disk.node], disk, accept=(0, 2, 3))
        found: dict[str, Any] = json.loads(output[output.index("{") :])
        left = ("corruptions", "leaks", "check-errors")
        fixed = {key: found.get(f"{key}-fixed", 0) for key in left}
        clean = all(found.get(key, 0) - fixed[key] <= 0 for key in left)
        return found | {"filename": os.fsdecode(path), "clean": clean}


@dataclass(frozen=True)
class _Disk:
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
    """One run of qemu-img, which another thread may cancel."""

    def __init__(self, op: str, sandbox: Sandbox) -> None:
        self._op = op
        self._strict = sandbox == "strict"
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    @contextlib.contextmanager
    def checked(self, path: StrOrBytesPath, opening: OpenDiskOptions) -> Iterator[_Disk]:
        """Unpack the disk if it is packed, check it, and hold it open."""
        folder = tempfile.gettempdir()
        with plain_disks(self._op, [PlainDisk(path, opening)], folder, self._go_on, one=True) as (plain,):
            with plain.named():
                found, node, descriptors = _native.check_disk(
                    self._op, plain.path, opening.native(self._op), self._strict
                )
            info = ImageInfo.from_native(found)
            own = f"/proc/{'self' if self._strict else os.getpid()}/fd/{descriptors[0]}"
            try:
                yield _Disk(path, info, f"json:{node}", own, descriptors, opening.readonly)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _go_on(self) -> None:
        if self._cancelled:
            raise Error(self._op, "cancelled", errno.EINTR)

    def info(self, image: StrOrBytesPath, opening: OpenDiskOptions) -> dict[str, Any]:
        with self.checked(image, opening) as disk:
            output = self.run(["info", "-U", "--output=json", "-f", disk.info.format, disk.path], disk)
            found: dict[str, Any] = json.loads(output)
            found.pop("children", None)
            if "full-backing-filename" in found:  # a relative name is beside the image, not the descriptor
                name = found["full-backing-filename"].removeprefix(f"{os.path.dirname(disk.path)}/")
                found["full-backing-filename"] = _named_by(image, name)
            return found | {"filename": os.fsdecode(image)}

    def run(
        self,
        words: Sequence[str],
        disk: _Disk | None = None,
        output: Path | None = None,
        progress: Progress | None = None,
        accept: Sequence[int] = (0,),
    ) -> str:
        """Run qemu-img; return what it prints, or raise Error.

        disk, output: what it reads and writes; without a disk, it has nothing to be shut in for
        """
        with contextlib.ExitStack() as stack:
            program = stack.enter_context(self._command(disk, output))
            pipe = subprocess.PIPE
            try:
                process = stack.enter_context(running([*program, *words], stdout=pipe, stderr=pipe))
            except FileNotFoundError:
                raise Error(self._op, "qemu-img cannot be run" + hint("qemu-img"), errno.ENOENT) from None
            printed, complaint = self._read(process, progress)
            self._go_on()
            while (code := status(process, STEP)) is None:
                self._go_on()
            if code in accept:
                return os.fsdecode(printed)
            said = os.fsdecode(complaint).strip().removeprefix("qemu-img: ")
            if code == _NOT_SHUT_IN and len(program) > 1:
                raise Error(self._op, f"sandbox=strict: {said}", errno.ENOTSUP)
            raise Error(self._op, said or f"qemu-img ended with {code}", errno.EIO)

    def _read(self, process: subprocess.Popen[bytes], progress: Progress | None) -> tuple[bytes, bytes]:
        """Return what it prints, and the last lines of its complaints: the image says how many those are."""
        assert process.stdout is not None
        assert process.stderr is not None
        printed = complaint = b""
        for pipe, piece in pieces([process.stdout, process.stderr], self._go_on, math.inf):
            if pipe is process.stderr:
                complaint = _last_lines(complaint + piece)
                continue
            printed += piece
            if progress is not None:
                *lines, printed = printed.split(b"\r")
                for line in lines[-1:]:
                    if (part := _part(line)) is not None:
                        progress(part)
            if len(printed) > _MOST_PRINTED:
                raise Error(self._op, f"qemu-img prints more than {_MOST_PRINTED} bytes", errno.EIO)
        return printed, complaint

    @contextlib.contextmanager
    def _command(self, disk: _Disk | None, output: Path | None) -> Iterator[Sequence[str]]:
        """Yield the program to run, with what shuts it in: appliance/cage.hpp has the form of that."""
        if disk is None or not self._strict:
            yield ["qemu-img"]
            return
        cage, program = _native.cage_program(), shutil.which("qemu-img")
        if not cage:
            message = "sandbox=strict: what shuts qemu-img in is part of an appliance that guestkit has built"
            raise Error(self._op, message, errno.ENOTSUP, hint="guestkit appliance build")
        if program is None:
            raise Error(self._op, "qemu-img cannot be run" + hint("qemu-img"), errno.ENOENT)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="guestkit-"))
            writes = () if disk.readonly else disk.descriptors[:1]
            files = [f"{number}{'w' if number in writes else ''}" for number in disk.descriptors]
            if output is not None:  # there already, since a program that is shut in makes no files
                files.append(f"{stack.enter_context(output.open('xb')).fileno()}w")
            what = f"{os.getpid()}:{','.join(files)}:{folder}"
            yield [cage, "-guestkit-cage", what, "-guestkit-program", program]

    def convert(
        self,
        source: StrOrBytesPath,
        output: StrOrBytesPath,
        format: str,
        compress: bool,
        flatten: bool,
        progress: Progress | None,
        opening: OpenDiskOptions,
        replace: bool,
    ) -> ConversionResult:
        begin = time.monotonic()
        result = ConversionResult(
            source_path=without_secrets(os.fsdecode(source)),
            output_path=os.fsdecode(output),
            source_format="",
            output_format=format,
            output_size=0,
            duration_secs=0.0,
            success=False,
            error=None,
            cause=None,
            hint="",
        )
        words = ["convert", "-O", format, *(["-c"] if compress else []), *(["-p"] if progress else [])]
        told = None if progress is None else _Told(progress)
        target = Path(os.path.abspath(os.fsdecode(output)))
        try:
            _check_place(target, replace)  # before the work
            with self.checked(source, opening) as disk:
                result["source_format"] = disk.info.format
                result["output_size"] = self._convert(disk, target, words, flatten, told, replace)
            result["success"] = True
        except (Error, OSError) as error:
            if told is not None and error is told.failure:
                raise
            if not isinstance(error, Error):
                result |= {"error": f"convert: {error}", "cause": "unknown"}
            elif error.errno == errno.EINTR and self._cancelled:
                raise
            else:
                result |= {"error": f"{error.op}: {error.message}", "cause": error.cause, "hint": error.hint}
        result["duration_secs"] = time.monotonic() - begin
        return result

    def _convert(
        self,
        disk: _Disk,
        target: Path,
        words: Sequence[str],
        flatten: bool,
        progress: Progress | None,
        replace: bool,
    ) -> int:
        """Have qemu-img convert the disk; return the size of the new file, or raise Error or OSError."""
        if disk.lies_in(target):
            raise Error("convert", "the output is the source, or one of its files", errno.EINVAL)
        backing: tuple[str, ...] = ()
        if not flatten and disk.info.backing_file is not None:
            backing = _backing_of(disk)
        with _beside("convert", target) as new:
            self.run([*words, *backing, disk.node, str(new)], disk, new, progress)
            return _settle("convert", new, target, replace=replace)

    def create(
        self,
        path: StrOrBytesPath,
        size: int | None,
        format: str,
        preallocation: Preallocation,
        backing_file: StrOrBytesPath | None,
        backing_format: str | None,
    ) -> ImageInfo:
        words: list[str] = ["create", "-q", "-f", format]
        if preallocation not in ("off", "metadata", "falloc", "full"):
            raise ValueError(
                f"create_disk() argument 'preallocation' is not one of QEMU's: {preallocation!r}"
            )
        if preallocation != "off":
            words += ["-o", f"preallocation={preallocation}"]
        if size is None and backing_file is None:
            raise ValueError("create_disk() needs a size or a backing file")
        if backing_file is not None:
            if backing_format is None:
                raise ValueError("create_disk() argument 'backing_format' is needed: QEMU would guess it")
            name = os.path.abspath(os.fsdecode(backing_file))
            with self.checked(name, OpenDiskOptions(format=backing_format, backing="allow")) as disk:
                size = disk.info.virtual_size if size is None else size
            words += ["-u", "-b", name, "-F", backing_format]
        target = Path(os.path.abspath(os.fsdecode(path)))
        with _beside("create_disk", target) as new:
            self.run([*words, str(new), str(_size("create_disk", size))])
            _settle("create_disk", new, target, replace=False)
        return probe(path, format)


class _Told:
    """The caller's progress, and what it has raised: the caller's own error, even if it looks like ours."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.failure: BaseException | None = None

    def __call__(self, part: float) -> None:
        try:
            self._progress(part)
        except BaseException as error:
            self.failure = error
            raise


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


def _size(op: str, size: int | None) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{op}() argument 'size' must be int, not {type(size).__name__}")
    if size <= 0:
        raise ValueError(f"{op}() argument 'size' must be positive: {size}")
    return size


def _backing_of(disk: _Disk) -> tuple[str, ...]:
    """Return what tells qemu-img the backing file's format and full path, valid wherever the output lies."""
    if not disk.info.backing_format:
        raise Error(
            "convert", "the source does not state its backing file's format: flatten it", errno.EINVAL
        )
    return "-B", _named_by(disk.given, disk.info.backing_file or ""), "-F", disk.info.backing_format


def _named_by(image: StrOrBytesPath, name: str) -> str:
    """Return the path of the file that an image names, which may be relative to the image's own."""
    folder = os.path.dirname(os.path.realpath(os.fsdecode(image)))
    return os.path.join(folder, name.removeprefix("file:"))


def _is_same_file(path: Path, other: StrOrBytesPath | int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.stat(other))
    except OSError:  # one of them is not there, or no file but a URL
        return False


@contextlib.contextmanager
def _beside(op: str, target: Path) -> Iterator[Path]:
    """Yield a path in a new directory beside the target; the directory is removed afterwards."""
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(unfinished(target.parent))
        except OSError as error:
            raise Error(op, f"{target}: {error.strerror}", error.errno or 0) from error
        yield folder / "disk"


def _check_place(target: Path, replace: bool) -> None:
    """Raise Error if there is something already, unless it is a file that may be replaced."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:  # such as that it is not there; `_beside` tells what else is wrong
        return
    if not stat.S_ISREG(mode):
        raise Error("convert", f"{target}: is no regular file: not replaced", errno.EEXIST, "already_exists")
    if not replace:
        raise _is_there(target)


def _is_there(target: Path) -> Error:
    message = f"{target}: is there already"
    return Error("convert", message, errno.EEXIST, "already_exists", "replace=True replaces it")


def _settle(op: str, new: Path, target: Path, *, replace: bool) -> int:
    """Sync the finished file and move it into place; return its size."""
    _sync(new)
    size = new.stat().st_size
    try:
        put(new, target, replace=replace)
    except OSError as error:
        if op == "convert" and error.errno == errno.EEXIST:
            raise _is_there(target) from error
        raise Error(op, f"{target}: {error.strerror}", error.errno or 0) from error
    _sync(target.parent)
    return size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
