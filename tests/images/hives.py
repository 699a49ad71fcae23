"""A writer of registry hives as Windows lays them out: those of hivex's tools are small and in ASCII."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

PAGE = 4096
NONE = 0xFFFFFFFF
TEXT, EXPANDABLE, BINARY, NUMBER, BIG_ENDIAN_NUMBER = 1, 2, 3, 4, 5


@dataclass
class Key:
    """A key: values as type and bytes, subkeys, and its place in the order in which keys were written."""

    values: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    when: float = 0

    def at(self, path: str) -> Key:
        """Return the key at a path with backslashes; make what is missing."""
        key = self
        for name in path.split("\\"):
            key = key.keys.setdefault(name, Key())
        return key


def text(value: str) -> tuple[int, bytes]:
    """Return a text as a value."""
    return TEXT, f"{value}\0".encode("utf-16-le")


def number(value: int) -> tuple[int, bytes]:
    """Return a number of 32 bits as a value."""
    return NUMBER, struct.pack("<I", value)


def texts(values: Mapping[str, str]) -> dict[str, tuple[int, bytes]]:
    """Return the texts as values."""
    return {name: text(value) for name, value in values.items()}


class _Cells:
    """The pages of a hive, which cells fill from the beginning."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.end = 0  # of the last page

    def add(self, content: bytes) -> int:
        """Append a cell in use; return its place."""
        size = (len(content) + 4 + 7) // 8 * 8
        if size > self.end - len(self.bytes):
            self.fill()
            pages = (32 + size + PAGE - 1) // PAGE * PAGE
            self.bytes += struct.pack("<4sIIQQI", b"hbin", self.end, pages, 0, 0, 0)
            self.end += pages
        place = len(self.bytes)
        self.bytes += struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
        return place

    def fill(self) -> None:
        """Mark the rest of the page as free."""
        if free := self.end - len(self.bytes):
            self.bytes += struct.pack("<i", free).ljust(free, b"\0")


def write(root: Key, list_size: int = 500) -> bytes:
    """Return the hive with that root.

    Args:
        root: its name is of no importance
        list_size: how many keys there may be in a list before there is a list of lists
    """
    cells = _Cells()
    places: dict[int, int] = {}
    for name, key in sorted(_all("ROOT", root), key=lambda one: one[1].when):
        places[id(key)] = _write_key(cells, name, key)
    for _, key in _all("ROOT", root):
        place = places[id(key)]
        for child in key.keys.values():
            struct.pack_into("<I", cells.bytes, places[id(child)] + 20, place)
        if key.keys:
            struct.pack_into("<I", cells.bytes, place + 32, _write_list(cells, key, places, list_size))
    top = places[id(root)]
    security = cells.add(
        struct.pack("<2sHIIII", b"sk", 0, len(cells.bytes), len(cells.bytes), 1, 20) + bytes(20)
    )
    for place in places.values():
        struct.pack_into("<I", cells.bytes, place + 48, security)
    (flags,) = struct.unpack_from("<H", cells.bytes, top + 6)
    struct.pack_into("<H", cells.bytes, top + 6, flags | 0xC)
    cells.fill()
    # The sequence numbers differ, as they do where Windows was not shut down.
    header = struct.pack("<4sIIQIIIIII", b"regf", 8, 7, 0, 1, 5, 0, 1, top, len(cells.bytes))
    header = (header + struct.pack("<I", 1)).ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", header):
        checksum ^= word
    return (header + struct.pack("<I", checksum)).ljust(PAGE, b"\0") + bytes(cells.bytes)


def _all(name: str, key: Key) -> Iterator[tuple[str, Key]]:
    yield name, key
    for child, below in key.keys.items():
        yield from _all(child, below)


def _name(name: str) -> tuple[bytes, bool]:
    """Return a name's bytes, and whether they are Latin-1."""
    try:
        return name.encode("latin-1"), True
    except UnicodeEncodeError:
        return name.encode("utf-16-le"), False


def _write_key(cells: _Cells, name: str, key: Key) -> int:
    encoded, narrow = _name(name)
    place = cells.add(
        struct.pack(
            "<2sHQIIIIIIIIIIIIIIIHH",
            *(b"nk", 0x20 * narrow, 0, 0, NONE, len(key.keys), 0, NONE, NONE, len(key.values), NONE),
            *(NONE, NONE, 0, 0, 0, 0, 0, len(encoded), 0),
        )
        + encoded
    )
    values = b"".join(struct.pack("<I", _write_value(cells, *one)) for one in key.values.items())
    if values:
        struct.pack_into("<I", cells.bytes, place + 44, cells.add(values))
    return place


def _write_value(cells: _Cells, name: str, value: tuple[int, bytes]) -> int:
    encoded, narrow = _name(name)
    form, data = value
    if len(data) <= 4:
        size, place = len(data) | 0x80000000, data.ljust(4, b"\0")
    else:
        size, place = len(data), struct.pack("<I", cells.add(data))
    return cells.add(
        struct.pack("<2sHI4sIHH", b"vk", len(encoded), size, place, form, int(narrow), 0) + encoded
    )


def _write_list(cells: _Cells, key: Key, places: Mapping[int, int], size: int) -> int:
    names = sorted(key.keys, key=str.upper)
    lists = [
        cells.add(
            struct.pack("<2sH", b"lh", len(part))
            + b"".join(struct.pack("<II", places[id(key.keys[name])], _hash(name)) for name in part)
        )
        for part in (names[i : i + size] for i in range(0, len(names), size))
    ]
    if len(lists) == 1:
        return lists[0]
    return cells.add(struct.pack(f"<2sH{len(lists)}I", b"ri", len(lists), *lists))


def _hash(name: str) -> int:
    value = 0
    for letter in name.upper():
        value = (37 * value + ord(letter)) & 0xFFFFFFFF
    return value
