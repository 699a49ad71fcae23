"""`Guestfs`, the blocking handle."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import operator
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from guestkit import _native, images
from guestkit.errors import ApplianceKilled, Error, HandleClosed
from guestkit.events import Event, EventCallback
from guestkit.files import SMALL_FILE, Extracted, GuestFile
from guestkit.generated.values import LaunchInfo
from guestkit.images import Backing, ImageInfo, InUse, OpenDiskOptions
from guestkit.inspection import DEFAULT_PARTS, Inspection, InspectOptions, Key, Mode, Part, path_list
from guestkit.unpack import UNPACK, UnpackLimits

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

Accel = Literal["auto", "kvm", "tcg"]
Tuning = Literal["auto", "none"]

#: What a handle is made with, for C++: environment, accel, whether tuning is automatic, appliance, the least
#: level that the log takes, and the limits in seconds: launch, call, close, admission, cancel_grace, queue.
NativeHandleOptions = tuple[bool, str, bool, bytes, int, float | None, float, float, float, float, float]

_log = logging.getLogger("guestkit")


class Guestfs(_native.Handle):
    """A libguestfs handle: the disks of one guest, every libguestfs action as a method.

        with Guestfs() as g:
            g.open_disk("disk.qcow2")
            g.launch()
            for root in g.inspect_os():
                print(g.inspect_get_product_name(root))

    The methods have libguestfs' own names, so guestfs(3) is their manual. They take str, bytes and
    os.PathLike for text, raise `guestkit.Error`, and release the GIL while they run. Any thread may call at
    any time; the calls on one handle run one after the other. After a fork the handle is the parent's.

    The logger "guestkit" tells of launches at INFO. A handle that is made while its level is DEBUG tells of
    closes, of every call (libguestfs' trace) and of what the appliance writes, with secrets replaced by ***;
    after `set_verbose(True)` also of what libguestfs does.
    """

    def __init__(
        self,
        *,
        environment: bool = True,
        close_on_exit: bool = True,
        accel: Accel = "auto",
        tuning: Tuning = "auto",
        appliance: str | os.PathLike[str] = "auto",
        launch_timeout: float | None = None,
        call_timeout: float | None = None,
        close_timeout: float | None = 60.0,
        admission_timeout: float | None = 600.0,
        cancel_grace: float = 2.0,
        queue_timeout: float | None = None,
    ) -> None:
        """Create a handle.

        environment: take LIBGUESTFS_* and TMPDIR from the environment
        close_on_exit: close the handle when the interpreter ends, if it is still open and idle
        accel: who runs the appliance's processor: "kvm" (or the launch fails), "tcg" (emulation: works
            everywhere, several times slower), "auto" (KVM where it works, else TCG, with a line in the log)
        tuning: "auto": an emulated appliance gets kernel arguments that make it faster; "none": it does not
        appliance: "auto": the fastest that `guestkit appliance build` has made, while it fits what is
            installed, unless you set a search path or a hypervisor; "inspection": as "auto", for inspection
            alone, since augeas then knows the files that `inspect_os` reads and no others; "system":
            libguestfs' own; or the directory of a fixed appliance

        Limits in seconds; a call that takes longer is stopped and raises CallTimeout:
        launch_timeout: for `launch`; None: 60 with KVM, 300 where the processor is emulated
        call_timeout: for every other call, from when it starts to run; None: without limit
        close_timeout: for `close`; then the hypervisor is killed. None: without limit
        admission_timeout: how long `launch` may wait for memory that this process' other appliances use,
            before its own time begins
        cancel_grace: how long a call that is to end may go on before the hypervisor is killed
        queue_timeout: how long a call may wait for its turn, while other threads' calls on the handle run;
            then it never runs. None: without limit
        """
        if not isinstance(environment, bool):
            raise TypeError(
                f"Guestfs() argument 'environment' must be bool, not {type(environment).__name__}"
            )
        if not isinstance(accel, str):
            raise TypeError(f"Guestfs() argument 'accel' must be str, not {type(accel).__name__}")
        if tuning not in ("auto", "none"):
            raise ValueError(f'tuning must be "auto" or "none", not {tuning!r}')
        directory = os.fsencode(appliance)
        if b"\0" in directory or not directory:
            raise ValueError(
                f'appliance must be "auto", "inspection", "system" or a directory, not {appliance!r}'
            )
        options: NativeHandleOptions = (
            environment,
            accel,
            tuning == "auto",
            directory,
            _log.getEffectiveLevel(),
            None if launch_timeout is None else limit("Guestfs", "launch_timeout", launch_timeout),
            limit("Guestfs", "call_timeout", call_timeout),
            limit("Guestfs", "close_timeout", close_timeout),
            limit("Guestfs", "admission_timeout", admission_timeout),
            limit("Guestfs", "cancel_grace", cancel_grace),
            limit("Guestfs", "queue_timeout", queue_timeout),
        )
        super().__init__(options)
        if close_on_exit:
            _open_handles.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<guestkit.{type(self).__name__} {'open' if self.is_open() else 'closed'}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        refuse_to_pickle(self)

    def close(self) -> None:
        """End the appliance and free the handle.

        Waits for calls that other threads have in it; later calls raise HandleClosed. Closing twice is
        harmless. Errors of the guest's last writes are not told here: call `shutdown` first where they
        matter. guestfs_close(3).
        """
        super().close()

    def cancel(self) -> None:
        """End the call that another thread has running on the handle, if there is one; return at once.

        A transfer stops and the handle goes on working, as after `user_cancel`, but no cancel is lost. What
        has not stopped after `cancel_grace` is ended by killing the hypervisor; a launch is at once. The call
        raises Error with errno EINTR, or ApplianceKilled, which every later call then raises too.
        """
        super().cancel()

    def terminate(self) -> None:
        """Kill what runs for the handle: its hypervisor, or what it starts before.

        For any thread and for signal handlers: waits for nothing, not even for a call that is running, which
        raises ApplianceKilled as does every later one but `close`. What a guest has not written to its disks
        yet is lost.
        """
        super().terminate()

    def is_open(self) -> bool:
        """Tell whether the handle can still be used."""
        return super().is_open()

    def open_disk(
        self,
        path: StrOrBytesPath,
        *,
        readonly: bool = True,
        format: StrOrBytesPath | None = None,
        backing: Backing = "refuse",
        protocols: Iterable[StrOrBytesPath] = ("file",),
        snapshot: StrOrBytesPath | None = None,
        in_use: InUse = "allow",
        blocksize: int | None = None,
        unpack: UnpackLimits | None = UNPACK,
    ) -> ImageInfo:
        """Add a disk that somebody else has written, before `launch`; tell what it is.

        guestkit reads the headers itself, and QEMU opens nothing but what is permitted here. A disk that is
        read only is held by descriptor: it is the checked one that is opened, whatever becomes of its name,
        and what the guest does to it is forgotten. The rest of the risk is told in SECURITY.md. Raises Error
        that says what was refused, and what would permit it.

        readonly: False: the guest's changes go to the disk; then the format is to be stated
        format: QEMU's name: "raw", "qcow2", …; None: by what the file begins with, which a guest can choose.
            To be stated for an image that names other files too
        backing: what becomes of an image that names other files, such as a backing file: "refuse" it;
            open those that really lie `under(directory)`; "allow" it, for images that nobody else made
        protocols: how the disk may be reached: "file", and "nbd" for nbd://HOST:PORT/EXPORT and
            nbd+unix:///EXPORT?socket=PATH
        snapshot: a snapshot inside a qcow2 image, by name or id; it is copied into a private file
        in_use: what becomes of a disk to which another program writes, as QEMU's locks tell: "allow": it is
            read as it is at that moment, which the log tells; "refuse": it is not opened, and no QEMU can
            begin to write to it while it is open here. To write to a disk in use is refused always
        blocksize: of the disk's sectors, in bytes: 512 or 4096; None: by its partition table, else 512
        unpack: how much a .gz, .xz, .zst, .bz2 or OVA may become; it is unpacked into a private file, where
            readonly and no format is stated. None: it is refused; so is an OVA of several disks, for which
            there is `open_disks`
        """
        options = OpenDiskOptions(
            readonly=readonly,
            format=format,
            backing=backing,
            protocols=protocols,
            snapshot=snapshot,
            in_use=in_use,
            blocksize=blocksize,
            unpack=unpack,
        )
        return images.add_disks(self, (path,), options, one=True)[0]

    def open_disks(
        self,
        disks: StrOrBytesPath | Sequence[StrOrBytesPath],
        *,
        readonly: bool = True,
        format: StrOrBytesPath | None = None,
        backing: Backing = "refuse",
        protocols: Iterable[StrOrBytesPath] = ("file",),
        in_use: InUse = "allow",
        blocksize: int | None = None,
        unpack: UnpackLimits | None = UNPACK,
    ) -> list[ImageInfo]:
        """Add all disks of a guest, before `launch`: a disk, a sequence of them, an OVA of several.

        Returns what they are, in the order in which they were added: the guest's own, where an OVA tells it.
        The arguments are those of `open_disk`.
        """
        options = OpenDiskOptions(
            readonly=readonly,
            format=format,
            backing=backing,
            protocols=protocols,
            in_use=in_use,
            blocksize=blocksize,
            unpack=unpack,
        )
        return images.add_disks(self, path_list(disks), options)

    def launch_info(self) -> LaunchInfo | None:
        """Tell how the last launch that succeeded went; None before the first."""
        last = super().last_launch()
        return None if last is None else LaunchInfo(**last)

    def inspect(
        self,
        *,
        parts: Collection[Part] = DEFAULT_PARTS,
        keys: Iterable[Key] = (),
        mode: Mode = "auto",
        verify: bool = False,
        step: Callable[[str], object] | None = None,
    ) -> Inspection:
        """Tell what is on the disks of the handle, which is launched.

        Whatever is mounted is unmounted, before and afterwards; nothing is written. One call: `call_timeout`
        is the time for all of it, of which each part has its share; without it, no part has a limit. The
        arguments are those of `guestkit.inspect`.
        """
        options = InspectOptions(parts=parts, keys=keys, mode=mode, verify=verify, step=step)
        return self._inspect_disks((), options)

    def _inspect_disks(self, disks: Sequence[StrOrBytesPath], options: InspectOptions) -> Inspection:
        """Add the disks, launch, inspect; without disks the handle is launched."""
        native = options.native()
        begun = time.monotonic()
        with (
            images.disks_for(self, disks, options.opening, step=options.step) as plain,
            ExitStack() as names,
        ):
            for disk in plain:
                names.enter_context(disk.named())
            spent = time.monotonic() - begun
            found = super()._inspect([disk.path for disk in plain], *native, spent)
        return Inspection.from_native(found)

    def read_small(self, path: StrOrBytesPath, *, limit: int = SMALL_FILE) -> bytes:
        """Return the content of a small file, much faster than `read_file`.

        Raises Error for what is no regular file (EINVAL) or larger than the limit, in bytes (EFBIG).
        """
        return super()._read_small(path, limit)

    def read_files(
        self, paths: Iterable[StrOrBytesPath], *, limit: int = SMALL_FILE
    ) -> dict[str, bytes | Error]:
        """Return the contents of small files by path, an Error for one that cannot be had."""
        found = super()._read_files(paths, limit)
        return {
            path: content if isinstance(content, bytes) else Error("read_small", *content)
            for path, content in found.items()
        }

    def walk(
        self, directory: StrOrBytesPath, *, max_depth: int = 256, max_entries: int = 1_000_000
    ) -> list[GuestFile]:
        """Return every file below a directory, without following symlinks.

        A directory stands before what it holds.

        max_depth: of directories below the one to begin with; 0: its entries alone
        max_entries: more is an Error with EFBIG
        """
        return [GuestFile(**file) for file in super()._walk(directory, max_depth, max_entries)]

    def extract(
        self,
        path: StrOrBytesPath,
        host_directory: StrOrBytesPath,
        *,
        max_bytes: int = 16 << 30,
        max_entries: int = 1_000_000,
        progress: Callable[[str, int], object] | None = None,
    ) -> Extracted:
        """Copy a file or a tree of the guest into a directory of the host, under its own name.

        Nothing is written outside that directory, whatever the guest's names and symlinks are: symlinks that
        point outside are skipped, as are devices, FIFOs and sockets; files lose their set-id bits. What is
        there already is an Error with EEXIST, more than max_bytes or max_entries one with EFBIG.

        progress: called now and then with the file and the bytes that are there in all, on the calling thread
        """
        return Extracted.from_native(super()._extract(path, host_directory, max_bytes, max_entries, progress))

    def set_event_callback(self, callback: EventCallback, events: Event | int = Event.ALL) -> int:
        """Have callback run at each of these events; return the number of the registration.

        Does not wait for a call that is running on the handle. A callback that refers to the handle keeps it
        alive until it is closed. guestfs_set_event_callback(3).
        """
        if not callable(callback):
            raise TypeError(
                f"set_event_callback() argument 'callback' must be callable, not {type(callback).__name__}"
            )

        def deliver(event: int, number: int, text: str, numbers: list[int]) -> None:
            callback(Event(event), number, text, numbers)

        return super().add_event_callback(deliver, operator.index(events))

    def delete_event_callback(self, number: int) -> None:
        """End the registration of that number; wait for its callback if another thread is in it.

        guestfs_delete_event_callback(3).
        """
        super().delete_event_callback(number)


def set_appliance_limit(count: int | None) -> None:
    """Let this process run at most so many appliances at once, also where memory allows more.

    Later launches wait. None: as many as there is memory for.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise TypeError(f"set_appliance_limit() takes a number or None, not {type(count).__name__}")
    if count is not None and count < 1:
        raise ValueError(f"at least 1 appliance must be allowed, not {count}")
    _native.set_appliance_limit(count)


def refuse_to_pickle(handle: object) -> NoReturn:
    """A copy would be a second owner of the same appliance."""
    raise TypeError(
        f"a {type(handle).__name__} handle cannot be copied or pickled: its appliance belongs to this"
        " process; hand the other process the disk's path and let it open a handle of its own"
    )


def limit(kind: str, name: str, given: float | None) -> float:
    """Return the limit in seconds, infinite for None."""
    if given is None:
        return math.inf
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(
            f"{kind}() argument '{name}' must be a number of seconds or None, not {type(given).__name__}"
        )
    if not given >= 0:
        raise ValueError(f"{kind}() argument '{name}' must not be negative: {given}")
    return float(given)


_open_handles: weakref.WeakSet[Guestfs] = weakref.WeakSet()


def _quieten_daemon_threads() -> None:
    """What a daemon thread's call raises because the program ends is no failure of the program."""
    hook = threading.excepthook

    def shown(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, (ApplianceKilled, HandleClosed)):
            hook(failed)

    threading.excepthook = shown


#: How long the end of the process waits for a daemon thread's call whose hypervisor was killed, in seconds.
_CALL_ENDS = 2.0


@atexit.register
def _close_open_handles() -> None:
    """libguestfs' own exit handler would run callbacks into an interpreter that is gone."""
    with contextlib.ExitStack() as ends:  # one that fails costs no other its end
        for handle in list(_open_handles):
            ends.callback(_end, handle)


def _end(handle: Guestfs) -> None:
    if not handle.is_open():  # closed already, which a subclass' close() may refuse to do again
        return
    if not handle.is_idle():
        _quieten_daemon_threads()
        handle.terminate()  # a daemon thread ends where it stands; its hypervisor would go on
        deadline = time.monotonic() + _CALL_ENDS
        while not handle.is_idle() and time.monotonic() < deadline:
            time.sleep(0.005)
    if handle.is_idle():  # else the next process sweeps what is left
        with contextlib.suppress(HandleClosed):  # by another thread, this moment
            handle.close()
