"""Convert, create, resize and check disk images with qemu-img, which opens only what is permitted.

done = convert_disk("disk.vmdk", "disk.qcow2", compress=True)
print(done.source_format, done.size, "bytes")
"""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from guestkit._aside import is_there, naming, new_path
from guestkit._qemu_img import CheckedDisk, Progress, QemuImg
from guestkit._text import without_secrets
from guestkit.errors import Error
from guestkit.handle_options import Sandbox, check_limit
from guestkit.images import ImageInfo, probe
from guestkit.opening import Backing, InUse, OpenDiskOptions
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    from guestkit.generated.values import Cause

_REPLACE = "replace=True replaces it"

#: How much of a new disk is allocated when it is created.
Preallocation = Literal["off", "metadata", "falloc", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A disk that was written into a new image.

    Attributes:
        source_format: QEMU's name of the format that was read
        output_format: that of the new image
        size: of its file, in bytes
        seconds: how long it took
    """

    source_format: str
    output_format: str
    size: int
    seconds: float


def convert_disk(
    source: StrOrBytesPath,
    output: StrOrBytesPath,
    format: str = "qcow2",
    *,
    compress: bool = False,
    flatten: bool = True,
    progress: Progress | None = None,
    source_format: str | None = None,
    backing: Backing = "refuse",
    in_use: InUse = "refuse",
    unpack: UnpackLimits | None = UNPACK,
    replace: bool = False,
    sandbox: Sandbox = "auto",
    timeout: float | None = None,
) -> Conversion:
    """Write the disk into a new image, or raise Error.

    The output is written to a temporary file beside its target, and renamed once it is complete and synced.
    An exception, also that of Ctrl-C, ends qemu-img and removes what it has written. How much that is and how
    long it takes is for the source to say: of an image of a stranger's, which may be a few bytes that stand
    for a full disk, limit the time.

    Raises ValueError or TypeError for a wrong argument; Error if the source cannot be opened or is refused,
    as in `Guestfs.open_disk`, if the output is there already (EEXIST) or cannot be written, and if qemu-img
    is not installed (ENOENT) or fails (EIO); CallTimeout.

    format: of the output, QEMU's name
    flatten: copy the data of backing files too; False: let the output name the source's backing file
    progress: called now and then, on the calling thread, with the fraction that is done, 0.0 to 1.0. An
        exception from it ends the conversion, and is raised
    source_format: as `format` of `Guestfs.open_disk`
    backing, unpack: as in `Guestfs.open_disk`; choose one disk of an archive with several
    in_use: as in `Guestfs.open_disk`; a copy of a disk that is being written to mixes states from different
        moments
    replace: replace an output that is there already; otherwise that is an error
    sandbox, timeout: as in `DiskConverter`
    """
    _check_how("convert_disk", sandbox, timeout)
    qemu_img = QemuImg("convert", sandbox, timeout, lambda: False)
    opening = OpenDiskOptions(format=source_format, backing=backing, in_use=in_use, unpack=unpack)
    return _converted(qemu_img, source, opening, output, format, compress, flatten, progress, replace)


class ConversionResult(TypedDict):
    """The outcome of a conversion, as a dictionary."""

    source_path: str
    output_path: str
    source_format: str
    """"" if there is no output."""
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


def conversion_result(
    source: StrOrBytesPath,
    output: StrOrBytesPath,
    format: str,
    outcome: Conversion | Error,
    seconds: float,
) -> ConversionResult:
    """Return the outcome of a conversion that took that long as a dictionary, such as for JSON."""
    done = outcome if isinstance(outcome, Conversion) else None
    result = ConversionResult(
        source_path=without_secrets(os.fsdecode(source)),
        output_path=os.fsdecode(output),
        source_format=done.source_format if done else "",
        output_format=format,
        output_size=done.size if done else 0,
        duration_secs=seconds,
        success=done is not None,
        error=None,
        cause=None,
        hint="",
    )
    if isinstance(outcome, Error):
        error = f"{outcome.op}: {outcome.message}"
        result |= {"error": error, "cause": outcome.cause, "hint": outcome.hint}
    return result


class DiskConverter:
    """Converts, creates, resizes and checks disk images. Any thread may use it.

    Sources are opened as `Guestfs.open_disk` opens disks: by descriptor, and without the other files that an
    image names unless `backing` permits them.

    sandbox: "strict": a qemu-img that reads an image is shut in, in case the image takes it over: it opens no
        files but the image's and the output, and makes no other system calls than it needs. That takes a
        kernel with Landlock and an appliance that guestkit has built; without them the methods fail with
        ENOTSUP. "auto" and "none": it runs free
    timeout: how long a call may unpack and run qemu-img, in seconds; None: no limit. The image may decide how
        much work it is. Then qemu-img is ended, and CallTimeout raised, which `convert` reports in its
        result. That ends what writes to an image, too: `check` one whose `resize` or repair took too long.
        Ctrl-C does not: KeyboardInterrupt is raised once that has ended
    """

    def __init__(self, *, sandbox: Sandbox = "auto", timeout: float | None = None) -> None:
        _check_how("DiskConverter", sandbox, timeout)
        self.sandbox: Sandbox = sandbox
        self.timeout = timeout
        self._cancelled = False  # set by the async twin, which has a converter for each call

    def _qemu_img(self, op: str) -> QemuImg:
        return QemuImg(op, self.sandbox, self.timeout, lambda: self._cancelled)

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
        """Do as `convert_disk`, but return a dictionary, also of a conversion that failed: look at "success".

        Only wrong arguments, what `progress` raises, and Ctrl-C are raised.
        """
        begin = time.monotonic()
        told = None if progress is None else _Told(progress)
        opening = OpenDiskOptions(format=source_format, backing=backing, in_use=in_use, unpack=unpack)
        outcome: Conversion | Error
        try:
            outcome = _converted(
                self._qemu_img("convert"), source, opening, output, format, compress, flatten, told, replace
            )
        except Error as error:
            if told is not None and error is told.failure:
                raise
            if self._cancelled and error.errno == errno.EINTR:
                raise
            outcome = error
        return conversion_result(source, output, format, outcome, time.monotonic() - begin)

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
        qemu_img = self._qemu_img("get_info")
        with qemu_img.checked(image, OpenDiskOptions(format=format, backing=backing, unpack=unpack)) as disk:
            found = qemu_img.answer(["info", "-U", "--output=json", "-f", disk.info.format, disk.path], disk)
        found.pop("children", None)
        if "full-backing-filename" in found:  # a relative name is beside the image, not the descriptor
            name = found["full-backing-filename"].removeprefix(f"{os.path.dirname(disk.path)}/")
            found["full-backing-filename"] = _named_by(image, name)
        return found | {"filename": os.fsdecode(image)}

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
        qemu-img is not installed (ENOENT) or fails (EIO), as on a format that it cannot write.

        size: in bytes; None: that of the backing file
        backing_file: supplies the data of whatever has not been written yet; state its format too
        """
        qemu_img = self._qemu_img("create_disk")
        words: list[str] = ["create", "-q", "-f", format]
        if preallocation not in get_args(Preallocation):
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
            with qemu_img.checked(name, OpenDiskOptions(format=backing_format, backing="allow")) as disk:
                size = disk.info.virtual_size if size is None else size
            words += ["-u", "-b", name, "-F", backing_format]
        target = Path(os.path.abspath(os.fsdecode(path)))
        with new_path("create_disk", target, replace=False) as new:
            qemu_img.run([*words, str(new), str(_size("create_disk", size))])
        return probe(path, format)

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
        qemu_img = self._qemu_img("resize")
        opening = OpenDiskOptions(readonly=False, format=format, backing=backing)
        with qemu_img.checked(path, opening) as disk:
            words = ["resize", "-q", *(["--shrink"] if shrink else [])]
            qemu_img.run([*words, disk.node, str(_size("resize", size))], disk)
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
        qemu_img = self._qemu_img("check")
        opening = OpenDiskOptions(readonly=repair is None, format=format, backing=backing)
        with qemu_img.checked(path, opening) as disk:
            words = ["check", "--output=json", *(["-r", repair] if repair else ["-U"])]
            # 2: corrupt, 3: clusters leaked
            found = qemu_img.answer([*words, disk.node], disk, accept=(0, 2, 3))
        left = ("corruptions", "leaks", "check-errors")
        fixed = {key: found.get(f"{key}-fixed", 0) for key in left}
        clean = all(found.get(key, 0) - fixed[key] <= 0 for key in left)
        return found | {"filename": os.fsdecode(path), "clean": clean}


def _check_how(op: str, sandbox: Sandbox, timeout: float | None) -> None:
    if sandbox not in get_args(Sandbox):
        raise ValueError(f'sandbox must be "auto", "strict" or "none", not {sandbox!r}')
    check_limit(op, "timeout", timeout)


def _converted(
    qemu_img: QemuImg,
    source: StrOrBytesPath,
    opening: OpenDiskOptions,
    output: StrOrBytesPath,
    format: str,
    compress: bool,
    flatten: bool,
    progress: Progress | None,
    replace: bool,
) -> Conversion:
    begin = time.monotonic()
    words = ["convert", "-O", format, *(["-c"] if compress else []), *(["-p"] if progress else [])]
    target = Path(os.path.abspath(os.fsdecode(output)))
    _check_place(target, replace)  # before the work
    with qemu_img.checked(source, opening) as disk:
        if disk.lies_in(target):
            raise Error("convert", "the output is the source, or one of its files", errno.EINVAL)
        if not flatten and disk.info.backing_file is not None:
            words += _backing_of(disk)
        with new_path("convert", target, replace=replace, hint=_REPLACE) as new:
            qemu_img.run([*words, disk.node, str(new)], disk, new, progress)
            with naming("convert", target):
                size = new.stat().st_size
    seconds = time.monotonic() - begin
    return Conversion(source_format=disk.info.format, output_format=format, size=size, seconds=seconds)


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


def _size(op: str, size: int | None) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{op}() argument 'size' must be int, not {type(size).__name__}")
    if size <= 0:
        raise ValueError(f"{op}() argument 'size' must be positive: {size}")
    return size


def _backing_of(disk: CheckedDisk) -> tuple[str, ...]:
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


def _check_place(target: Path, replace: bool) -> None:
    """Raise Error if there is something already, unless it is a file that may be replaced."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:  # such as that it is not there; `new_path` tells what else is wrong
        return
    if not stat.S_ISREG(mode):
        raise Error("convert", f"{target}: is no regular file: not replaced", errno.EEXIST, "already_exists")
    if not replace:
        raise is_there("convert", target, _REPLACE)
