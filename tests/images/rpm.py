"""The databases of rpm, as its three backends write them: sqlite, ndb, and the hash of Berkeley DB."""

from __future__ import annotations

import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .trees import Tree

CHAR, INT8, INT16, INT32, INT64, STRING, BINARY, STRINGS, TRANSLATED = range(1, 10)
NAME, VERSION, RELEASE, EPOCH, SUMMARY, DESCRIPTION = range(1000, 1006)
VENDOR, LICENSE, GROUP, URL, OS, ARCH, FILE_SIZES, CHANGES, BASE_NAMES = (
    1011,
    1014,
    1016,
    1020,
    1021,
    1022,
    1028,
    1082,
    1117,
)
I18N_TABLE = 100

INDEXES = (
    "Name", "Basenames", "Group", "Requirename", "Providename", "Conflictname", "Obsoletename", "Triggername",
    "Dirnames", "Installtid", "Sigmd5", "Sha1header", "Filetriggername", "Transfiletriggername",
    "Recommendname", "Suggestname", "Supplementname", "Enhancename",
)  # fmt: skip

Value = str | int | bytes | Sequence[str | int]
Tags = Mapping[int, tuple[int, Value]]


def header(tags: Tags, *, region: bool = True, later: Tags | None = None) -> bytes:
    """Return a header as databases have it: the index, then the values.

    region: as rpm 4 makes it, with all tags in one region, which has a trailer
    later: tags that were added when the package was installed, behind the region
    """
    index, data = b"", bytearray()
    for tag, (kind, value) in sorted(tags.items()):
        index += _entry(data, tag, kind, value)
    if region:
        count = len(index) // 16 + 1
        index = struct.pack(">IIII", 63, BINARY, len(data), 16) + index
        data += struct.pack(">IIiI", 63, BINARY, -16 * count, 16)
    for tag, (kind, value) in sorted((later or {}).items()):
        index += _entry(data, tag, kind, value)
    return struct.pack(">II", len(index) // 16, len(data)) + index + data


def _entry(data: bytearray, tag: int, kind: int, value: Value) -> bytes:
    size = {INT16: 2, INT32: 4, INT64: 8}.get(kind, 1)
    data += bytes(-len(data) % size)
    at = len(data)
    if isinstance(value, bytes):
        count = len(value)
        data += value
    elif isinstance(value, str):
        count = 1
        data += value.encode(errors="surrogateescape") + b"\0"
    else:
        values = [value] if isinstance(value, int) else list(value)
        count = len(values)
        for one in values:
            if isinstance(one, str):
                data += one.encode(errors="surrogateescape") + b"\0"
            else:
                data += one.to_bytes(size, "big")
    return struct.pack(">IIII", tag, kind, at, count)


def package(
    name: str, version: str, release: str = "1", *, padding: int = 0, **values: str | int | list[str]
) -> bytes:
    """Return the header of a package. padding: how many bytes of file lists it has, as large ones have."""
    tags: dict[int, tuple[int, Value]] = {
        NAME: (STRING, name),
        VERSION: (STRING, version),
        RELEASE: (STRING, release),
        LICENSE: (STRING, "none"),
        OS: (STRING, "linux"),
    }
    kinds = {
        "epoch": (EPOCH, INT32),
        "arch": (ARCH, STRING),
        "url": (URL, STRING),
        "vendor": (VENDOR, STRING),
        "license": (LICENSE, STRING),
        "summary": (SUMMARY, TRANSLATED),
        "description": (DESCRIPTION, TRANSLATED),
    }
    for key, value in values.items():
        tag, kind = kinds[key]
        tags[tag] = (kind, [value] if kind == TRANSLATED and isinstance(value, str) else value)
    if padding:
        tags[FILE_SIZES] = (INT32, list(range(padding // 20)))
        tags[BASE_NAMES] = (STRINGS, [f"file{number:011}" for number in range(padding // 20)])
    return header(tags)


def packages() -> list[bytes]:
    """Return headers with the oddities of real ones, in no order."""
    many = [
        package(
            f"package{number % 7:02}", f"{number}.2", f"{number}.el9",
            arch="x86_64" if number % 3 else "noarch",
            url=f"https://example.org/{number}", summary=f"the {number}. package",
            description=f"It has\n\nseveral lines: {'x' * number * 90}", padding=number * 400,
        )
        for number in range(40)
    ]  # fmt: skip
    return [
        *many,
        package(
            "zlib",
            "1.2",
            epoch=1,
            arch="x86_64",
            summary=["the C one", "die deutsche"],
            vendor="Zlib Makers",
            license="Zlib",
        ),
        package("gpg-pubkey", "fd431d51", "4ae0493b", summary="gpg(Red Hat)", description="-----BEGIN"),
        package("gpg-pubkey", "5a6340b3", "6229229e", summary="gpg(Other)", description="-----BEGIN"),
        package("bare", "1"),
        package("epoch", "2", epoch=2**31 + 5, arch="i686"),
        header({NAME: (STRING, "old"), VERSION: (STRING, "3"), RELEASE: (STRING, "0")}, region=False),
        header(
            {
                NAME: (STRING, "installed"),
                VERSION: (STRING, "1"),
                RELEASE: (STRING, "1"),
                ARCH: (STRING, "a"),
            },
            later={257: (INT32, 5), 1008: (INT32, 7)},
        ),
    ]


def installed(directory: str, name: str, database: bytes, *, log: bytes = b"", settings: bool = True) -> Tree:
    """Return the files of a guest with that database.

    log: of SQLite, as a program leaves it that ends by a signal
    settings: whether there are those of rpm itself, without which librpm finds no database
    """
    files: dict[str, str | bytes] = {f"{directory}/{name}": database}
    if log:
        files[f"{directory}/{name}-wal"] = log
    if settings:
        files["usr/lib/rpm/macros"] = f"%_var /var\n%_dbpath /{directory}\n"
        files["usr/lib/rpm/rpmrc"] = "arch_canon: x86_64: x86_64 1\nos_canon: Linux: Linux 1\n"
    return files


def sqlite(
    headers: Sequence[bytes], *, page_size: int = 4096, wal: bool = True, indexes: Sequence[str] = INDEXES
) -> bytes:
    """Return rpmdb.sqlite. wal: with the journal mode that rpm sets, after the last program has closed it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "rpmdb.sqlite")
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA synchronous = OFF")  # it need not survive this host
        database.execute(f"PRAGMA page_size = {page_size}")
        if wal:
            database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"
        )
        for index in indexes:
            database.execute(
                f"CREATE TABLE '{index}' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, "
                "FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum))"
            )
            database.execute(f"CREATE INDEX '{index}_key_idx' ON '{index}'(key ASC)")
            database.execute(f"CREATE INDEX '{index}_hnum_idx' ON '{index}'(hnum ASC)")
        database.execute("BEGIN")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in headers])
        database.execute("COMMIT")
        database.close()
        return path.read_bytes()


def logged(database: bytes, headers: Sequence[bytes]) -> bytes:
    """Return the log of a database to which headers were added, and of the last program ending in another."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "rpmdb.sqlite")
        path.write_bytes(database)
        adding = sqlite3.connect(path, isolation_level=None)
        adding.execute("PRAGMA synchronous = OFF")
        adding.execute("PRAGMA journal_mode = WAL")
        adding.execute("PRAGMA wal_autocheckpoint = 0")  # leaves the database as it was
        adding.execute("BEGIN")
        adding.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in headers])
        adding.execute("COMMIT")
        adding.execute("PRAGMA cache_size = 1")  # has the next ones written before their end
        adding.execute("BEGIN")
        adding.executemany("UPDATE Packages SET blob = ?", [(package("unfinished", "1", padding=9000),)])
        log = path.with_name("rpmdb.sqlite-wal").read_bytes()
        adding.execute("ROLLBACK")
        adding.close()
        return log


def ndb(headers: Sequence[bytes]) -> bytes:
    """Return Packages.db."""
    pages = -(-(len(headers) + 2) * 16 // 4096)
    slots, blobs = b"", bytearray()
    start = pages * 4096
    for number, blob in enumerate(headers, 1):
        body = struct.pack("<4sIII", b"BlbS", number, 1, len(blob)) + blob
        body += bytes(-(len(body) + 12) % 16)
        body += struct.pack("<II4s", zlib.adler32(body), len(blob), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", number, (start + len(blobs)) // 16, len(body) // 16)
        blobs += body
    head = struct.pack("<4sIIII12x", b"RpmP", 0, 1, pages, len(headers) + 1)
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0) * (pages * 256 - 2 - len(headers))
    return head + slots + blobs


def bdb(headers: Sequence[bytes], *, page_size: int = 4096, buckets: int = 4, order: str = "<") -> bytes:
    """Return Packages. buckets: a power of 2; order: the byte order of the machine that made it."""
    pages: list[bytes | None] = [None] * (1 + buckets)
    items: list[list[tuple[bytes, bytes]]] = [[] for _ in range(buckets)]
    items[0].append((b"\1" + bytes(4), b"\1" + struct.pack(order + "I", len(headers))))
    for number, blob in enumerate(headers, 1):
        key = b"\1" + struct.pack(order + "I", number)
        if len(blob) <= page_size // 4:
            value = b"\1" + blob
        else:
            value = struct.pack(order + "B3xII", 3, len(pages), len(blob))
            parts = [blob[at : at + page_size - 26] for at in range(0, len(blob), page_size - 26)]
            for count, part in enumerate(parts, 1):
                following = len(pages) + 1 if count < len(parts) else 0
                pages.append(_bdb_page(order, len(pages), following, 1, len(part), 7, part))
        items[number * 7 % buckets].append((key, value))
    for bucket, entries in enumerate(items):
        here = 1 + bucket
        while True:
            offsets: list[int] = []
            body = b""
            while entries:
                pair = entries[0]
                if 26 + 2 * (len(offsets) + 2) + len(body) + len(pair[0]) + len(pair[1]) > page_size:
                    break
                for item in entries.pop(0):
                    body = item + body
                    offsets.append(page_size - len(body))
            following = len(pages) if entries else 0
            if entries:
                pages.append(None)
            index = struct.pack(f"{order}{len(offsets)}H", *offsets)
            room = page_size - 26 - len(index) - len(body)
            pages[here] = _bdb_page(
                order, here, following, len(offsets), page_size - len(body), 13, index + bytes(room) + body
            )
            if not following:
                break
            here = following
    spares = [1] * (buckets.bit_length()) + [0] * (32 - buckets.bit_length())
    meta = struct.pack(
        order + "8xIIIIBBBBIIIIII20xIIIIII32I",
        0, 0x061561, 9, page_size, 0, 8, 0, 0, 0, len(pages) - 1, 0, len(headers) + 1, len(headers) + 1, 0,
        buckets - 1, buckets - 1, max(buckets // 2 - 1, 0), 0, len(headers) + 1, 0, *spares,
    )  # fmt: skip
    pages[0] = meta.ljust(page_size, b"\0")
    return b"".join(page.ljust(page_size, b"\0") for page in pages if page is not None)


def _bdb_page(
    order: str, number: int, following: int, count: int, offset: int, kind: int, body: bytes
) -> bytes:
    return struct.pack(order + "8xIIIHHBB", number, 0, following, count, offset, 0, kind) + body
