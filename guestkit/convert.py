"""Disk images converted, created, resized and checked, by qemu-img, which opens only what is permitted.

result = DiskConverter().convert("disk.vmdk", "disk.qcow2", compress=True)
print(result["success"], result["output_size"])
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from guestkit import _native
from guestkit.errors import Error
from guestkit.images import Backing, ImageInfo, InUse, OpenDiskOptions, plain_disks, probe
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

#: Called with the part that is done, 0.0 to 1.0.
Progress = Callable[[float], object]

#: How much of a new disk is written at once.
Preallocation = Literal["off", "metadata", "falloc", "full"]


class ConversionResult(TypedDict):
    """What came of a conversion."""

    source_path: str
    output_path: str
    source_format: str
    """"" where it could not be told."""
    output_format: str
    output_size: int
    """Of the file, in bytes; 0 where there is none."""
    duration_secs: float
    success: bool
    error: str | None


class DiskConverter:
    """Converts, creates, resizes and checks disk images. Keeps nothing; any thread may use it.

    Sources are opened as `Guestfs.open_disk` opens disks: by descriptor, and nothing else that an image names
    unless `backing` permits it.
    """

    # How the awaited twin differs (guestkit/aio/convert.py).

    def _begin(self, op: str) -> Job:
        return Job(op)

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
    ) -> ConversionResult:
        """Write the disk into a new image. What goes wrong with the images is told in the result.

        The output is written beside its place and renamed when it is complete and on the disk.

        format: of the output, QEMU's name
        flatten: what is in backing files is copied too; False: the output names the source's backing file
        progress: called now and then
        source_format: as `format` of `Guestfs.open_disk`
        backing, unpack: likewise; of several disks one is to be chosen
        in_use: likewise; a copy of a disk that is being written is no disk of any moment
        """
        opening = OpenDiskOptions(format=source_format, backing=backing, in_use=in_use, unpack=unpack)
        job = self._begin("convert")
        return job.convert(source, output, format, compress, flatten, self._telling(progress), opening)

    def detect_format(self, image: StrOrBytesPath) -> str:
        """Return QEMU's name of the format that the file begins like."""
        return probe(image).format

    def get_info(
        self,
        image: StrOrBytesPath,
        format: str | None = None,
        *,
        backing: Backing = "refuse",
        unpack: UnpackLimits | None = UNPACK,
    ) -> dict[str, Any]:
        """Return what `qemu-img info --output=json` says of the image."""
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
        """Make an empty disk where nothing is yet.

        size: in bytes; None: that of the backing file
        backing_file: what is read where the disk has not been written to; its format is to be stated
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
        """Give the disk another size, in bytes. What is in it is not told: partitions stay as they are.

        shrink: True: what lies behind the new end is lost
        """
        job = self._begin("resize")
        with job.checked(path, OpenDiskOptions(readonly=False, format=format, backing=backing)) as disk:
            words = ["resize", "-q", "-f", disk.info.format, *(["--shrink"] if shrink else [])]
            job.run([*words, disk.path, str(_size("resize", size))])
        return probe(path, format)

    def check(
        self,
        path: StrOrBytesPath,
        format: str,
        *,
        repair: Literal["leaks", "all"] | None = None,
        backing: Backing = "refuse",
    ) -> dict[str, Any]:
        """Return what `qemu-img check --output=json` says of the image's tables, and "clean": all is well.

        repair: "leaks": give back what is lost but harmless; "all": what is corrupt too, which may lose data
        """
        if repair not in (None, "leaks", "all"):
            raise ValueError(f'check() argument \'repair\' must be "leaks", "all" or None, not {repair!r}')
        job = self._begin("check")
        opening = OpenDiskOptions(readonly=repair is None, format=format, backing=backing)
        with job.checked(path, opening) as disk:
            words = [
                "check",
                "--output=json",
                *(["-r", repair] if repair else ["-U"]),
                "-f",
                disk.info.format,
            ]
            # 2: corrupt, 3: clusters leaked
            output = job.run([*words, disk.path], accept=(0, 2, 3))
        found: dict[str, Any] = json.loads(output[output.index("{") :])
        left = ("corruptions", "leaks", "check-errors")
        fixed = {key: found.get(f"{key}-fixed", 0) for key in left}
        clean = all(found.get(key, 0) - fixed[key] <= 0 for key in left)
        return found | {"filename": os.fsdecode(path), "clean": clean}


class _Disk:
    """A disk that was checked and is held open."""

    def __init__(self, info: ImageInfo, node: str, descriptor: int) -> None:
        self.info = info
        self.node = f"json:{node}"
        self.path = f"/proc/{os.getpid()}/fd/{descriptor}"


class Job:
    """One run of qemu-img, which another thread may end."""

    def __init__(self, op: str) -> None:
        self._op = op
        self._lock = threading.Lock()
        self._cancelled = False
        self._process: subprocess.Popen[bytes] | None = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    @contextlib.contextmanager
    def checked(self, path: StrOrBytesPath, opening: OpenDiskOptions) -> Iterator[_Disk]:
        """Check the disk, which is unpacked for it, and hold it open."""
        folder = tempfile.gettempdir()
        with plain_disks(self._op, [path], opening, folder, self._go_on, one=True) as (plain,):
            with plain.named():
                found, node, descriptors = _native.check_disk(self._op, plain.path, opening.native(self._op))
            try:
                yield _Disk(ImageInfo.from_native(found), node, descriptors[0])
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _go_on(self) -> None:
        if self._cancelled:
            raise Error(self._op, "cancelled", errno.EINTR)

    def info(self, image: StrOrBytesPath, opening: OpenDiskOptions) -> dict[str, Any]:
        with self.checked(image, opening) as disk:
            output = self.run(["info", "-U", "--output=json", "-f", disk.info.format, disk.path])
            found: dict[str, Any] = json.loads(output)
            found.pop("children", None)
            return found | {"filename": os.fsdecode(image)}

    def run(
        self, words: Sequence[StrOrBytesPath], progress: Progress | None = None, accept: Sequence[int] = (0,)
    ) -> str:
        """Return what it printed, or raise Error."""
        with tempfile.TemporaryFile() as errors:
            with self._lock:
                self._go_on()
                try:
                    self._process = process = subprocess.Popen(
                        ["qemu-img", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
                    )
                except FileNotFoundError:
                    raise Error(
                        self._op, "qemu-img cannot be run: install qemu-utils", errno.ENOENT
                    ) from None
            try:
                output = self._read(process, progress)
                code = process.wait()
            finally:  # Ctrl-C, or an exception of the caller's progress
                with self._lock:
                    process.kill()
                    process.wait()
                    self._process = None
                assert process.stdout is not None
                process.stdout.close()
            self._go_on()
            if code not in accept:
                errors.seek(0)
                said = os.fsdecode(errors.read(4096)).strip().removeprefix("qemu-img: ")
                raise Error(self._op, said or f"qemu-img ended with {code}", errno.EIO)
            return output

    @staticmethod
    def _read(process: subprocess.Popen[bytes], progress: Progress | None) -> str:
        assert process.stdout is not None
        output = b""
        while chunk := os.read(process.stdout.fileno(), 65536):
            output += chunk
            if progress is None:
                continue
            *lines, output = output.split(b"\r")  # "    (12.34/100%)"
            for line in lines[-1:]:
                with contextlib.suppress(ValueError):
                    progress(float(line.strip().lstrip(b"(").partition(b"/")[0]) / 100)
        return os.fsdecode(output)

    def convert(
        self,
        source: StrOrBytesPath,
        output: StrOrBytesPath,
        format: str,
        compress: bool,
        flatten: bool,
        progress: Progress | None,
        opening: OpenDiskOptions,
    ) -> ConversionResult:
        begin = time.monotonic()
        result = ConversionResult(
            source_path=os.fsdecode(source),
            output_path=os.fsdecode(output),
            source_format="",
            output_format=format,
            output_size=0,
            duration_secs=0.0,
            success=False,
            error=None,
        )
        target = Path(os.path.abspath(os.fsdecode(output)))
        words = ["convert", "-O", format, *(["-c"] if compress else []), *(["-p"] if progress else [])]
        try:
            with (
                self.checked(source, opening) as disk,
                _beside("convert", target) as new,
            ):
                result["source_format"] = disk.info.format
                if target.exists() and os.path.samefile(target, disk.path):
                    raise Error("convert", "the output is the source", errno.EINVAL)
                if not flatten and disk.info.backing_file is not None:
                    name, kind = _backing_of(source, disk.info)
                    words += ["-B", name, "-F", kind]
                self.run([*words, disk.node, new], progress)
                result["output_size"] = _settle(new, target)
            result["success"] = True
        except Error as error:
            if error.errno == errno.EINTR and self._cancelled:
                raise
            result["error"] = str(error)
        except OSError as error:
            result["error"] = f"convert: {error}"
        result["duration_secs"] = time.monotonic() - begin
        return result

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
            self.run([*words, new, str(_size("create_disk", size))])
            _settle(new, target, replace=False)
        return probe(path, format)


def _size(op: str, size: int | None) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{op}() argument 'size' must be int, not {type(size).__name__}")
    if size <= 0:
        raise ValueError(f"{op}() argument 'size' must be positive: {size}")
    return size


def _backing_of(source: StrOrBytesPath, info: ImageInfo) -> tuple[str, str]:
    """Return the backing file as the output is to name it: wherever that lies."""
    if not info.backing_format:
        raise Error(
            "convert", "the source does not state its backing file's format: flatten it", errno.EINVAL
        )
    name = (info.backing_file or "").removeprefix("file:")
    return os.path.join(os.path.dirname(os.path.realpath(os.fsdecode(source))), name), info.backing_format


@contextlib.contextmanager
def _beside(op: str, target: Path) -> Iterator[Path]:
    """Yield a path in a new directory beside the target; whatever is in it in the end is removed."""
    try:
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=".guestkit-")
    except OSError as error:
        raise Error(op, f"{target}: {error.strerror}", error.errno or 0) from error
    with folder as name:
        yield Path(name, "disk")


def _settle(new: Path, target: Path, *, replace: bool = True) -> int:
    """Put the finished file in its place, on the disk for sure; return its size."""
    _sync(new)
    size = new.stat().st_size
    try:
        if replace:
            new.replace(target)
        else:
            os.link(new, target)
    except OSError as error:
        raise Error("create_disk", f"{target}: {error.strerror}", error.errno or 0) from error
    _sync(target.parent)
    return size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
