"""A fuzzer of what Python reads of hostile files and texts, for atheris: `python tests/fuzz/untrusted.py`.

An input is a letter that chooses the reader (`READERS`), then what it reads. Arguments are libFuzzer's.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["guestkit", "tests"], enable_loader_override=False):
    from guestkit import Error, UnpackLimits, _unpacking
    from guestkit._archive import Damaged, Member, members
    from guestkit._decompress import Meter, Source, decompressed, errors_of
    from guestkit._ovf import _named_by, disks_in, shown
    from guestkit.cli.options import _key, positive, seconds
    from guestkit.cli.text import columns, human_size, one_line, printable
    from guestkit.files import guest_path
    from guestkit.inspection import OperatingSystem
    from tests.inspections import NOTHING_FOUND

#: A system of which nothing is known.
SYSTEM = OperatingSystem.from_native(
    dict.fromkeys(
        ("type", "distro", "product_variant", "arch", "package_format", "package_management", "osinfo"),
        "unknown",
    )
    | dict.fromkeys(("root", "product_name", "hostname", "build_id", "timezone", "locale", "machine_id"), "")
    | dict.fromkeys(("major_version", "minor_version"), 0)
    | {"mountpoints": {}, "drive_mappings": {}, "os_release": {}}
    | dict.fromkeys(
        ("filesystems", "applications", "users", "kernels", "services", "network", "failures"), ()
    )
    | {"windows": None, "icon": None, "applications_complete": True}
)
#: The most bytes that unpacking may yield here.
MOST = 4 << 20
#: Characters that XML cannot hold.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def require(holds: object, what: str) -> None:
    """As `assert`, which optimised Python leaves out."""
    if not holds:
        raise AssertionError(what)


@contextmanager
def source_of(content: bytes) -> Iterator[Source]:
    descriptor = os.memfd_create("packed")
    try:
        os.write(descriptor, content)
        meter = Meter("open_disk", MOST, 60.0, lambda: None, lambda: 0.0)
        yield Source(descriptor, meter, 0)
    finally:
        os.close(descriptor)


def size_of(pieces: Iterator[bytes | int] | Iterator[bytes], most: int = MOST) -> int:
    """Return how many bytes come out, holes too, up to a little more than the most that may."""
    size = 0
    for piece in pieces:
        size += piece if isinstance(piece, int) else len(piece)
        if size > most:
            break
    return size


# ---- the readers


def archive(content: bytes) -> None:
    """Every file that is listed lies in the archive, and has the size that it is said to have."""
    with source_of(content) as source:
        try:
            listed = list(members(source))
        except Damaged as damage:
            require(str(damage), "damage without a reason")
            return
        for member in listed:
            require(0 <= member.offset <= source.size, "a file that begins outside")
            require(0 <= member.size < 1 << 63, "a size that no file has")
            require(printable(shown(member.name)).isprintable(), "a name that is not escaped")
            if member.size <= MOST:
                try:
                    size = size_of(member.content(source))
                except Error:
                    return  # all that may be read has been
                require(size == member.size, "not as much content as it says")
        try:
            require(disks_in("open_disk", source, None), "no disks and no error")
        except (Error, Damaged) as error:
            require(str(error), "an error without a reason")


def descriptor(content: bytes) -> None:
    """Return bounded names of files, without what XML must not do: entities, other files."""
    with source_of(content) as source:
        try:
            named = _named_by("open_disk", source, Member(b"m.ovf", len(content), 0))
        except (Error, Damaged) as error:
            require(str(error), "an error without a reason")
            return
        require(sum(len(name) for name, _ in named) <= 4 * len(content), "names out of nothing")
        require(all(0 <= size < 10**18 for _, size in named), "a size that no file has")


def packed(kind: str) -> Callable[[bytes], None]:
    def unpack(content: bytes) -> None:
        with source_of(content) as source, suppress(Error, *errors_of(kind)):
            for piece in decompressed("open_disk", source, kind):
                require(0 <= len(piece) <= 1 << 20, "a step that takes too much")
                source._meter.made(0, len(piece))

    return unpack


def whole(content: bytes) -> None:
    """Unpack the file in all its layers."""
    with tempfile.NamedTemporaryFile(dir=FOLDER) as file:
        file.write(content)
        file.flush()
        limits = UnpackLimits(size=MOST, seconds=60.0)
        try:
            with _unpacking.unpacked(
                file.name, FOLDER, limits, lambda: None, op="open_disk", one=False
            ) as disks:
                sizes = [os.stat(disk.path).st_size for disk in disks]
                require(sizes and sum(sizes) <= 3 * MOST, "more than the limit")
        except Error as error:
            require(error.message, "an error without a reason")


def packed_by(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """As guestkit's, but by the first bytes alone: the rest is C++, which has fuzzers of its own."""
    with open(path, "rb") as file:
        start = file.read(512)
    for kind, magic in MAGIC.items():
        if start.startswith(magic):
            return kind
    return "tar" if start[257:262] == b"ustar" else ""


_unpacking.packed_by = packed_by  # type: ignore[attr-defined]


def arguments(content: bytes) -> None:
    """What the command line gets either has a value or is refused in argparse's way."""
    text = os.fsdecode(content).replace("\0", "")
    for take in (_key, seconds, positive):
        with suppress(argparse.ArgumentTypeError, ValueError):
            take(text)
    if text.startswith("/"):
        path = guest_path(text)
        require(path.startswith("/") and "/../" not in f"{path}/" and "//" not in path, "a way out")


def text(content: bytes) -> None:
    """Nothing that a terminal would obey is left."""
    given = content.decode("utf-8", "surrogateescape")
    require(printable(given).isprintable() or not given, "a character that is not visible")
    require(one_line(given).isprintable(), "more than a line")
    rows = [tuple((line + "\t\t").split("\t", 2)) for line in given.split("\n")]
    require(all(line.isprintable() for line in columns(rows)), "a column that is not escaped")
    human_size(int.from_bytes(content[:8], "little"))


def report(content: bytes) -> None:
    """What is written as XML is XML, and holds what was to be written."""
    given = content.decode("utf-8", "surrogateescape")
    first, _, second = given.partition("\n")
    system = replace(SYSTEM, root=first, hostname=second, product_name=given, mountpoints={first: second})
    read = ET.fromstring(replace(NOTHING_FOUND, operating_systems=(system,)).to_xml().encode())
    for name, written in (("root", first), ("hostname", second), ("product_name", given)):
        found = read.findtext(f"operatingsystem/{name}")
        require((found or "") == UNWRITABLE.sub("\ufffd", written) or written == "unknown", f"another {name}")


MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd"}
READERS: Mapping[int, Callable[[bytes], None]] = {
    ord("t"): archive,
    ord("v"): descriptor,
    ord("g"): packed("gzip"),
    ord("b"): packed("bzip2"),
    ord("x"): packed("xz"),
    ord("z"): packed("zstd"),
    ord("w"): whole,
    ord("a"): arguments,
    ord("c"): text,
    ord("r"): report,
}


def check(data: bytes) -> None:
    """Have the reader that the input chooses read it. Raises what no reader may raise."""
    if (reader := READERS.get(data[0] if data else 0)) is not None:
        reader(data[1:])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        atheris.Setup(sys.argv, check)
        atheris.Fuzz()
