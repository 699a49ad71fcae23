"""The packages of programming languages among a guest's files: Python's, npm's, and those in Java's archives.

    inspection = guestkit.inspect("web.qcow2")
    found = find_in_guest("web.qcow2", inspection)
    print(guestkit.sbom(inspection, languages=found).to_json())

Whoever wrote the files chose all the texts: treat them as hostile.
"""

from __future__ import annotations

import email
import io
import json
import math
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Unpack

from guestkit._language_packages import LanguagePackage, LanguagePackages
from guestkit._operations.trees import TIME_IS_OVER
from guestkit._walk import told, walk
from guestkit.disks import Guest
from guestkit.errors import Error, is_final
from guestkit.generated.values import Inspection
from guestkit.guest import GuestArguments, launched
from guestkit.handle import Guestfs, check_blocking
from guestkit.handle_options import INSPECTION, HandleOptions, check_limit, name_options_of, options_from
from guestkit.inspection import Key, checked_keys
from guestkit.opening import GuestKeywords, OpenDiskOptions, opening_from, parted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["LanguagePackage", "LanguagePackages", "find_in_guest", "find_packages"]

#: How many files of each kind are read, and how much of each one, in bytes.
MOST_FILES = 20_000
LARGEST_FILE = 1 << 20
#: How much of an archive is read: the list of its files, and what describes it.
MOST_OF_ARCHIVE = 8 << 20
LARGEST_MEMBER = 64 << 10
MOST_POMS = 1000
#: How large an archive inside of an archive may be, how many files it may have, and how much of its name is
#: told.
LARGEST_INSIDE = 32 << 20
MOST_MEMBERS = 65_535
LONGEST_NAME = 1000
#: How many bytes all of a system's archives may cost together: those read from the guest, and those unpacked.
#: An archive inside, and a file that describes a package, count as 64 KiB at least.
MOST_COST = 16 << 30
SMALLEST_INSIDE = 64 << 10
#: How many packages and gaps all of a system's archives may have together.
MOST_IN_ARCHIVES = 200_000
MOST_GAPS = 10_000
#: How many characters a name, a group, a version or a licence may have; of a summary as many are told.
LONGEST_TEXT = 1000
#: How many bytes of memory the texts of a guest's packages and gaps may take, those of all its systems. Many
#: systems, such as subvolumes, may share files, which cost hardly more on the disk than those of one.
MOST_TEXT = 64 << 20
#: How deep archives lie in each other: a jar in a war in an ear.
DEEPEST = 3

#: How many files are read by one call.
_BATCH = 100


def find_packages(g: Guestfs, *, root: str = "", timeout: float | None = None) -> LanguagePackages:
    """Return the packages among the files that are mounted, as by `open_guest`.

    These are directories *.dist-info and *.egg-info of Python, package.json in node_modules, and jar, war and
    ear by the pom.properties in them, else by their manifest; so are archives within archives, whose path is
    that of the outer one, "!/" and the name in it.

    root: of which system these are, for the result: its `OperatingSystem.root`, where a guest has several
    timeout: for all of it, in seconds; what is not read by then is a gap. None: no limit. The call that is
        running then still ends by itself, or by the handle's call_timeout

    Raises Error, such as EFBIG where there are more than a million files.
    """
    check_blocking("find_packages", g)
    check_limit("find_packages", "timeout", timeout)
    packages: list[LanguagePackage] = []
    gaps: list[str] = []
    _gather(g, packages, gaps, math.inf if timeout is None else monotonic() + timeout, _Room())
    return LanguagePackages(root=root, packages=tuple(packages), gaps=tuple(gaps))


class _Room:
    """The memory that is left for the texts of a guest's packages and gaps."""

    def __init__(self) -> None:
        self._left = MOST_TEXT

    def is_left(self) -> bool:
        return self._left > 0

    def take(self, texts: Iterable[str]) -> None:
        self._left -= sum(map(sys.getsizeof, texts))


def _gather(g: Guestfs, packages: list[LanguagePackage], gaps: list[str], ends: float, room: _Room) -> None:
    """Append the packages among the files that are mounted, and the gaps, as they are found; raise Error.

    ends: when no more is read, as `monotonic` tells the time
    """
    if not room.is_left():
        gaps.append(f"no file is looked at: what the systems before have takes more than {MOST_TEXT} bytes")
        return
    if monotonic() >= ends:
        gaps.append(f"no file is looked at: {TIME_IS_OVER}")
        return
    paths: dict[str, list[str]] = {name: [] for name in _PATTERNS}
    files, unread = walk(g, "/", ends=ends)
    for file in files:
        for name, pattern in _PATTERNS.items():
            if file.kind == "-" and pattern.search(file.path):
                paths[name].append(file.path)
    for name, found in paths.items():
        if len(found) > MOST_FILES:
            gaps.append(f"{name}: only {MOST_FILES} of {len(found)} packages are looked at")
            del found[MOST_FILES:]
    gaps += told(unread)
    for package in _read(g, paths, gaps, ends):
        if not room.is_left():
            gaps.append(
                f"only {len(packages)} packages are told: those of a guest may take {MOST_TEXT} bytes"
            )
            return
        packages.append(package)
        room.take(
            (package.group, package.name, package.version, package.license, package.summary, package.path)
        )


def _read(
    g: Guestfs, paths: Mapping[str, Sequence[str]], gaps: list[str], ends: float
) -> Iterator[LanguagePackage]:
    """Yield the packages that the files of each language have."""
    yield from _described(g, "Python", paths["Python"], gaps, ends)
    yield from _described(g, "npm", paths["npm"], gaps, ends)
    in_archives = _Archives(g, gaps, ends).read(paths["Java"])
    yield from islice(in_archives, MOST_IN_ARCHIVES)
    if next(in_archives, None) is not None:
        gaps.append(f"Java: only {MOST_IN_ARCHIVES} packages are told")


def find_in_guest(
    disk: Guest,
    inspection: Inspection,
    options: HandleOptions | None = None,
    *,
    keys: Iterable[Key] = (),
    timeout: float | None = None,
    **keywords: Unpack[GuestKeywords],
) -> tuple[LanguagePackages, ...]:
    """Return what `find_packages` finds in each operating system of a guest, for `guestkit.sbom`.

    Launches one appliance, in which one system after the other is mounted, read-only. What cannot be launched
    or mounted, or dies, is no error but a gap of each system that it has left unread; where the guest has
    none, of a result with the root "". What was found before it is there.

    inspection: of that disk, by `guestkit.inspect`: it tells the systems
    options, format, backing, protocols, snapshot, in_use, blocksize, unpack: as in `open_guest`
    keys: for encrypted disks
    timeout: for all systems together, from the launch on, in seconds, as in `find_packages`; the launch
        itself is limited by launch_timeout
    """
    of_disks, of_handle = parted(keywords)
    asked = GuestArguments(
        guest=disk,
        keys=checked_keys(keys),
        opening=opening_from("find_in_guest", of_disks),
        handle=options_from(options, of_handle, INSPECTION, "find_in_guest"),
    )
    check_limit("find_in_guest", "timeout", timeout)
    return found_in(inspection, asked, launched(asked), timeout)


def found_in(
    inspection: Inspection,
    asked: GuestArguments,
    opening: AbstractContextManager[Guestfs],
    timeout: float | None,
) -> tuple[LanguagePackages, ...]:
    """Return what `find_in_guest` does.

    opening: gives a launched handle with the guest's disks
    timeout: as in `find_in_guest`
    """
    ends = math.inf if timeout is None else monotonic() + timeout
    roots = [system.root for system in inspection.operating_systems]
    found: dict[str, tuple[list[LanguagePackage], list[str]]] = {root: ([], []) for root in roots}
    unread, room = list(roots), _Room()
    try:
        with opening as g:
            for root in roots:
                packages, gaps = found[root]
                _gather_in(g, replace(asked, root=root), packages, gaps, ends, room)
                room.take(gaps)
                unread.remove(root)
    except Error as error:
        for root in unread or [""]:
            _, gaps = found.setdefault(root, ([], []))
            gaps.append(str(error))
    return tuple(
        LanguagePackages(root=root, packages=tuple(packages), gaps=tuple(gaps))
        for root, (packages, gaps) in found.items()
    )


name_options_of(find_in_guest, OpenDiskOptions(), INSPECTION, without=("readonly",))


def _gather_in(
    g: Guestfs,
    asked: GuestArguments,
    packages: list[LanguagePackage],
    gaps: list[str],
    ends: float,
    room: _Room,
) -> None:
    """Mount a system, and append its packages and gaps; raise Error only where it is final."""
    try:
        if monotonic() < ends and room.is_left():  # else the gap says so
            gaps.extend(failure.message for failure in asked.mount(g).failures)
        _gather(g, packages, gaps, ends, room)
    except Error as error:
        if is_final(error):
            raise
        gaps.append(str(error))


_PATTERNS = {
    "Python": re.compile(r"\.dist-info/METADATA\Z|\.egg-info(/PKG-INFO)?\Z"),
    "npm": re.compile(r"/node_modules/(@[^/]+/)?[^/@][^/]*/package\.json\Z"),
    "Java": re.compile(r"\.[jwe]ar\Z"),
}


def _described(
    g: Guestfs, language: str, paths: Sequence[str], gaps: list[str], ends: float
) -> Iterator[LanguagePackage]:
    """Yield the packages that files describe.

    ends: when no more is read, as `monotonic` tells the time
    """
    read = _of_python if language == "Python" else _of_npm
    for begin in range(0, len(paths), _BATCH):
        if monotonic() >= ends:
            gaps.append(f"{language}: {len(paths) - begin} packages are not looked at: {TIME_IS_OVER}")
            return
        contents = g.read_files(paths[begin : begin + _BATCH], limit=LARGEST_FILE)
        for path, content in contents.items():
            if isinstance(content, Error):
                gaps.append(f"{path}: {content.message}")
                continue
            try:
                yield _checked(read(path, content))
            except (ValueError, RecursionError) as error:
                gaps.append(f"{path}: describes no package: {error}")


def _of_python(path: str, content: bytes) -> LanguagePackage:
    head = content.replace(b"\r\n", b"\n").split(b"\n\n")[0].decode(errors="replace")
    fields = email.message_from_string(head)
    terms = _text(fields["License-Expression"]) or _text(fields["License"])
    return LanguagePackage(
        kind="pypi",
        name=_name(fields["Name"]),
        version=_text(fields["Version"]),
        license="" if terms == "UNKNOWN" else terms.partition("\n")[0],
        summary=_text(fields["Summary"])[:LONGEST_TEXT],
        path=path,
    )


def _of_npm(path: str, content: bytes) -> LanguagePackage:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    scope, _, name = _name(found.get("name")).rpartition("/")
    terms = found.get("license")
    return LanguagePackage(
        kind="npm",
        group=scope,
        name=name,
        version=_text(found.get("version")),
        license=_text(terms.get("type") if isinstance(terms, dict) else terms),
        summary=_text(found.get("description"))[:LONGEST_TEXT],
        path=path,
    )


def _checked(package: LanguagePackage) -> LanguagePackage:
    """Return the package; raise ValueError if the memory for 200,000 of its kind would be without bound."""
    for fact in ("group", "name", "version", "license"):
        if len(getattr(package, fact)) > LONGEST_TEXT:
            raise ValueError(f"its {fact} has more than {LONGEST_TEXT} characters")
    return package


def _name(value: object) -> str:
    if not (name := _text(value)):
        raise ValueError("it has no name")
    return name


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


# ---- Java


class _Ended(Exception):
    """No more can be read. Not an OSError, as CallTimeout is: zipfile would take it for a damaged archive.

    Attributes:
        error: what has ended the whole task; None: the time is over
    """

    def __init__(self, error: Error | None = None) -> None:
        super().__init__()
        self.error = error


class _Archives:
    """Reads archives, and those inside of them."""

    def __init__(self, g: Guestfs, gaps: list[str], ends: float) -> None:
        self._g = g
        self._gaps = gaps
        self._ends = ends
        self._left = MOST_COST
        self._left_gaps = MOST_GAPS

    def read(self, paths: Sequence[str]) -> Iterator[LanguagePackage]:
        for done, path in enumerate(paths):
            if self._left <= 0:
                self._gap(f"Java: {len(paths) - done} archives are not opened: {self._used_up()}")
                return
            try:
                self._spend(0)
                file = _InGuest(self._g, path, self._spend)
                with zipfile.ZipFile(io.BufferedReader(file, 64 << 10)) as archive:
                    yield from self._packages(path, archive, file, 1)
            except _Ended as ended:
                if ended.error is not None:
                    raise ended.error from None
                left = len(paths) - done
                self._gaps.append(f"Java: {left} archives are not read, or in part: {TIME_IS_OVER}")
                return
            except Exception as error:
                self._note(path, error)

    def _spend(self, count: int) -> None:
        """Count what is read or unpacked, in bytes; raise _Ended."""
        self._left -= count
        if monotonic() >= self._ends:
            raise _Ended

    def _used_up(self) -> str:
        return f"the {MOST_COST} bytes that all may have are used up"

    def _packages(
        self, path: str, archive: zipfile.ZipFile, file: _InGuest, level: int
    ) -> Iterator[LanguagePackage]:
        """Yield what the archive is, and what the archives inside are.

        level: 1 is an archive that is a file of the guest, 2 is inside of it
        """
        yield from self._described_in(path, archive)
        inside = [one for one in archive.infolist() if _PATTERNS["Java"].search(one.filename)]
        if inside and level == DEEPEST:
            self._gap(f"{path}: the {len(inside)} archives inside are too deep to be opened")
            return
        for done, member in enumerate(inside):
            if self._left <= 0:
                self._gap(f"{path}: {len(inside) - done} archives inside are not opened: {self._used_up()}")
                return
            name = f"{path}!/{member.filename[:LONGEST_NAME]}"
            try:
                content = self._content(archive, member, file)
                with zipfile.ZipFile(io.BytesIO(content)) as opened:
                    yield from self._packages(name, opened, file, level + 1)
            except Exception as error:
                self._note(name, error)

    def _content(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: _InGuest) -> bytes:
        """Return an archive that is a file in an archive. What its header says about sizes may be a lie."""
        file.allow(min(member.compress_size, LARGEST_INSIDE) + MOST_OF_ARCHIVE)
        # Before it is unpacked, which may fail in the end. Many small ones take time, too.
        self._spend(max(min(member.file_size, LARGEST_INSIDE), SMALLEST_INSIDE))
        with _opened(archive, member) as opened:
            content = opened.read(LARGEST_INSIDE + 1)
        if len(content) > LARGEST_INSIDE:
            raise ValueError(f"it has more than {LARGEST_INSIDE} bytes")
        if content.count(b"PK\x01\x02") > MOST_MEMBERS:  # zipfile remembers each one
            raise ValueError(f"it has more than {MOST_MEMBERS} files")
        return content

    def _note(self, path: str, error: Exception) -> None:
        """Take the error for a gap: zipfile raises a dozen kinds for an archive that is damaged."""
        if is_final(error) or isinstance(error, _Ended):
            raise error
        self._gap(f"{path}: is not read: {str(error)[:LONGEST_NAME]}")  # zipfile's errors have names in them

    def _gap(self, text: str) -> None:
        self._left_gaps -= 1
        if self._left_gaps >= 0:
            self._gaps.append(text)
        elif self._left_gaps == -1:
            self._gaps.append(f"Java: only {MOST_GAPS} gaps are told")

    def _described_in(self, path: str, archive: zipfile.ZipFile) -> Iterator[LanguagePackage]:
        names = [name for name in archive.namelist() if _POM.fullmatch(name)]
        if len(names) > MOST_POMS:
            self._gap(f"{path}: only {MOST_POMS} of {len(names)} packages inside are looked at")
        for name in names[:MOST_POMS]:
            yield from self._described(path, archive, name)
        if not names and _MANIFEST in archive.namelist():
            yield from self._described(path, archive, _MANIFEST)

    def _described(self, path: str, archive: zipfile.ZipFile, name: str) -> Iterator[LanguagePackage]:
        """Yield the package that a file in the archive describes, if it does."""
        self._spend(LARGEST_MEMBER)
        try:
            package = _of_manifest(path, archive) if name == _MANIFEST else _of_pom(path, archive, name)
            found = [] if package is None else [_checked(package)]
        except Exception as error:
            self._note(f"{path}!/{name[:LONGEST_NAME]}", error)
        else:
            yield from found


_MANIFEST = "META-INF/MANIFEST.MF"
_POM = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")


def _of_pom(path: str, archive: zipfile.ZipFile, name: str) -> LanguagePackage:
    fields = _fields(archive, name, "=")
    return LanguagePackage(
        kind="maven",
        group=fields.get("groupId", ""),
        name=_name(fields.get("artifactId")),
        version=fields.get("version", ""),
        path=path,
    )


def _of_manifest(path: str, archive: zipfile.ZipFile) -> LanguagePackage | None:
    fields = _fields(archive, _MANIFEST, ":")
    name = fields.get("Implementation-Title") or fields.get("Bundle-SymbolicName", "").partition(";")[0]
    if not name:
        return None
    return LanguagePackage(
        kind="maven",
        group=fields.get("Implementation-Vendor-Id", ""),
        name=name,
        version=fields.get("Implementation-Version") or fields.get("Bundle-Version", ""),
        license=fields.get("Bundle-License", ""),
        path=path,
    )


def _fields(archive: zipfile.ZipFile, name: str, separator: str) -> Mapping[str, str]:
    """Return the fields of pom.properties, or those of a manifest that are about the archive as a whole."""
    with _opened(archive, archive.getinfo(name)) as member:
        text = member.read(LARGEST_MEMBER).decode(errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if name == _MANIFEST:  # what follows an empty line is about single entries; long lines are folded
        text = text.partition("\n\n")[0].replace("\n ", "")
    parts = (line.partition(separator) for line in text.split("\n") if not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in parts}


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a file in an archive, of which a bounded part is to be read; raise ValueError if it is no jar's.

    Java knows these two ways of packing alone. Of bzip2 and LZMA, zipfile unpacks more than is asked for: a
    few bytes could take all memory.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"it is not packed as files in a jar are (method {member.compress_type})")
    return archive.open(member)


class _InGuest(io.RawIOBase):
    """A guest's file, for zipfile, which may read a bounded part of it."""

    def __init__(self, g: Guestfs, path: str, spend: Callable[[int], None]) -> None:
        super().__init__()
        self._g = g
        self._path = path
        self._size: int = g.statns(path)["st_size"]
        self._spend = spend
        self._offset = 0
        self.allow(MOST_OF_ARCHIVE)

    def allow(self, count: int) -> None:
        """Permit to read as many bytes from now on."""
        self._allowed = self._left = count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}[whence]
        self._offset = max(begin + offset, 0)
        return self._offset

    def readinto(self, buffer: WriteableBuffer) -> int:
        view: Any = memoryview(buffer).cast("B")
        try:
            content = self._g.pread(self._path, min(len(view), 1 << 20), self._offset)
        except Error as error:
            if is_final(error):
                raise _Ended(error) from None
            raise
        self._left -= len(content)
        self._spend(len(content))
        if self._left < 0:
            raise OSError(f"more than {self._allowed} bytes would have to be read")
        view[: len(content)] = content
        self._offset += len(content)
        return len(content)
