"""`GuestFileSystem`: a guest's files as a filesystem of fsspec."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import os
import posixpath
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from glob import has_magic
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, cast

from fsspec.asyn import get_loop  # type: ignore[import-untyped]
from fsspec.compression import compr  # type: ignore[import-untyped]
from fsspec.core import get_compression  # type: ignore[import-untyped]
from fsspec.utils import stringify_path  # type: ignore[import-untyped]

from guestkit import _operations as operations
from guestkit._file_errors import NOT_THERE, check_regular, failure, is_about_a_file
from guestkit._operations import Entry, Place
from guestkit.aio.lent import Lent
from guestkit.disks import Guest
from guestkit.files import MAX_BYTES, MAX_ENTRIES, absolute
from guestkit.fs.blocking import blocking, with_blocking_twins
from guestkit.fs.calls import check_closes, check_not_closed, one_call
from guestkit.fs.connection import Connection
from guestkit.fs.copies import Copies, as_text
from guestkit.fs.file import BufferedGuestFile, StreamedGuestFile
from guestkit.fs.instances import Shared, named_in_full
from guestkit.fs.listings import Listings
from guestkit.guest import GuestArguments
from guestkit.handle import Guestfs
from guestkit.handle_options import INSPECTION, HandleOptions, name_options_of, options_from
from guestkit.inspection import Key, checked_keys
from guestkit.opening import GuestKeywords, OpenDiskOptions, opening_from, parted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from guestkit.aio import AsyncGuestfs

T = TypeVar("T")

_log = logging.getLogger("guestkit")

#: What `walk` and `find` do with a directory that cannot be read.
OnError = Literal["omit", "raise"] | Callable[[OSError], object]

#: How many parts of files are read in one turn of the handle, at most.
_TURN = 64


@with_blocking_twins
class GuestFileSystem(Copies, metaclass=Shared):
    """A guest's files, by fsspec's interface: blocking, or awaited where `asynchronous=True`.

        fs = GuestFileSystem("web.qcow2")
        fs.ls("/etc", detail=False)
        with fs.open("/var/log/syslog", "rb") as log:
            ...

    The first call launches an appliance, and mounts the guest's filesystems as its own operating system
    would. Instances with the same arguments are one instance, as in all of fsspec, with one appliance, in
    which calls run in the order in which they were made. `close` ends it; the next call launches another. A
    pickled filesystem opens its disk anew, and so does one after a fork.

    Paths are absolute; names that are no UTF-8 have surrogates, as in `os.fsdecode`. Symlinks are followed in
    the guest. FIFOs, sockets and devices are never opened. What is wrong with a file raises OSError of the
    kind that Python's own functions raise, with guestkit's Error as cause; what is wrong with the disk or the
    appliance raises guestkit's Error.
    """

    protocol = "guestkit"
    root_marker = "/"

    _pid: int  # of the process that it belongs to
    _closes = 0  # how often it was closed

    def __init__(
        self,
        fo: Guest | None = None,
        *,
        handle: Guestfs | AsyncGuestfs | None = None,
        root: str | None = None,
        mounts: Mapping[str, str] | None = None,
        readonly: bool = True,
        keys: Iterable[Key] = (),
        options: HandleOptions | None = None,
        auto_mkdir: bool = False,
        max_bytes: int = 1 << 30,
        max_get: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        use_listings_cache: bool | None = None,
        listings_expiry_time: float | None = None,
        max_paths: int | None = None,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
        skip_instance_cache: bool = False,
        **keywords: Unpack[GuestKeywords],
    ) -> None:
        """Prepare a filesystem; its first call opens the disk.

        fo: the disk, or all disks of the guest: what stands behind :: in a chained URL
        handle: instead of a disk, a launched handle whose filesystems are mounted. It stays the caller's
        root, mounts, keys, format, backing, protocols, snapshot, in_use, blocksize, unpack: as in
            `open_guest`
        readonly: False: files can be written; the format must be stated
        options, and each of its fields: the handle's, as in `open_guest`
        auto_mkdir: make missing directories above a file that is written
        max_bytes: the most that one call returns, of all its files together; more raises OSError with EFBIG
        max_get: the most bytes that one `get` copies, of all its files together; more raises OSError with
            EFBIG, and what was copied stays. In a tree, a file that alone exceeds it is left out, with a
            warning. A guest's sparse and shared files may claim any size
        max_entries: the most files that one listing or `find` returns
        use_listings_cache: remember listings; None: only of a disk that is opened here, read-only
        listings_expiry_time, max_paths: for how many seconds, and how many; None: without such a limit
        asynchronous, loop, skip_instance_cache: as in all of fsspec's filesystems
        batch_size: without effect, since one file is read or written after the other
        """
        if use_listings_cache is None:
            use_listings_cache = handle is None and readonly
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size)
        self.readonly = readonly
        self.auto_mkdir = auto_mkdir
        self.max_bytes = max_bytes
        self.max_get = max_get
        self.max_entries = max_entries
        self._no_listings = partial(
            Listings, remember=use_listings_cache, seconds=listings_expiry_time, directories=max_paths
        )
        self._lent = cast("Lent | None", handle)  # see guestkit.fs.instances
        if handle is None:
            of_disks, of_handle = parted(keywords)
            opening = opening_from("GuestFileSystem", of_disks, readonly=readonly)
            opening.native("GuestFileSystem")  # raises for a wrong one
            self._disk = GuestArguments(
                guest=named_in_full(fo),
                root=root,
                mounts=mounts,
                keys=checked_keys(keys),
                opening=opening,
                handle=options_from(options, of_handle, INSPECTION, "GuestFileSystem"),
            )
        self._connect()

    def _connect(self) -> None:
        self.dircache = self._no_listings()
        self._guest = Connection(self._disk) if self._lent is None else Lent(self._lent.handle)
        self._finalizer = weakref.finalize(self, self._guest.reap)
        self._finalizer.atexit = False  # a handle that is open then closes itself

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the blocking calls run on."""
        self._leave_parent()
        return self._loop

    def _leave_parent(self) -> None:
        """After a fork, leave the appliance to the parent process, and open the disk anew."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else get_loop()
            self._finalizer.detach()
            self._connect()

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run one of the operations as one turn of the handle."""
        self._leave_parent()
        check_not_closed(self)
        return await self._guest.run(lambda g: function(g, *arguments))

    # ---- its life

    async def _close(self) -> None:
        """Shut the appliance down; the next call launches another one.

        Raises Error if a last write to the disk failed. All instances with the same arguments are one: this
        ends the appliance for all. Where the disk is written to, a call of several turns raises
        HandleClosed at its next one, perhaps in the middle of a large file. A handle that was given stays
        open.
        """
        self._leave_parent()
        if self._lent is None:
            self._closes += 1
        try:
            await self._guest.close()
        finally:
            self.dircache.clear()

    close = blocking(_close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close()

    def __reduce__(self) -> Any:
        if self._lent is not None:
            raise TypeError(
                "a GuestFileSystem with a handle cannot be pickled: its appliance belongs to this process;"
                " make it with the path of the disk"
            )
        return super().__reduce__()

    # ---- paths and listings

    @one_call
    async def _expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
    ) -> list[str]:
        """Return the files that a path means, or a pattern; those that are in a list are paths.

        A guest may give its files any names, and a path with an asterisk in it is no pattern if there is
        such a file. Raises FileNotFoundError if a pattern, or a directory below which to look, is not there.

        recursive: and those below them
        maxdepth: of the directories below, a pattern with ** included
        """
        _check_depth(maxdepth)
        path = as_text(path)
        is_pattern = isinstance(path, str) and not assume_literal and await self._is_pattern(path)
        if is_pattern:
            matched = await self._glob(self._strip_protocol(path), maxdepth=maxdepth)
            maxdepth = None if maxdepth is None else maxdepth - 1  # the pattern has taken one
        else:
            matched = self._strip_protocol([path] if isinstance(path, str) else path)
        found = set(matched)
        if recursive and maxdepth != 0:
            for one in matched:
                below = await self._find(one, maxdepth=maxdepth, withdirs=True)
                if not below and not await self._exists(one):
                    found.discard(one)
                found.update(below)
        if not found:
            raise failure(errno.ENOENT, path if isinstance(path, str) else next(iter(matched), ""))
        return sorted(found)

    async def _is_pattern(self, path: str) -> bool:
        """Return whether a path is a pattern: a file that is there may have such a name."""
        return has_magic(path) and not await self._lexists(path)

    @one_call
    async def _glob(self, path: Any, *arguments: Any, **kwargs: Any) -> Any:
        return await super()._glob(as_text(path), *arguments, **kwargs)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return the path in the guest: absolute, without . and .. and double slashes."""
        if isinstance(path, (list, tuple)):
            return [cls._strip_protocol(one) for one in path]
        text = os.fsdecode(stringify_path(path))
        text = text.removeprefix("guestkit://").removeprefix("guestkit::")
        return absolute(text)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what is remembered of a directory and of the one above it; None: of all."""
        super().invalidate_cache(path)
        if path is None:
            self.dircache.clear()
        else:
            path = self._strip_protocol(path)
            for directory in (path, posixpath.dirname(path)):
                self.dircache.forget(directory)

    async def _info(self, path: str, **kwargs: Any) -> Entry:
        path = self._strip_protocol(path)
        known = self.dircache.known(path)
        return await self._run(operations.info, path) if known is None else dict(known)

    async def _ls(self, path: str, detail: bool = True, refresh: bool = False, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if refresh:
            self.dircache.forget(path)
        if (known := self.dircache.get(path)) is not None:
            entries: list[Entry] = list(known.values())
        else:
            entries = await self._run(operations.listing, path, self.max_entries)
            if [entry["name"] for entry in entries] != [path]:  # not the file itself
                self.dircache.remember(path, entries)
        return [dict(entry) for entry in entries] if detail else [entry["name"] for entry in entries]

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: OnError = "omit",
        **kwargs: Any,
    ) -> AsyncIterator[tuple[str, Any, Any]]:
        """Walk a tree as `os.walk` does, without following symlinks.

        Without recursion, too: a guest's tree may be deeper than Python's stack.
        """
        _check_depth(maxdepth)
        detail = kwargs.pop("detail", False)
        closes = self._closes  # between two directories, the caller has the turn: this is no `one_call`
        top = self._strip_protocol(path)
        waiting: list[tuple[str, int, tuple[Any, Any] | None]] = [(top, 1, None)]
        while waiting:
            directory, level, visited = waiting.pop()
            if visited is not None:
                yield directory, *visited
                continue
            check_closes(self, closes)
            try:
                listed = await self._ls(directory, **kwargs)
            except OSError as error:
                if not is_about_a_file(error) or (directory == top and error.errno == errno.EFBIG):
                    raise
                _tell(error, on_error)
                listed = []
            dirs: Any = {}
            files: Any = {}
            for entry in listed:
                name = "" if entry["name"] == directory else posixpath.basename(entry["name"])
                (dirs if entry["type"] == "directory" else files)[name] = entry
            if not detail:
                dirs, files = list(dirs), list(files)
            if topdown:
                yield directory, dirs, files  # the caller may take some of dirs away
            else:
                waiting.append((directory, level, (dirs, files)))
            if maxdepth is None or level < maxdepth:
                waiting += [
                    (posixpath.join(directory, name), level + 1, None) for name in reversed(list(dirs))
                ]

    @one_call
    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        *,
        detail: bool = False,
        prefix: str = "",
        on_error: OnError = "omit",
        **kwargs: Any,
    ) -> Any:
        """Find all files in one turn; what is remembered serves where one directory is asked for."""
        _check_depth(maxdepth)
        path = self._strip_protocol(path)
        found: dict[str, Entry] = {}
        try:
            known = await self._info(path)
            if known["type"] != "directory":
                return {path: known} if detail else [path]
            if maxdepth == 1:
                listings = {path: await self._ls(path)}
                listings[path] = [
                    entry for entry in listings[path] if posixpath.basename(entry["name"]).startswith(prefix)
                ]
            else:
                listings = await self._tree(path, maxdepth, prefix, on_error)
        except OSError as error:  # of the first directory
            if not is_about_a_file(error) or error.errno == errno.EFBIG:
                raise
            _tell(error, on_error)
            return {} if detail else []
        if withdirs:
            found[path] = known
        for entries in listings.values():
            found |= {entry["name"]: entry for entry in entries if withdirs or entry["type"] != "directory"}
        names = sorted(found)
        return {name: dict(found[name]) for name in names} if detail else names

    async def _tree(
        self, path: str, maxdepth: int | None, prefix: str, on_error: OnError
    ) -> dict[str, list[Entry]]:
        failed: list[OSError] = []

        def walk(g: Guestfs) -> dict[str, list[Entry]]:
            return operations.tree(
                g, path, depth=maxdepth, prefix=prefix, most=self.max_entries, failed=failed.append
            )

        listings = await self._run(walk)
        for error in failed:
            _tell(error, on_error)
        for directory, entries in listings.items():
            if directory != path or not prefix:
                self.dircache.remember(directory, entries)
        return listings

    @one_call
    async def _sizes(self, paths: Iterable[Any], batch_size: int | None = None) -> list[int]:
        return [await self._size(path) for path in paths]

    async def _du(
        self,
        path: str,
        total: bool = True,
        maxdepth: int | None = None,
        withdirs: bool = False,
        **kwargs: Any,
    ) -> Any:
        found = await self._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: entry["size"] for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    async def _exists(self, path: str, **kwargs: Any) -> bool:
        return await self._kind(path) is not None

    async def _isfile(self, path: str) -> bool:
        return await self._kind(path) == "file"

    async def _isdir(self, path: str) -> bool:
        return await self._kind(path) == "directory"

    async def _kind(self, path: str) -> str | None:
        """Return the type of a file, None if there is none; what else is wrong is raised."""
        try:
            kind: str = (await self._info(path))["type"]
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            return None
        return kind

    async def _is_link(self, path: str) -> bool:
        return await self._exists(path) and (await self._info(path))["islink"]

    async def _lexists(self, path: str, **kwargs: Any) -> bool:
        """Return whether there is such a name, even if it is a symlink that leads nowhere."""
        try:
            await self._run(operations.check_there, self._strip_protocol(path))
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            return False
        return True

    lexists = blocking(_lexists)

    async def _modified(self, path: str) -> datetime:
        """Return when the file was last changed, in UTC."""
        seconds = (await self._info(path))["mtime"]
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):  # the guest may claim any number
            raise failure(errno.EOVERFLOW, path, f"the time of its last change is {seconds}") from None

    modified = blocking(_modified)

    # ---- reading

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        return await self._run(operations.read, self._strip_protocol(path), start, end, self.max_bytes)

    @one_call
    async def _cat_ranges(
        self,
        paths: list[Any],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[bytes | OSError]:
        """Read parts of many files, many in one turn: it costs more than the calls for a small file."""
        if max_gap is not None:
            raise NotImplementedError("max_gap: ranges are read as they are")
        if not isinstance(paths, list):
            raise TypeError(f"cat_ranges() argument 'paths' must be a list, not {type(paths).__name__}")
        count = len(paths)
        firsts, lasts = ([at] * count if at is None or isinstance(at, int) else at for at in (starts, ends))
        parts = map(slice, firsts, lasts)
        wanted = list(zip(self._strip_protocol(paths), parts, strict=True))
        found: list[bytes | OSError] = []
        left = self.max_bytes
        for begin in range(0, count, _TURN):
            turn = await self._run(operations.read_each, wanted[begin : begin + _TURN], left)
            left -= sum(len(one) for one in turn if isinstance(one, bytes))
            found += turn
        if on_error != "return":
            for one in found:
                if isinstance(one, OSError):
                    raise one
        return found

    @one_call
    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: Literal["raise", "omit", "return"] = "raise",
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the content of a file; of several, and of all below directories, by their paths."""
        paths = await self._expand_path(path, recursive=recursive)
        found = dict(zip(paths, await self._cat_ranges(paths, None, None), strict=True))
        if recursive:
            found = {name: data for name, data in found.items() if not isinstance(data, IsADirectoryError)}
        failures = [data for data in found.values() if isinstance(data, OSError)]
        if failures and on_error == "raise":
            raise failures[0]
        if not isinstance(path, (list, tuple)) and list(found) == [self._strip_protocol(path)]:
            return found[paths[0]]
        return {name: data for name, data in found.items() if on_error != "omit" or isinstance(data, bytes)}

    async def _read(self, path: str, start: int, end: int) -> bytes:
        """Return a part of an open file, whose own `read` has bounded it."""
        return await self._run(operations.read, path, start, end, end - start)

    _fetch = blocking(_read)

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | str | None = None,
        cache_options: Mapping[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """Open a file, as Python's `open` does; in a transaction, what is written appears at its end."""
        path = self._strip_protocol(path)
        binary = mode if "b" in mode else mode.replace("t", "") + "b"
        of_text = {key: options.pop(key) for key in ("encoding", "errors", "newline") if key in options}
        file = opened = super().open(path, binary, block_size, cache_options, **options)
        if (compression := get_compression(path, compression)) is not None:
            opened = compr[compression](opened, mode=mode[0])
        if "b" not in mode:
            opened = io.TextIOWrapper(opened, **of_text)
        if opened is not file and not file.autocommit:
            file.outermost = opened
        return opened

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> BufferedGuestFile:
        path = self._strip_protocol(path)
        opened = self._begin(path, mode, autocommit)
        return BufferedGuestFile(
            self, path, mode, block_size, opened, autocommit=autocommit, cache_options=cache_options, **kwargs
        )

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> StreamedGuestFile:
        """Open a file whose reads and writes are awaited; its reads take what was asked for, no more."""
        path = self._strip_protocol(path)
        opened = await self._opened(path, mode)
        mode = "wb" if mode == "xb" else mode  # fsspec's class knows no "xb", and the file is made
        return StreamedGuestFile(self, path, mode, kwargs.pop("block_size", None), opened, **kwargs)

    async def _opened(self, path: str, mode: str, autocommit: bool = True) -> Entry | Place:
        if mode not in ("rb", "wb", "ab", "xb"):
            raise NotImplementedError(f'a file is opened with "rb", "wb", "ab" or "xb", not {mode!r}')
        if mode != "rb":
            return await self._change(operations.begin, path, mode, not autocommit, self.auto_mkdir)
        known = await self._info(path)
        check_regular(path, known["mode"])
        return known

    _begin = blocking(_opened)

    # ---- writing

    async def _change(self, function: Callable[..., T], *arguments: Any, changed: str | None = None) -> T:
        """Run an operation that changes a file; raise PermissionError if the disk is opened read-only.

        changed: which file that is; None: the one that is the first argument
        """
        if self.readonly:
            reason = "opened read-only; readonly=False and the disk's format permit to write"
            raise failure(errno.EROFS, arguments[0] if changed is None else changed, reason)
        try:
            return await self._run(function, *arguments)
        finally:
            self.invalidate_cache()  # of all: by symlinks, a directory has many names

    async def _pipe_file(
        self, path: str, value: ReadableBuffer, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        how = "x" if mode == "create" else "w"
        await self._change(operations.put, self._strip_protocol(path), value, how, self.auto_mkdir)

    async def _write(self, path: str, data: ReadableBuffer, offset: int) -> None:
        await self._change(operations.write, path, data, offset)

    _store = blocking(_write)

    async def _settled(self, place: Place, *, keep: bool) -> None:
        await self._change(operations.settle, place, keep, changed=place.final)

    _settle = blocking(_settled)

    async def _touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Create an empty file, or empty it; without truncate, set the time of one that is there."""
        await self._change(operations.touch, self._strip_protocol(path), truncate, self.auto_mkdir)

    touch = blocking(_touch)

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        await self._change(operations.mkdir, self._strip_protocol(path), create_parents)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        if exist_ok:
            await self._change(operations.makedirs, path)
        else:
            await self._change(operations.mkdir, path, True)

    async def _rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        await self._change(operations.rmdir, self._strip_protocol(path))

    rmdir = blocking(_rmdir)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        await self._change(operations.remove, self._strip_protocol(path), False)

    @one_call
    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Remove files; a whole directory by one call.

        maxdepth: how deep in a directory; one that holds more than that stays, with what is deeper
        """
        named = await self._expand_path(path, maxdepth=maxdepth)
        if not recursive or maxdepth is None:
            for one in named:
                await self._change(operations.remove, one, recursive)
            return
        links = [f"{one}/" for one in named if await self._is_link(one)]  # which are removed themselves
        for one in reversed(await self._expand_path(path, recursive=True, maxdepth=maxdepth)):
            if not one.startswith(tuple(links)):
                await self._rm_or_leave(one)

    async def _rm_or_leave(self, path: str) -> None:
        """Remove a file, or a directory if it is empty."""
        try:
            await self._rm_file(path)
        except IsADirectoryError:
            try:
                await self._rmdir(path)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise

    async def _mv_file(self, path1: str, path2: str) -> None:
        await self._move(path1, path2)

    @one_call
    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Move a file or a whole directory, or several of them into a directory."""
        path1, path2 = as_text(path1), as_text(path2)
        if isinstance(path1, str) and isinstance(path2, str) and not await self._is_pattern(path1):
            await self._move(path1, path2)
            return
        olds = await self._expand_path(path1)
        news = path2 if isinstance(path2, list) else [f"{path2.rstrip('/')}/"] * len(olds)
        for old, new in zip(olds, news, strict=True):
            await self._move(old, new)

    mv = blocking(_mv)

    async def _move(self, path1: str, path2: str) -> None:
        old, new, into = self._strip_protocol(path1), self._strip_protocol(path2), path2.endswith("/")
        await self._change(operations.move, old, new, into, self.auto_mkdir, changed=new)


name_options_of(GuestFileSystem.__init__, OpenDiskOptions(), INSPECTION)


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")


def _tell(error: OSError, on_error: OnError) -> None:
    if on_error == "raise":
        raise error
    if callable(on_error):
        on_error(error)
