"""What guestkit's filesystem and shell do with files in a guest: each function is one turn of the handle.

Names and links are the guest's. libguestfs resolves most paths in a chroot of the guest; for those actions
that do not, the path is resolved in the guest before. What the appliance answers by a process of its own
(`realpath`, `readlink`, `is_dir`, `is_symlink`) takes ten times as long as `statns`, so it is left alone.
"""

from __future__ import annotations

import errno
import posixpath
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from guestkit._file_errors import NOT_THERE, about, check_regular, failure, is_about_a_file
from guestkit.errors import Error
from guestkit.files import FileKind, GuestFile, kind_of, mode_of
from guestkit.guest import CHUNK
from guestkit.handle import Guestfs

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath

    from guestkit.generated.structs import StatNS

A = TypeVar("A")
T = TypeVar("T")

#: What fsspec calls the information about a file.
Entry = dict[str, Any]

#: The size of a directory for each of its names, at most; one that is larger is not read.
_NAME = 128

#: What fsspec calls the kinds of files; the others are "other".
_TYPES: dict[FileKind, str] = {"-": "file", "d": "directory", "l": "link"}

# ---- looking


def info(g: Guestfs, path: str) -> Entry:
    """Return what is known about a file; a symlink is followed, and its own target told too."""
    with about(path):
        seen = g.lstatns(path)
        if not stat.S_ISLNK(seen["st_mode"]):
            return _entry(path, seen)
        directory, name = posixpath.split(path)
        (target,) = g.readlinklist(directory, [name])
        return _entry(path, g.statns(path), target)


def status(g: Guestfs, path: str, follow: bool) -> StatNS:
    """Return the whole status of a file. follow: of the one that a symlink leads to."""
    with about(path):
        return g.statns(path) if follow else g.lstatns(path)


def target(g: Guestfs, path: str) -> str:
    """Return what a symlink says."""
    with about(path):
        if not stat.S_ISLNK(g.lstatns(path)["st_mode"]):
            raise failure(errno.EINVAL, path, "no symlink")
        directory, name = posixpath.split(path)
        return g.readlinklist(directory, [name])[0]


def check_there(g: Guestfs, path: str) -> None:
    """Raise OSError if there is no such name; a symlink that leads nowhere is one."""
    with about(path):
        g.lstatns(path)


def listing(g: Guestfs, path: str, most: int) -> list[Entry]:
    """Return what is in a directory, or the file itself. Symlinks in the directory are not followed.

    most: more entries raise OSError with EFBIG
    """
    with about(path):
        seen = g.statns(path)
    if not stat.S_ISDIR(seen["st_mode"]):
        return [info(g, path)]
    return _entries(g, path, seen["st_size"], most)


def tree(
    g: Guestfs,
    path: str,
    *,
    depth: int | None,
    prefix: str,
    most: int,
    failed: Callable[[OSError], object],
) -> dict[str, list[Entry]]:
    """Return the listings of a directory and of all below it. Symlinks are not followed.

    depth: how many levels; None: all
    prefix: what names in the first directory begin with
    most: more entries, all together, raise OSError with EFBIG
    failed: called for each directory below the first one that cannot be read
    """
    with about(path):
        seen = g.statns(path)
    top = _entries(g, path, seen["st_size"], most)
    found = {path: [entry for entry in top if posixpath.basename(entry["name"]).startswith(prefix)]}
    count = len(found[path])
    waiting = [(entry, 1) for entry in reversed(found[path]) if entry["type"] == "directory"]
    while waiting:
        directory, level = waiting.pop()
        if depth is not None and level >= depth:
            continue
        try:
            below = _entries(g, directory["name"], directory["size"], most - count)
        except OSError as error:
            if not is_about_a_file(error):
                raise
            failed(error)
            continue
        count += len(below)
        found[directory["name"]] = below
        waiting += [(entry, level + 1) for entry in reversed(below) if entry["type"] == "directory"]
    return found


def _entries(g: Guestfs, path: str, size: int, most: int) -> list[Entry]:
    too_many = failure(errno.EFBIG, path, "more files than the limit (max_entries)")
    if size > max(_NAME * most, CHUNK):
        raise too_many
    try:
        files = g.walk(path, max_depth=0, max_entries=most)
    except Error as error:
        if error.errno == errno.EFBIG:
            raise too_many from error
        with about(path):
            raise
    start = len(path.rstrip("/")) + 1
    # A corrupt filesystem may have names that are no names, and the host's paths are made from these.
    return [_listed(file) for file in files if "/" not in file.path[start:]]


def _entry(path: str, seen: StatNS, target: str | None = None) -> Entry:
    """Return the information about a file with this status. target: of the symlink that led there."""
    mode = seen["st_mode"]
    known: Entry = {
        "name": path,
        "size": seen["st_size"],
        "type": _TYPES.get(kind_of(mode), "other"),
        "mode": mode,
        "uid": seen["st_uid"],
        "gid": seen["st_gid"],
        "mtime": seen["st_mtime_sec"],
        "islink": target is not None,
    }
    if target is not None:
        known["destination"] = target
    return known


def _listed(file: GuestFile) -> Entry:
    """Return the same of a file in a listing, in which symlinks are not followed."""
    known: Entry = {
        "name": file.path,
        "size": file.size,
        "type": _TYPES.get(file.kind, "other"),
        "mode": mode_of(file),
        "uid": file.uid,
        "gid": file.gid,
        "mtime": file.mtime,
        "islink": file.kind == "l",
    }
    if known["islink"]:
        known["destination"] = file.target
    return known


# ---- reading


def read(g: Guestfs, path: str, start: int | None, end: int | None, most: int) -> bytes:
    """Return a part of a regular file, as a slice.

    most: a larger part raises OSError with EFBIG; it is what is left of max_bytes
    """
    return _read(g, path, status(g, path, True), slice(start, end), most)


def _read(g: Guestfs, path: str, seen: StatNS, wanted: slice, most: int) -> bytes:
    check_regular(path, seen["st_mode"])
    first, last, _ = wanted.indices(seen["st_size"])
    if last - first > most:
        raise failure(
            errno.EFBIG,
            path,
            f"{last - first} bytes are more than the {most} that max_bytes leaves to this call:"
            " read parts, or fewer files at once",
        )
    parts: list[memoryview] = []
    with about(path):
        while first < last:
            part = g.pread(path, min(CHUNK, last - first), first, memoryview=True)
            if not part:
                break
            parts.append(part)
            first += len(part)
    return b"".join(parts)


def part(g: Guestfs, path: str, start: int, size: int) -> tuple[StatNS, bytes]:
    """Return the status of a regular file and, of its content, that part as far as there is one.

    size: at most `CHUNK`
    """
    return _part(g, path, status(g, path, True), start, size)


def _part(g: Guestfs, path: str, seen: StatNS, start: int, size: int) -> tuple[StatNS, bytes]:
    check_regular(path, seen["st_mode"])
    size = min(size, seen["st_size"] - start)
    with about(path):
        return seen, g.pread(path, size, start) if size > 0 else b""


def read_each(g: Guestfs, wanted: Sequence[tuple[str, slice]], most: int) -> list[bytes | OSError]:
    """Return parts of many files, all together of at most that size, or why one cannot be read."""
    left = most

    def read_next(path: str, seen: StatNS, wanted: slice) -> bytes:
        nonlocal left
        data = _read(g, path, seen, wanted, left)
        left -= len(data)
        return data

    return _each(g, wanted, read_next)


def beginnings(g: Guestfs, wanted: Sequence[tuple[str, int]]) -> list[tuple[StatNS, bytes] | OSError]:
    """Return what `part` does of the beginning of many files, to that size, or why one cannot be read."""
    return _each(g, wanted, lambda path, seen, size: _part(g, path, seen, 0, size))


def _each(
    g: Guestfs, wanted: Sequence[tuple[str, A]], function: Callable[[str, StatNS, A], T]
) -> list[T | OSError]:
    """Return what the function makes of each file, its status and what is wanted of it, or why it cannot."""
    known = _statuses(g, [path for path, _ in wanted])
    found: list[T | OSError] = []
    for path, what in wanted:
        try:
            found.append(function(path, known.get(path) or status(g, path, True), what))
        except OSError as error:
            if isinstance(error, (Error, InterruptedError)):
                raise
            found.append(error)
    return found


def _statuses(g: Guestfs, paths: Iterable[str]) -> dict[str, StatNS]:
    """Return what is known of files after one call for each directory.

    Missing are those of which it tells too little: symlinks, files that are not there, and all that are alone
    in their directory.
    """
    names: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        directory, name = posixpath.split(path)
        names.setdefault(directory, []).append(name)
    known: dict[str, StatNS] = {}
    for directory, several in names.items():
        if len(several) == 1:
            continue
        try:
            with about(directory):
                found = g.lstatnslist(directory, several)
        except OSError as error:  # what is wrong is told of each file
            if not is_about_a_file(error):
                raise
            continue
        for name, seen in zip(several, found, strict=True):
            if seen["st_ino"] != -1 and not stat.S_ISLNK(seen["st_mode"]):
                known[posixpath.join(directory, name)] = seen
    return known


def save_whole(g: Guestfs, path: str, size: int, target: StrOrBytesPath) -> None:
    """Copy a regular file of at most `CHUNK` to the host."""
    with open(target, "wb") as file:
        if size:
            save(g, path, 0, file, False)


def save(g: Guestfs, path: str, offset: int, file: BinaryIO, holes: bool) -> int:
    """Copy the next part of a regular file into a file on the host; return its size, 0 at the end.

    holes: leave a hole for a part of zeros; the caller sets the file's size in the end
    """
    with about(path):
        part = g.pread(path, CHUNK, offset, memoryview=True)
    if holes and part == bytes(len(part)):
        file.seek(len(part), 1)
    else:
        file.write(part)
    return len(part)


# ---- writing


@dataclass(frozen=True, slots=True)
class Place:
    """Where an open file is written.

    Attributes:
        path: the file
        offset: where in it
        final: whose place it takes in the end; "": it is that file itself
    """

    path: str
    offset: int
    final: str = ""


def begin(g: Guestfs, path: str, mode: str, aside: bool, parents: bool) -> Place:
    """Create a file, empty it, or find its end, as `mode` says: with "w", "x" or "a".

    aside: write another file, which `settle` puts in its place
    """
    with about(path):
        size = _look(g, path, exclusive="x" in mode, parents=parents)
        offset = size if size is not None and "a" in mode else 0
        if aside:
            final = path if size is None else _resolved(g, path)
            path = _aside(final)
            with _or_removed(g, path):
                if offset:
                    _copy(g, final, path, offset)
                else:
                    g.write(path, b"")
            return Place(path, offset, final)
        if not offset:
            g.write(path, b"")
        return Place(path, offset)


def settle(g: Guestfs, place: Place, keep: bool) -> None:
    """Put the file in its place, with owner, permissions and labels of what was there; or remove it."""
    with about(place.final):
        if not keep:
            return g.rm(place.path)
        with _or_removed(g, place.path):
            old = _seen(g.statns, place.final)
            if old is not None:
                g.chown(old["st_uid"], old["st_gid"], place.path)  # first: it takes setuid and setgid away
                g.chmod(stat.S_IMODE(old["st_mode"]), place.path)
                try:
                    g.copy_attributes(place.final, place.path, xattributes=True)
                except Error as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):  # a filesystem without labels
                        raise
            return g.rename(place.path, place.final)


def _aside(path: str) -> str:
    """Return an unused name in the same directory."""
    return posixpath.join(posixpath.dirname(path), f".guestkit-{secrets.token_hex(8)}")


@contextmanager
def replacement(g: Guestfs, path: str) -> Iterator[str]:
    """Yield the name under which to make what takes the place of that file in the end.

    If something fails, the file stays as it was, and what was made is removed.
    path: in a directory whose path has no symlinks
    """
    made = _aside(path)
    with _or_removed(g, made):
        yield made
        g.rename(made, path)


@contextmanager
def _or_removed(g: Guestfs, made: str) -> Iterator[None]:
    """Remove what was made if something fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError, Error):
            _remove_tree(g, made)
        raise


def write(g: Guestfs, path: str, data: ReadableBuffer, offset: int) -> None:
    """Write into a file that is there."""
    rest = memoryview(data).cast("B")
    with about(path):
        if rest:  # the name may meanwhile be another file's
            check_regular(path, g.statns(path)["st_mode"])
        while rest:
            written = g.pwrite(path, rest[:CHUNK], offset)
            if not written:
                raise failure(errno.EIO, path)
            rest = rest[written:]
            offset += written


def put(g: Guestfs, path: str, data: ReadableBuffer, mode: str, parents: bool) -> None:
    """Make the data the content of a file: two calls for a small one."""
    whole = memoryview(data).cast("B")
    with about(path):
        _look(g, path, exclusive="x" in mode, parents=parents)
        g.write(path, whole[:CHUNK])
    write(g, path, whole[CHUNK:], CHUNK)


def append(g: Guestfs, path: str, data: ReadableBuffer) -> None:
    """Write at the end of a file that is there."""
    with about(path):
        end = g.statns(path)["st_size"]
    write(g, path, data, end)


def touch(g: Guestfs, path: str, truncate: bool, parents: bool) -> None:
    """Create an empty file, or empty it, or only set its time."""
    with about(path):
        size = _look(g, path, exclusive=False, parents=parents)
        if truncate or size is None:
            g.write(path, b"")
        else:
            g.touch(_resolved(g, path))  # which refuses a symlink


def mkdir(g: Guestfs, path: str, parents: bool) -> None:
    """Make a directory. parents: and those above it that are missing."""
    with about(path):
        if parents:
            _make_directories(g, posixpath.dirname(path))
        g.mkdir(path)


def makedirs(g: Guestfs, path: str) -> None:
    """Make a directory and all above it, as far as they are missing."""
    with about(path):
        seen = _seen(g.statns, path)
        if seen is not None and not stat.S_ISDIR(seen["st_mode"]):
            raise failure(errno.EEXIST, path)
        _make_directories(g, path)


def _make_directories(g: Guestfs, path: str) -> None:
    try:
        g.mkdir_p(path)
    except Error as error:
        if error.errno:
            raise
        raise failure(errno.ENOTDIR, path) from error  # the one failure that libguestfs finds by itself


def rmdir(g: Guestfs, path: str) -> None:
    """Remove an empty directory."""
    with about(path):
        g.rmdir(path)


def remove(g: Guestfs, path: str, recursive: bool) -> None:
    """Remove a file, or a symlink itself. recursive: or a directory with all that is in it."""
    with about(path):
        if not stat.S_ISDIR(g.lstatns(path)["st_mode"]):
            g.rm(path)
        elif not recursive:
            raise failure(errno.EISDIR, path, "a directory, which only recursive=True removes")
        else:
            _remove_tree(g, path)


def copy(g: Guestfs, old: str, new: str, parents: bool) -> None:
    """Copy the content of a file to another one in the guest, or make a directory as the first one is."""
    with about(old):
        seen = g.statns(old)
        if stat.S_ISDIR(seen["st_mode"]):
            return makedirs(g, new)
        check_regular(old, seen["st_mode"])
    with about(new):
        if _look(g, new, exclusive=False, parents=parents) is not None and _same(seen, g.statns(new)):
            raise failure(errno.EINVAL, new, "the same file as the one that is to be copied")
        _copy(g, old, new, seen["st_size"])
    return None


def copy_tree(g: Guestfs, old: str, new: str) -> None:
    """Copy a directory with all that is in it, or another file, with owners, permissions and times.

    new: its new name, which is not there yet
    """
    with about(new):
        if _seen(g.lstatns, new) is not None:
            raise failure(errno.EEXIST, new)
        new = _beside_links(g, new)
    with about(old):
        old = _beside_links(g, old)
        if new.startswith(f"{old.rstrip('/')}/"):
            raise failure(errno.EINVAL, old, "a directory is not copied into itself")
        g.cp_a(old, new)


def link(g: Guestfs, target: str, name: str, *, symbolic: bool, replace: bool) -> None:
    """Make a link, which is a name of the same file.

    symbolic: or a symlink with that text as its target, which need not be there
    replace: take the place of the file that has the name, unless it is the target itself
    """
    if not symbolic:
        with about(target):
            target = _beside_links(g, target)
            if stat.S_ISDIR(g.lstatns(target)["st_mode"]):
                raise failure(errno.EPERM, target, "a directory has one name; a symlink can lead to it")
    with about(name):
        there = _seen(g.lstatns, name)
        if there is not None and (not replace or stat.S_ISDIR(there["st_mode"])):
            raise failure(errno.EEXIST, name)
        name = _beside_links(g, name)
        make = g.ln_s if symbolic else g.ln
        if there is None:
            return make(target, name)
        to = posixpath.join(posixpath.dirname(name), target)
        if any(_same(there, seen) for seen in (_seen(g.lstatns, to), _seen(g.statns, to))):
            raise failure(errno.EINVAL, name, "the same file as the one that is to be linked")
        with replacement(g, name) as made:
            return make(target, made)


def _copy(g: Guestfs, old: str, new: str, size: int) -> None:
    """Copy a regular file. The other one is not a directory, a FIFO or a device."""
    if size <= CHUNK:
        g.write(new, g.pread(old, size, 0) if size else b"")
        return
    g.write(new, b"")  # creates it where a symlink leads to, in the guest
    g.copy_file_to_file(_resolved(g, old), _resolved(g, new))


def move(g: Guestfs, old: str, new: str, into: bool, parents: bool) -> None:
    """Rename a file or a directory, if need be from one filesystem of the guest to another one.

    into: new is a directory
    """
    with about(old):
        g.lstatns(old)
    with about(new):
        if into or is_directory(g, new):
            new = posixpath.join(new, posixpath.basename(old))
    if new == old:
        return
    with about(new):
        if parents:
            _make_directories(g, posixpath.dirname(new))
        _rename(g, old, new)


def rename(g: Guestfs, old: str, new: str, replace: bool) -> None:
    """Rename a file or a directory to exactly that name. replace: as rename(2) replaces what is there."""
    with about(old):
        g.lstatns(old)
    with about(new):
        if not replace and _seen(g.lstatns, new) is not None:
            raise failure(errno.EEXIST, new)
        _rename(g, old, new)


def _rename(g: Guestfs, old: str, new: str) -> None:
    try:
        g.rename(old, new)
    except Error as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(g, old, new)


def symlink(g: Guestfs, path: str, target: str) -> None:
    """Make a symlink; its target may be any text."""
    with about(path):
        if _seen(g.lstatns, path) is not None:
            raise failure(errno.EEXIST, path)
        g.ln_s(target, _beside_links(g, path))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to change of a file; None: stays as it is.

    Attributes:
        size: in bytes
        permissions: as in chmod(2)
        owner: user and group
        times: of the last access and the last change, in seconds since 1970
    """

    size: int | None = None
    permissions: int | None = None
    owner: tuple[int, int] | None = None
    times: tuple[int, int] | None = None


def change(g: Guestfs, path: str, wanted: Attributes) -> None:
    """Change the attributes of a file; a symlink is followed in the guest."""
    with about(path):
        mode = g.statns(path)["st_mode"]
        if not stat.S_ISDIR(mode) or wanted.size is not None:
            check_regular(path, mode)
        if wanted.size is not None:
            g.truncate_size(path, wanted.size)
        if wanted.owner is not None:  # before the permissions: it takes setuid and setgid away
            g.chown(*wanted.owner, path)
        if wanted.permissions is not None:
            g.chmod(wanted.permissions, path)
        if wanted.times is not None:
            accessed, changed = wanted.times
            g.utimens(path, accessed, 0, changed, 0)


def _move_across(g: Guestfs, old: str, new: str) -> None:
    old, new = _beside_links(g, old), _beside_links(g, new)
    there = _seen(g.lstatns, new)
    if there is not None:  # rename(2) would refuse it too, but only after the copy
        for_directory = stat.S_ISDIR(there["st_mode"])
        if for_directory != stat.S_ISDIR(g.lstatns(old)["st_mode"]):
            raise failure(errno.EISDIR if for_directory else errno.ENOTDIR, new)
    with replacement(g, new) as made:
        g.cp_a(old, made)
    _remove_tree(g, old)


def _remove_tree(g: Guestfs, path: str) -> None:
    if path == "/":
        raise failure(errno.EPERM, path, "the root of the guest is not removed")
    g.rm_rf(_beside_links(g, path))


def _beside_links(g: Guestfs, path: str) -> str:
    """Return the path with its directory resolved: `rm_rf` and `cp_a` would follow links out of the guest."""
    directory, name = posixpath.split(path)
    return posixpath.join(_resolved(g, directory), name)


def _resolved(g: Guestfs, path: str) -> str:
    """Return the path without symlinks: `realpath`, but faster where there are none."""
    part = path
    while part != "/":
        if stat.S_ISLNK(g.lstatns(part)["st_mode"]):
            return g.realpath(path)
        part = posixpath.dirname(part)
    return path


def _same(one: StatNS | None, other: StatNS | None) -> bool:
    """Return whether both are there, and the same file."""
    if one is None or other is None:
        return False
    return (one["st_dev"], one["st_ino"]) == (other["st_dev"], other["st_ino"])


def _seen(call: Callable[[str], StatNS], path: str) -> StatNS | None:
    """Return what statns or lstatns says, None if there is no such file."""
    try:
        return call(path)
    except Error as error:
        if error.errno not in NOT_THERE:
            raise
        return None


def names(g: Guestfs, path: str) -> int:
    """Return how many names a file has, 0 if there is none."""
    seen = _seen(g.statns, path)
    return 0 if seen is None else seen["st_nlink"]


def is_directory(g: Guestfs, path: str) -> bool:
    """Return whether the path is, or leads to, a directory."""
    seen = _seen(g.statns, path)
    return seen is not None and stat.S_ISDIR(seen["st_mode"])


def _look(g: Guestfs, path: str, *, exclusive: bool, parents: bool) -> int | None:
    """Return the size of the file that is to be written, None if there is none yet; raise OSError.

    exclusive: raise FileExistsError for any that is there
    parents: make the directories above it
    """
    seen = _seen(g.statns, path)
    if exclusive and (seen or _seen(g.lstatns, path)):
        raise failure(errno.EEXIST, path)
    if seen is None:
        if parents:
            _make_directories(g, posixpath.dirname(path))
        return None
    check_regular(path, seen["st_mode"])
    return seen["st_size"]
