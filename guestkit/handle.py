"""`Guestfs`, the blocking handle."""

from __future__ import annotations

import atexit
import contextlib
import logging
import operator
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar, Unpack

from guestkit import _native
from guestkit._missing import add_missing_actions
from guestkit._text import printable
from guestkit.disks import Guest, add_disks, disks_for, open_all
from guestkit.errors import ApplianceKilled, Error, HandleClosed
from guestkit.events import Event, EventCallback
from guestkit.files import MAX_BYTES, MAX_DEPTH, MAX_ENTRIES, SMALL_FILE, Extracted, GuestFile
from guestkit.generated.values import LaunchInfo, Mounted
from guestkit.handle_options import HandleKeywords, HandleOptions, name_options_of, options_from
from guestkit.images import ImageInfo
from guestkit.inspection import ALL_PARTS, DEFAULT_PARTS, Inspection, InspectOptions, Key, Mode, Part
from guestkit.opening import OpenDiskOptions, OpeningKeywords, opening_from

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

PathT = TypeVar("PathT", bound="StrOrBytesPath")


class Guestfs(_native.Handle):
    """A libguestfs handle: the disks of one guest, every libguestfs action as a method.

        with Guestfs() as g:
            g.open_disk("disk.qcow2")
            g.launch()
            for root in g.inspect_os():
                print(printable(g.inspect_get_product_name(root)))

    The methods have libguestfs' own names, so guestfs(3) is their manual. They take str, bytes and
    os.PathLike for text, raise `guestkit.Error`, and release the GIL while they run. Any thread may call at
    any time; the calls on one handle run one after the other. After a fork the handle belongs to the parent;
    since Python 3.12 the fork itself warns of threads, of which guestkit has some.

    A handle that is dropped unclosed is closed at once by the thread that drops it, which waits for the end
    of the appliance. Close it yourself where that thread must not wait, as in a program with an event loop.

    The logger "guestkit" reports launches at INFO. If its level is DEBUG when the handle is created, it also
    reports closes, every call (libguestfs' trace) and the appliance's output, with secrets replaced by ***.
    After `set_verbose(True)` it also gets libguestfs' debug messages.
    """

    _kept_open: ExitStack | None = None

    #: What `mount_guest` returned last.
    _mount_info: Mounted | None = None

    def __init__(self, options: HandleOptions | None = None, /, **keywords: Unpack[HandleKeywords]) -> None:
        """Create a handle.

        options: everything that can be chosen; None: the defaults
        keywords: single fields of `HandleOptions`, which has what they mean; they win over options
        """
        options = options_from(options, keywords)
        super().__init__(options.native())
        if options.close_on_exit:
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
        """Shut the appliance down and free the handle; unmount what it shows in a directory before.

        Waits for calls that other threads have made on it; later calls raise HandleClosed. Closing twice is
        harmless. Errors in the guest's last writes are not reported here: if they matter, call `shutdown`
        first. If it raises, the handle is still open: close it again. guestfs_close(3).
        """
        super().close()
        if self._kept_open is not None:
            self._kept_open.close()

    def _keep_open(self, context: AbstractContextManager[object]) -> None:
        """Enter a context that lasts as long as the handle, such as the server of a disk at a URL."""
        if self._kept_open is None:
            self._kept_open = ExitStack()
        self._kept_open.enter_context(context)

    def cancel(self) -> None:
        """Cancel the call that another thread is running on the handle, if any; return at once.

        A transfer stops and the handle stays usable, as after `user_cancel`, but no cancel is lost. If a call
        has not stopped after `cancel_grace`, the hypervisor is killed; for a launch, it is killed at once.
        The call raises Error with errno EINTR, or ApplianceKilled, which every later call then raises too.
        """
        super().cancel()

    def terminate(self) -> None:
        """Kill the handle's hypervisor, or the programs that a launch runs before it.

        Safe in any thread and in signal handlers: it waits for nothing, not even for a running call. That
        call raises ApplianceKilled, and so does every later one except `close`. Whatever the guest has not
        yet written to its disks is lost.
        """
        super().terminate()

    def is_open(self) -> bool:
        """Return whether it has not been closed; it is open even if its appliance died or was killed."""
        return super().is_open()

    def open_disk(
        self,
        path: StrOrBytesPath,
        *,
        readonly: bool = True,
        **opening: Unpack[OpeningKeywords],
    ) -> ImageInfo:
        """Add an untrusted disk, before `launch`; return what it is.

        guestkit reads the headers itself, and QEMU opens only what is permitted here. A read-only disk is
        held by its descriptor, so the file that was checked is the file that is opened, even if its name
        changes meanwhile; the guest's writes to it are discarded. SECURITY.md describes the remaining risk.
        Raises Error that says what was refused, and what would permit it.

        readonly: False: the guest's changes go to the disk; you must then state the format
        format: QEMU's name: "raw", "qcow2", …; None: detect it from the start of the file, which a guest can
            forge. You must also state it for an image that names other files
        backing: how to treat an image that names other files, such as a backing file: "refuse" it;
            open only files that really lie `under(directory)`; "allow" it, for images you made yourself
        protocols: how the disk may be reached: "file"; "nbd" for nbd://HOST:PORT/EXPORT and
            nbd+unix:///EXPORT?socket=PATH; "http", "https" and "ssh" for URLs of raw disks, read-only, which
            nbdkit then reads as long as the handle is open
        snapshot: a snapshot inside a qcow2 image, by name or id; it is copied into a private file
        in_use: how to treat a disk that another program is writing to, according to QEMU's locks, or a device
            that this host has mounted or uses in another way: "allow": read it as it is at that moment, with
            a line in the log; "refuse": do not open it, and keep any QEMU from starting to write to it while
            it is open here. Writing to a disk in use is always refused
        blocksize: the disk's sector size in bytes: 512 or 4096; None: from its partition table, else 512
        unpack: limits for unpacking a .gz, .xz, .zst, .bz2 or OVA into a private file, which is done if the
            disk is opened read-only and without a format. None: refuse packed disks. An OVA of several disks
            is always refused here: use `open_disks`
        """
        options = opening_from("open_disk", opening, readonly=readonly)
        return add_disks(self, path, options, one=True)[0]

    def open_disks(
        self,
        disks: Guest,
        *,
        readonly: bool = True,
        **opening: Unpack[OpeningKeywords],
    ) -> list[ImageInfo]:
        """Add all disks of a guest, before `launch`: a disk, a sequence of disks, or an OVA with several.

        A `guestkit.Domain` stands for the disks of a guest of libvirt, which states their formats. Returns
        what they are, in the order in which they were added. For an OVA that is the guest's own order, if the
        OVA states it. The arguments are those of `open_disk`.
        """
        options = opening_from("open_disks", opening, readonly=readonly)
        return add_disks(self, disks, options)

    def launch_info(self) -> LaunchInfo | None:
        """Return how the last successful launch went; None before the first."""
        last = super().last_launch()
        return None if last is None else LaunchInfo(**last)

    def mount_info(self) -> Mounted | None:
        """Return what `mount_guest` or `open_guest` has mounted last, and what not; None: they did not.

        It tells the system, too, such as where the hives of a Windows' registry are.
        """
        return self._mount_info

    def inspect(
        self,
        *,
        parts: Collection[Part] = DEFAULT_PARTS,
        keys: Iterable[Key] = (),
        mode: Mode = "auto",
        verify: bool = False,
        step: Callable[[str], object] | None = None,
    ) -> Inspection:
        """Return what is on the disks of the handle, which must be launched.

        Unmounts everything before and afterwards; writes nothing. It is one call: `call_timeout` covers all
        of it, and each part gets its share. Without a `call_timeout` no part has a limit. The arguments are
        those of `guestkit.inspect`.
        """
        options = InspectOptions(parts=parts, keys=keys, mode=mode, verify=verify, step=step)
        return self._inspect_disks((), options)

    def _inspect_disks(self, guest: Guest, options: InspectOptions) -> Inspection:
        """Add the disks, launch and inspect; without disks, inspect the handle that is already launched."""
        options.native()  # a wrong one is refused before anything is done
        begun = time.monotonic()
        with (
            disks_for(self, guest, options.opening, step=options.step) as disks,
            ExitStack() as names,
        ):
            paths = [disk.path for disk in disks]
            if any(disk.options != disks[0].options for disk in disks):
                # Such as the raw and the qcow2 disk of one domain. The call below opens all disks alike.
                open_all(self, disks)
                self.launch()
                paths = []
            elif disks:
                options = replace(options, opening=disks[0].options)
            for disk in disks:
                names.enter_context(disk.named())
            spent = time.monotonic() - begun
            found = super()._inspect(paths, options.native(), spent)
        found["provenance"]["parts"] = tuple(part for part in ALL_PARTS if part in options.parts)
        return Inspection.from_native(found)

    def read_small(self, path: StrOrBytesPath, *, limit: int = SMALL_FILE) -> bytes:
        """Return the content of a small file, much faster than `read_file`.

        Raises Error if it is not a regular file (EINVAL) or is larger than the limit, in bytes (EFBIG).
        """
        return super()._read_small(path, limit)

    def read_files(self, paths: Iterable[PathT], *, limit: int = SMALL_FILE) -> dict[PathT, bytes | Error]:
        """Return the contents of small files by path, or an Error for each one that cannot be read.

        The keys are the paths as they were given, sorted.
        """
        if isinstance(paths, Iterator):  # it is read twice
            paths = list(paths)
        found = super()._read_files(paths, limit)
        return {path: _content(found[_text_of(path)]) for path in sorted(paths, key=_text_of)}

    def walk(
        self, directory: StrOrBytesPath, *, max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES
    ) -> list[GuestFile]:
        """Return every file below a directory, without following symlinks.

        A directory comes before its entries. One that lies deeper than `max_depth` is `not_entered`: what is
        in it is left out.

        max_depth: levels of directories below the first one; 0: only its own entries
        max_entries: more raise Error with EFBIG, and so do 512 MiB of paths and targets of symlinks, and a
            directory whose size promises many more
        """
        return self._walked(directory, max_depth, max_entries, -1)

    def _walked(
        self, directory: StrOrBytesPath, max_depth: int, max_entries: int, size: int
    ) -> list[GuestFile]:
        """Do the same of a directory whose size is known, which saves a message; negative: it is not."""
        return [GuestFile(**file) for file in super()._walk(directory, max_depth, max_entries, size)]

    def extract(
        self,
        path: StrOrBytesPath,
        host_directory: StrOrBytesPath,
        *,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        progress: Callable[[str, int], object] | None = None,
    ) -> Extracted:
        """Copy a file or a tree from the guest into a directory on the host, under its own name.

        Nothing is written outside that directory, whatever the guest's names and symlinks are: symlinks that
        point out of the copied tree are skipped, and so are devices, FIFOs and sockets, directories whose
        size promises many more than max_entries, and what the host cannot make, such as a name that is too
        long; files lose their set-id bits. Raises Error with EEXIST if the target exists (for "/", each file
        in it is a target), and with EFBIG beyond max_bytes, max_entries, or 512 MiB of paths and targets of
        symlinks.

        progress: called now and then, on the calling thread, with the file and the bytes copied so far
        """
        return Extracted.from_native(super()._extract(path, host_directory, max_bytes, max_entries, progress))

    @contextlib.contextmanager
    def mounted(
        self, directory: StrOrBytesPath, *, readonly: bool = True, allow_other: bool = False
    ) -> Iterator[Path]:
        """Show what is mounted in the handle in an empty directory of this host, by FUSE.

            with g.mounted("mnt") as path:
                subprocess.run(["tar", "-C", path, "-cf", "etc.tar", "etc"], check=True)

        For programs that know nothing of disks. Needs /dev/fuse and fusermount, not root. Yields the
        directory's absolute path. At the end it is unmounted, although programs may still use it: their next
        access fails; what they have written is on the disk. A guest that does not answer for ten seconds is
        given up, and its hypervisor killed. If this process is killed, the directory is unmounted, too.

        Meanwhile every other call of the handle raises Error with the cause "mounted" at once, and `close`
        and `cancel` unmount it. Event callbacks run on a thread of their own, a moment later; they may use
        the directory, and at most 1000 wait, more are dropped. No call_timeout ends it.

        The host's kernel follows symlinks itself: an absolute one of the guest's leads to this host's files.
        A program that reads a stranger's disk has to be kept inside of the directory, as by a container.

        readonly: False: programs may write, if the handle may
        allow_other: other users may look, too; for a user who is not root /etc/fuse.conf has to permit it

        Raises Error if it cannot be mounted, if nothing is mounted in the handle, or from inside a callback;
        at the end, with errno EIO, if what was written last may be lost, because the hypervisor has ended.
        """
        path = Path(super()._mount(directory, readonly, allow_other, False))
        try:
            yield path
        except BaseException:  # the block's own exception wins
            end_mount(self)
            raise
        super()._unmount()

    def set_event_callback(self, callback: EventCallback, events: Event | int = Event.ALL) -> int:
        """Run the callback at each of these events; return the registration number.

        Does not wait for a running call. A callback that refers to the handle keeps the handle alive until it
        is closed. guestfs_set_event_callback(3).
        """
        if not callable(callback):
            raise TypeError(
                f"set_event_callback() argument 'callback' must be callable, not {type(callback).__name__}"
            )

        def deliver(event: int, number: int, text: str, numbers: list[int]) -> None:
            callback(Event(event), number, text, numbers)

        return super().add_event_callback(deliver, operator.index(events))

    def delete_event_callback(self, number: int) -> None:
        """Remove the callback with that registration number; wait for it if another thread is running it.

        guestfs_delete_event_callback(3).
        """
        super().delete_event_callback(number)


def _text_of(path: StrOrBytesPath) -> str:
    """Return the path as libguestfs' texts are, whatever the encoding of this host's names."""
    text = os.fspath(path)
    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")


def _content(found: bytes | tuple[str, int]) -> bytes | Error:
    return found if isinstance(found, bytes) else Error("read_small", *found)


add_missing_actions(Guestfs)
name_options_of(Guestfs.__init__, HandleOptions())
name_options_of(Guestfs.open_disk, OpenDiskOptions())
name_options_of(Guestfs.open_disks, OpenDiskOptions())


def set_appliance_limit(count: int | None) -> None:
    """Limit how many appliances this process runs at once, even if memory allows more.

    Further launches wait. None: as many as fit into memory.
    """
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise TypeError(f"set_appliance_limit() takes a number or None, not {type(count).__name__}")
    if count is not None and count < 1:
        raise ValueError(f"at least 1 appliance must be allowed, not {count}")
    _native.set_appliance_limit(count)


def check_blocking(op: str, g: object) -> None:
    """Raise TypeError for an AsyncGuestfs, whose calls return before they have run."""
    loaded = sys.modules.get("guestkit.aio.handle")
    if loaded is not None and isinstance(g, loaded.AsyncGuestfs):
        raise TypeError(
            f"{op}() takes a Guestfs, and this is an AsyncGuestfs: await g.run(lambda g: {op}(g, …))"
        )


def refuse_to_pickle(handle: object) -> NoReturn:
    """Raise TypeError: a copy would be a second owner of the same appliance."""
    raise TypeError(
        f"a {type(handle).__name__} handle cannot be copied or pickled: its appliance belongs to this"
        " process; hand the other process the disk's path and let it open a handle of its own"
    )


log = logging.getLogger("guestkit")

_open_handles: weakref.WeakSet[Guestfs] = weakref.WeakSet()


def _quieten_daemon_threads() -> None:
    """Hide what the calls of daemon threads raise because the program exits: it is not a failure."""
    hook = threading.excepthook

    def shown(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, (ApplianceKilled, HandleClosed)):
            hook(failed)

    threading.excepthook = shown


#: How long the exiting process waits for a daemon thread's call once its hypervisor is killed, in seconds.
_CALL_ENDS = 2.0


@atexit.register
def _close_open_handles() -> None:
    """Close here, because libguestfs' own exit handler would call into an interpreter that is gone."""
    with contextlib.ExitStack() as ends:  # if one close fails, the others still run
        for handle in list(_open_handles):
            ends.callback(_end, handle)


def end_mount(handle: Guestfs) -> None:
    """Unmount what the handle shows in a directory, where nobody is to get an exception: log it."""
    try:
        handle._unmount()
    except Error as error:
        log.warning("%s", printable(str(error)))


def _end(handle: Guestfs) -> None:
    if not handle.is_open():  # a subclass' close() may refuse to close twice
        return
    end_mount(handle)
    if not handle.is_idle():
        _quieten_daemon_threads()
        handle.terminate()  # a daemon thread dies with the process, but its hypervisor would live on
        deadline = time.monotonic() + _CALL_ENDS
        while not handle.is_idle() and time.monotonic() < deadline:
            time.sleep(0.005)
    if handle.is_idle():  # else the next process cleans up
        with contextlib.suppress(HandleClosed):  # another thread has just closed it
            handle.close()
