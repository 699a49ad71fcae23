"""Copies of files, within the guest and between it and this host, one file after the other.

fsspec's own begin many at once. A handle takes its calls in turn, so that would only fill the memory with
what waits, and would go on after a cancel.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from glob import has_magic
from typing import TYPE_CHECKING, Any

from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.callbacks import DEFAULT_CALLBACK, Callback  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem, make_path_posix  # type: ignore[import-untyped]
from fsspec.utils import check_contained, isfilelike, other_paths, stringify_path  # type: ignore[import-untyped]

from guestkit import _operations as operations
from guestkit._file_errors import check_regular, failure
from guestkit._operations import Entry
from guestkit.files import CHUNK
from guestkit.fs.calls import copy_of, one_call

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_log = logging.getLogger("guestkit")

_LINK = "a symlink to a directory"


class Copies(AsyncFileSystem):  # type: ignore[misc]
    """What `GuestFileSystem` copies.

    What a directory or a pattern holds, but cannot be copied, costs only that part: a warning tells of it.
    What the caller has named is an error.
    """

    @one_call
    async def _copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        on_error: str | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files within the guest. Below a directory, a symlink is made anew, as by cp -r.

        on_error: "ignore": leave out what is no longer there, as recursive copies do unless told otherwise
        """
        path1, path2 = self._named(path1), self._named(path2)
        plan = await _planned(self, path1, self, path2, recursive, maxdepth)
        ignored = on_error == "ignore" or (on_error is None and recursive)

        async def copy(old: str, new: str, callback: Callback) -> None:
            new = self._strip_protocol(new)
            below = old in plan.below
            try:
                await self._change(operations.copy, old, new, self.auto_mkdir, below, changed=new)
            except OSError as error:
                is_gone = ignored and error.errno == errno.ENOENT
                is_special = old not in plan.named and error.errno == errno.EINVAL and old != new
                if error.filename != old or not (is_gone or is_special):
                    raise
                _leave_out(old, error)

        await _each(plan, copy)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, and a directory as an empty one."""
        old, new = self._strip_protocol(path1), self._strip_protocol(path2)
        await self._change(operations.copy, old, new, self.auto_mkdir, changed=new)

    # ---- to this host

    @one_call
    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files to the host. Below a directory, what is no file and leads to none is left out."""
        rpath, lpath = self._named(rpath), _of_host(lpath)
        plan = await _planned(self, rpath, _HOST, lpath, recursive, maxdepth)
        news = [new for _, new in plan.pairs]
        if isinstance(lpath, str):
            check_contained(lpath, news)
        await asyncio.to_thread(_make_directories_of, news)
        budget = _Budget(self.max_get)

        async def copy(old: str, new: str, callback: Callback) -> None:
            try:
                known = await self._info(old)
                self._check_copied(old, known, plan)
            except OSError as error:
                if old in plan.named or isinstance(error, (TimeoutError, InterruptedError)):
                    raise
                _leave_out(old, error)
            else:
                await self._copy_out(old, known, new, callback, budget)

        await _each(plan, copy, callback)

    @one_call
    async def _get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        """Copy a file, and a directory as an empty one.

        outfile: an open file to copy to, as lpath may be
        """
        rpath = self._strip_protocol(rpath)
        known = await self._info(rpath)
        if known["type"] != "directory":
            check_regular(rpath, known["mode"])
        target = lpath if outfile is None else outfile
        await self._copy_out(rpath, known, target, callback, _Budget(self.max_get))

    def _check_copied(self, path: str, known: Entry, plan: _Plan) -> None:
        if known["type"] != "directory":
            check_regular(path, known["mode"])
            if path not in plan.named and known["size"] > self.max_get:  # a sparse file claims any size
                raise failure(errno.EFBIG, path, f"{known['size']} bytes are more than max_get permits")
        elif path in plan.below and known["islink"]:
            raise failure(errno.EISDIR, path, _LINK)

    async def _copy_out(
        self, path: str, known: Entry, target: Any, callback: Callback, budget: _Budget
    ) -> None:
        if known["type"] == "directory":
            await asyncio.to_thread(os.makedirs, target, exist_ok=True)
            return
        size = known["size"]
        budget.take(path, size)
        callback.set_size(size)
        if isfilelike(target):
            await self._save(path, size, target, False, callback)
        elif size <= CHUNK:
            await self._run(operations.save_whole, path, size, target)
            callback.relative_update(size)
        else:
            with await asyncio.to_thread(open, target, "wb", opener=operations.at_once) as file:
                await self._save(path, size, file, file.seekable(), callback)

    async def _save(self, path: str, size: int, file: Any, holes: bool, callback: Callback) -> None:
        offset = 0
        with copy_of(path):
            while offset < size and (count := await self._run(operations.save, path, offset, file, holes)):
                offset += count
                callback.relative_update(count)
        if holes:
            file.truncate(offset)

    # ---- from this host

    @one_call
    async def _put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files from the host. Below a directory, what is no file and leads to none is left out."""
        lpath, rpath = _of_host(lpath), self._named(rpath)
        plan = await _planned(_HOST, lpath, self, rpath, recursive, maxdepth)

        async def copy(old: str, new: str, callback: Callback) -> None:
            if old not in plan.named:
                try:
                    await asyncio.to_thread(_check_found, old, plan)
                except OSError as error:
                    _leave_out(old, error)
                    return
            await self._put_file(old, new, callback=callback, **kwargs)

        await _each(plan, copy, callback)

    @one_call
    async def _put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        rpath = self._strip_protocol(rpath)
        seen = await asyncio.to_thread(os.stat, lpath)
        if stat.S_ISDIR(seen.st_mode):
            await self._makedirs(rpath, exist_ok=True)
            return
        check_regular(lpath, seen.st_mode)
        how = "x" if mode == "create" else "w"
        with await asyncio.to_thread(open, lpath, "rb", opener=operations.at_once) as file:
            seen = os.fstat(file.fileno())
            check_regular(lpath, seen.st_mode)  # it may have become a FIFO
            permissions = seen.st_mode & operations.COPIED_MODE  # a copy of a secret is one, too
            callback.set_size(seen.st_size)
            data = await asyncio.to_thread(file.read, CHUNK)
            await self._change(operations.put, rpath, data, how, self.auto_mkdir, permissions)
            offset = len(data)
            callback.relative_update(offset)
            while len(data) == CHUNK and (data := await asyncio.to_thread(file.read, CHUNK)):
                with copy_of(rpath):
                    await self._write(rpath, data, offset)
                offset += len(data)
                callback.relative_update(len(data))

    @one_call
    async def _pipe(
        self,
        path: Any,
        value: ReadableBuffer | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Write files: one, or a mapping of several with what they are to contain."""
        for one, content in (path if isinstance(path, Mapping) else {path: value}).items():
            await self._pipe_file(one, content, **kwargs)

    def _named(self, path: Any) -> str | list[str]:
        """Return a path of the guest, or a list of some. A slash at the end of a single one is kept."""
        text = as_text(path)
        named: str | list[str] = self._strip_protocol(text)
        return f"{named}/" if isinstance(named, str) and named != "/" and text.endswith("/") else named


class _Host:
    """The files of this host, by the methods by which `_planned` asks for those of a guest."""

    async def _expand_path(
        self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> list[str]:
        is_pattern = isinstance(path, str) and await self._is_pattern(path)
        several = [path] if isinstance(path, str) else path
        expand = LocalFileSystem().expand_path
        found: list[str] = await asyncio.to_thread(
            expand, several, recursive, maxdepth, assume_literal=not is_pattern
        )
        return found

    async def _isdir(self, path: str) -> bool:
        return await asyncio.to_thread(os.path.isdir, path)

    async def _is_pattern(self, path: str) -> bool:
        return has_magic(path) and not await asyncio.to_thread(os.path.lexists, path)


_HOST = _Host()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is copied.

    Attributes:
        pairs: the files, each with the name of its copy
        named: which of them the caller has named
        below: which were found in directories
    """

    pairs: list[tuple[str, str]]
    named: set[str]
    below: set[str]


async def _planned(
    source: Copies | _Host,
    given: str | list[str],
    target: Copies | _Host,
    into: str | list[str],
    recursive: bool,
    maxdepth: int | None,
) -> _Plan:
    """Return what is copied by the rules of fsspec."""
    if isinstance(given, list) and isinstance(into, list):
        return _Plan(list(zip(given, into, strict=True)), set(given), set())
    found: list[str] = await source._expand_path(given, recursive=recursive, maxdepth=maxdepth)
    matched = set(await source._expand_path(given)) if recursive else set(found)
    below = set(found) - matched
    is_single = isinstance(given, str)
    is_pattern = isinstance(given, str) and await source._is_pattern(given)
    if is_single and (not recursive or maxdepth is not None):
        found = [path for path in found if not await source._isdir(path)]
    if not found:
        return _Plan([], set(), set())
    inside = False  # whether the copy comes into a directory that is there, and does not get its name
    if is_pattern:
        inside = len(found) == 1
    elif isinstance(given, str) and isinstance(into, str) and not given.endswith("/"):
        inside = into.endswith("/") or await target._isdir(into)
    names = other_paths(found, into, exists=inside, flatten=not is_single)
    return _Plan(list(zip(found, names, strict=True)), set() if is_pattern else matched, below)


async def _each(
    plan: _Plan,
    copy: Callable[[str, str, Callback], Awaitable[None]],
    callback: Callback = DEFAULT_CALLBACK,
) -> None:
    """Copy one file after the other, and tell the progress."""
    callback.set_size(len(plan.pairs))
    for old, new in plan.pairs:
        with callback.branched(old, new) as child:
            await copy(old, new, child)
        callback.relative_update()


class _Budget:
    """How many bytes one `get` may still copy."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, path: str, size: int) -> None:
        if size > self._left:
            raise failure(
                errno.EFBIG,
                path,
                f"{size} bytes are more than the {self._left} that max_get leaves to this call: raise it, or"
                " copy fewer files at once",
            )
        self._left -= size


def as_text(path: Any) -> Any:
    """Return a path, or each of several, as fsspec takes it: its own methods know no bytes."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return os.fsdecode(stringify_path(path))
    return [as_text(one) for one in path]


def _of_host(path: Any) -> str | list[str]:
    """Return a path of this host in full, or each of several."""
    found: str | list[str] = make_path_posix(as_text(path))
    return found


def _make_directories_of(paths: Iterable[str]) -> None:
    for directory in dict.fromkeys(map(os.path.dirname, paths)):
        os.makedirs(directory, exist_ok=True)


def _check_found(path: str, plan: _Plan) -> None:
    """Raise OSError if a file of this host, which nobody has named, is not copied."""
    seen = os.stat(path)
    if not stat.S_ISDIR(seen.st_mode):
        check_regular(path, seen.st_mode)  # to open a FIFO might never end
    elif path in plan.below and os.path.islink(path):
        raise failure(errno.EISDIR, path, _LINK)


def _leave_out(path: str, error: OSError) -> None:
    _log.warning("%r: not copied: %s", path, error.strerror)
