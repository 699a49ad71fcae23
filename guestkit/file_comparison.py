"""Compare the files of two guests.

    for change in diff_guests("before.qcow2", "after.qcow2", glob="/etc/*", text=True).changes:
        print(*map(printable, [change.name, change.field, *change.text]))

Contents are compared by their SHA-256, which the appliance computes. All names, targets and texts come from
the guests: treat them as hostile.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import posixpath
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from typing import Unpack

from guestkit._operations.paths import resolved
from guestkit._text import at_most
from guestkit._walk import told, walk
from guestkit.comparison import Change, Comparison
from guestkit.disks import Guest, names_of
from guestkit.errors import Error, is_final
from guestkit.files import GuestFile, word_for
from guestkit.guest import GuestArguments, launched
from guestkit.handle import Guestfs, check_blocking
from guestkit.handle_options import INSPECTION, HandleOptions, name_options_of, options_from
from guestkit.inspection import Key, checked_keys
from guestkit.opening import GuestKeywords, OpenDiskOptions, OpeningKeywords, opening_from, parted

__all__ = ["diff_files", "diff_guests"]

#: Larger files of the same size are not read, in bytes: a sparse file can claim any size.
LARGEST_FILE = 4 << 30
#: How much is read of each guest, in bytes.
MOST_READ = 64 << 30
#: How much is read in vain, as of directories in which one file cannot be read, in bytes.
MOST_IN_VAIN = 2 * MOST_READ
#: How many files are read one by one, where a whole directory cannot be.
MOST_ALONE = 10_000

#: The largest file that is compared line by line, and how much is read of each guest for that, in bytes.
LARGEST_TEXT = 1 << 20
MOST_TEXT = 32 << 20
#: How many lines there may be from the first that differs to the last: difflib's time grows with their cube.
MOST_LINES = 1000
#: How many pairs of lines are compared in all files, that many before and that many after: a guest may choose
#: lines for which difflib takes longest, about ten seconds for a million pairs.
MOST_PAIRS = 10_000_000
_CONTEXT = 3

#: What the two guests are called.
_SIDES = ("first", "second")

#: Files by their paths.
Files = Mapping[str, GuestFile]


def diff_files(a: Guestfs, b: Guestfs, *, glob: str = "*", text: bool = False) -> Comparison:
    """Return how the files of b differ from those of a: in type, mode, owner, size, target or content.

    Both handles are launched and have the guest's filesystems mounted, as by `open_guest`. No symlink is
    followed, and times are not compared. A content is read only where the sizes are the same: where they are
    not, that is the difference. What is not read, as it fails or is beyond 4 GiB a file or 64 GiB a guest, is
    in `unknown`, which names a hundred files for a reason, and tells the number of the others; so is a glob
    that no file matches. What lies below a directory that cannot be read in one of
    the two is compared in neither.

    glob: of the paths to compare, such as "/etc/*.conf"; * and ? stand for / as well
    text: tell the lines that differ, of files of UTF-8 up to 1 MiB, up to 1000 lines each; those of files for
        which comparing them would take too long, all together, are in `unknown`

    Raises Error, such as EFBIG where there are more than a million files.
    """
    for g in (a, b):
        check_blocking("diff_files", g)
    chosen = re.compile(fnmatch.translate(glob))
    all_files, unread = zip(*(_below(g, _base(glob)) for g in (a, b)), strict=True)
    hidden = {*unread[0], *unread[1]}
    before, after = (
        {path: file for path, file in _not_below(each, hidden).items() if chosen.match(path)}
        for each in all_files
    )
    alike = [path for path in before if path in after and _may_be_the_same(before[path], after[path])]
    unknown = [
        f"{side}: {sentence}" for side, paths in zip(_SIDES, unread, strict=True) for sentence in told(paths)
    ]
    if glob != "*" and not (before or after):  # mistyped, it would look like no difference
        unknown.append(f"no file of either guest matches {glob!r}: it is of whole paths, which begin with /")
    wanted = _readable(alike, before, unknown)
    mine, others = (
        _Reader(g, files, hidden, side, unknown).digests(_base(glob), wanted)
        for g, files, hidden, side in zip((a, b), all_files, unread, _SIDES, strict=True)
    )
    changes = [
        change
        for path in sorted({*before, *after})
        for change in _changes(
            path, before.get(path), after.get(path), mine.get(path, ""), others.get(path, "")
        )
    ]
    if text:
        changes = list(_with_texts(changes, (a, b), (before, after), unknown))
    return Comparison(changes=tuple(changes), unknown=tuple(unknown))


def diff_guests(
    a: Guest,
    b: Guest,
    options: HandleOptions | None = None,
    *,
    glob: str = "*",
    text: bool = False,
    root: str | None = None,
    mounts: Mapping[str, str] | None = None,
    keys: Iterable[Key] = (),
    before: OpeningKeywords | None = None,
    step: Callable[[str], object] | None = None,
    **keywords: Unpack[GuestKeywords],
) -> Comparison:
    """Return how the files of guest b differ from those of a, as `diff_files`, whose errors it raises, too.

    Both run at once, each in an appliance of its own, and are only read. A filesystem that is in a guest's
    fstab and cannot be mounted is in `unknown`. Raises Error if a guest cannot be opened, launched or
    mounted, as `open_guest` does.

    glob, text: as in `diff_files`
    root, mounts, keys: as in `mount_guest`, for both
    options, format, backing, protocols, snapshot, in_use, blocksize, unpack: as in `open_guest`, for both
    before: what is another for the disks of a, such as {"snapshot": "before"} or {"format": "raw"}
    step: called with what is being done
    """
    of_disks, of_handle = parted(keywords)
    openings = (
        opening_from("diff_guests", OpeningKeywords(**{**of_disks, **(before or {})})),
        opening_from("diff_guests", of_disks),
    )
    handle = options_from(options, of_handle, INSPECTION, "diff_guests")
    known = checked_keys(keys)
    guests: list[Guestfs] = []
    unknown: list[str] = []
    with ExitStack() as stack:
        for side, disk, opening in zip(_SIDES, (a, b), openings, strict=True):
            tell = _named_step(names_of(disk)[0], step)
            asked = GuestArguments(
                guest=disk, root=root, mounts=mounts, keys=known, opening=opening, handle=handle, step=tell
            )
            g = stack.enter_context(launched(asked))
            mounted = asked.mount(g)
            guests.append(g)
            unknown += (f"{side}: {failure.part}: {failure.message}" for failure in mounted.failures)
        if step is not None:
            step("comparing")
        compared = diff_files(*guests, glob=glob, text=text)
    return replace(compared, unknown=(*unknown, *compared.unknown))


name_options_of(diff_guests, OpenDiskOptions(), INSPECTION, without=("readonly",))


def _named_step(name: str, step: Callable[[str], object] | None) -> Callable[[str], object] | None:
    return None if step is None else lambda text: step(f"{name}: {text}")


def _base(glob: str) -> str:
    """Return the directory beneath which all paths lie that match."""
    literal = re.split(r"[*?[]", glob, maxsplit=1)[0]
    return posixpath.dirname(literal) if literal.startswith("/") else "/"


def _below(g: Guestfs, directory: str) -> tuple[Files, Mapping[str, str]]:
    """Return the files, and why directories among them were not looked into."""
    if not g.is_dir(directory):
        return {}, {}
    files, unread = walk(g, directory)
    return {file.path: file for file in files}, unread


def _not_below(files: Files, hidden: set[str]) -> Files:
    """Return the files that are in none of the hidden directories; those that are in one are hidden, too."""
    found = {}
    for path, file in files.items():  # a directory comes before its entries
        if posixpath.dirname(path) in hidden:
            hidden.add(path)
        else:
            found[path] = file
    return found


# ---- what lstat tells


def _changes(
    path: str, before: GuestFile | None, after: GuestFile | None, digest: str, other_digest: str
) -> Iterator[Change]:
    if before is None or after is None:
        yield Change(part="files", name=path, before=_summary(before), after=_summary(after))
        return
    mine, other = _facts(before), _facts(after)
    if digest and other_digest:
        mine["content"], other["content"] = digest, other_digest
    for field, value in mine.items():
        if value != other.get(field, ""):
            yield Change(part="files", name=path, field=field, before=value, after=other.get(field, ""))
        if before.kind != after.kind:  # the other facts are of another sort
            return


def _facts(file: GuestFile) -> dict[str, str]:
    facts = {
        "type": word_for(file.kind),
        "mode": f"{file.mode:04o}",
        "owner": f"{file.uid}:{file.gid}",
    }
    if file.kind == "-":
        facts["size"] = str(file.size)
    if file.kind == "l":
        facts["target"] = file.target
    return facts


def _summary(file: GuestFile | None) -> str | None:
    return None if file is None else ", ".join(_facts(file).values())


# ---- contents


def _may_be_the_same(before: GuestFile, after: GuestFile) -> bool:
    """Return whether only the contents can tell."""
    return before.kind == after.kind == "-" and before.size == after.size > 0


def _readable(paths: Sequence[str], files: Files, unknown: list[str]) -> set[str]:
    """Return the paths whose contents are compared; say which are not."""
    left = MOST_READ
    wanted = set()
    too_large: list[str] = []
    for path in paths:
        size = files[path].size
        if size > min(LARGEST_FILE, left):
            too_large.append(path)
        else:
            wanted.add(path)
            left -= size
    unknown += at_most(
        (f"{path}: its content, {files[path].size} bytes, is too large to be read" for path in too_large),
        lambda more: f"the contents of {more} more files are too large to be read",
    )
    return wanted


class _Reader:
    """Has a guest's appliance compute checksums: by few calls, for each one costs as much as a small file."""

    def __init__(
        self, g: Guestfs, files: Files, unread: Iterable[str], side: str, unknown: list[str]
    ) -> None:
        """unread: the directories whose files are not known"""
        self._g = g
        self._files = files
        #: The directories that cannot be read as a whole: nobody knows how much is in there.
        self._boundless = set(unread)
        self._side = side
        self._unknown = unknown
        self._failed: dict[str, str] = {}
        self._base = self._place = ""
        self._alone = 0
        self._left = MOST_READ + MOST_IN_VAIN

    def digests(self, base: str, wanted: Set[str]) -> dict[str, str]:
        """Return the SHA-256 of the wanted files by path; say which cannot be read."""
        if not wanted:  # and there may be no such directory
            return {}
        # `checksums_out` would follow a symlink on the way to files of the appliance.
        self._base, self._place = base.rstrip("/"), resolved(self._g, base).rstrip("/")
        sizes: Counter[str] = Counter()  # of all files below each directory, and of those that are wanted
        wanted_sizes: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        inside: defaultdict[str, list[str]] = defaultdict(list)
        for path, file in reversed(tuple(self._files.items())):  # each directory after what is in it
            above = posixpath.dirname(path)
            inside[above].append(path)
            if file.kind == "-":
                sizes[path] = file.size
            if path in wanted:
                wanted_sizes[path], counts[path] = file.size, 1
            for totals in (sizes, wanted_sizes, counts):
                totals[above] += totals[path]
            if path in self._boundless:
                self._boundless.add(above)
        found: dict[str, str] = {}
        waiting = [base]
        while waiting:
            directory = waiting.pop()
            pays = counts[directory] > 4 and sizes[directory] <= 2 * wanted_sizes[directory] + (16 << 20)
            if pays and directory not in self._boundless and sizes[directory] <= self._left:
                self._left -= sizes[directory]
                if (whole := self._of_directory(directory)) is not None:
                    found.update(whole)
                    continue
            for path in reversed(inside[directory]):
                if path in wanted:
                    found |= self._of_file(path)
                elif counts[path]:
                    waiting.append(path)
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted(wanted - found.keys()):
            by_reason[self._failed.get(path, "the appliance tells no checksum")].append(path)
        for reason, paths in by_reason.items():
            self._unknown += self._not_compared(paths, reason)
        return {path: found[path] for path in wanted & found.keys()}

    def _not_compared(self, paths: Sequence[str], reason: str) -> Iterator[str]:
        return at_most(
            (f"{self._side}: {path}: its content is not compared: {reason}" for path in paths),
            lambda more: f"{self._side}: the contents of {more} more files are not compared: {reason}",
        )

    def _of_directory(self, directory: str) -> dict[str, str] | None:
        """Return the checksums of all files below the directory; None if one of them cannot be read."""
        with tempfile.NamedTemporaryFile(prefix="guestkit-") as sums:
            try:
                place = self._place + directory.removeprefix(self._base)
                self._g.checksums_out("sha256", place or "/", sums.name)
            except Error as error:
                if is_final(error):
                    raise
                return None
            return dict(_sum_in(line.rstrip(b"\n"), directory) for line in sums)

    def _of_file(self, path: str) -> dict[str, str]:
        self._alone += 1
        if self._alone > MOST_ALONE:
            self._failed[path] = f"more than {MOST_ALONE} files would have to be read one by one"
            return {}
        try:
            return {path: self._g.checksum("sha256", path)}
        except Error as error:
            if is_final(error):
                raise
            self._failed[path] = error.message.removeprefix(f"{path}: ")
            return {}


def _sum_in(line: bytes, directory: str) -> tuple[str, str]:
    """Return the path and the checksum of a line of sha256sum, which escapes some names."""
    escaped = line.startswith(b"\\")
    digest, _, name = line.removeprefix(b"\\").partition(b"  ./")
    if escaped:
        plain = {b"\\n": b"\n", b"\\r": b"\r", b"\\\\": b"\\"}
        name = re.sub(rb"\\[nr\\]", lambda found: plain[found[0]], name)
    return posixpath.join(directory, os.fsdecode(name)), digest.decode("ascii")


# ---- lines


def _with_texts(
    changes: Sequence[Change],
    guests: tuple[Guestfs, Guestfs],
    files: tuple[Files, Files],
    unknown: list[str],
) -> Iterator[Change]:
    left, pairs = MOST_TEXT, MOST_PAIRS
    paths: list[str] = []
    too_long: list[str] = []
    too_different: list[str] = []
    for change in changes:
        if change.field in ("size", "content") and change.name not in paths[-1:]:
            largest = max(each[change.name].size for each in files)
            if largest > LARGEST_TEXT:
                continue
            if largest <= left:
                paths.append(change.name)
                left -= largest
            else:
                too_long.append(change.name)
    before, after = (g.read_files(paths, limit=LARGEST_TEXT) for g in guests)
    for change in changes:
        lines: Sequence[str] = ()
        if change.field in ("size", "content"):
            mine, other, first = _differing(before.get(change.name, b"\0"), after.get(change.name, b"\0"))
            if len(mine) * len(other) <= pairs:
                pairs -= len(mine) * len(other)
                lines = _unified(mine, other, first)
            else:
                too_different.append(change.name)
        yield replace(change, text=lines)
    unknown += _without_lines(too_long, f"more than {MOST_TEXT} bytes of text")
    unknown += _without_lines(too_different, "too many lines differ in all files")


def _without_lines(paths: Sequence[str], reason: str) -> Iterator[str]:
    return at_most(
        (f"{path}: its lines are not told: {reason}" for path in paths),
        lambda more: f"the lines of {more} more files are not told: {reason}",
    )


def _differing(before: bytes | Error, after: bytes | Error) -> tuple[Sequence[str], Sequence[str], int]:
    """Return the lines from the first that differs to the last, with context, and the number of the first.

    There are none if one of the two is no text, or if they are too many.
    """
    nothing = (), (), 0
    if isinstance(before, Error) or isinstance(after, Error) or b"\0" in before + after:
        return nothing
    try:
        mine, other = _lines(before), _lines(after)
    except UnicodeDecodeError:
        return nothing
    same = _same_at_start(mine, other)
    first = max(same - _CONTEXT, 0)
    left_out = max(_same_at_start(mine[same:][::-1], other[same:][::-1]) - _CONTEXT, 0)
    mine, other = mine[first : len(mine) - left_out], other[first : len(other) - left_out]
    return (mine, other, first) if max(len(mine), len(other)) <= MOST_LINES else nothing


def _unified(mine: Sequence[str], other: Sequence[str], first: int) -> tuple[str, ...]:
    """Return the lines of a unified diff of the two, which begin at that number of their files."""

    def moved(line: str) -> str:  # a line that begins with @@ has the numbers of lines
        return re.sub(r"(?<=[-+])\d+", lambda number: str(int(number[0]) + first), line)

    diff = difflib.unified_diff(mine, other, lineterm="", n=_CONTEXT)
    lines = (moved(line) if line.startswith("@@") else line for line in diff)
    return tuple(part for line in list(lines)[2:] for part in line.split("\n"))


def _same_at_start(mine: Sequence[str], other: Sequence[str]) -> int:
    pairs = enumerate(zip(mine, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(mine), len(other)))


def _lines(content: bytes) -> list[str]:
    """Return the lines of UTF-8 text; one without an end has the mark that diff(1) puts beneath it."""
    *lines, last = content.decode().split("\n")
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines
