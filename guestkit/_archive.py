"""A tar reader for untrusted archives: lists the regular files, and where their content lies.

The standard tarfile reads sparse maps, extended headers and chains of headers in one go, however large a
header says they are, and cannot be stopped meanwhile. This reader bounds the number of headers and their
sizes.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guestkit._decompress import Source

_BLOCK = 512
_MOST_HEADERS = 10_000
_MOST_METADATA = 16 << 20  # bytes of extended headers and of maps
_LONGEST_NAME = 1 << 12
_LONGEST_RECORDS = 1 << 20
_LONGEST_NUMBER = 19  # digits
_MOST_NUMBERS = 1 << 20  # in the map of a sparse file
_REGULAR = b"\x0007S"  # the types of regular files; "S": one with holes
_WITHOUT_CONTENT = b"123456"  # links, devices, directories, FIFOs: a size says nothing


class Damaged(ValueError):
    """The archive cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive. `size` is the file's, `offset` is where its content begins.

    holes: None: no holes; otherwise the offset and length of each data part, alternating
    """

    name: bytes
    size: int
    offset: int
    holes: array[int] | None = None

    def content(self, source: Source) -> Iterator[bytes | int]:
        """Yield the content: bytes, or an int for that many zeros."""
        if self.holes is None:
            yield from source.pieces(self.offset, self.size)
            return
        offset, end = self.offset, 0
        for begin, length in zip(self.holes[::2], self.holes[1::2], strict=True):
            yield begin - end
            yield from source.pieces(offset, length)
            offset += length
            end = begin + length
        yield self.size - end


def members(source: Source) -> Iterator[Member]:
    """Yield the regular files. Raises Damaged."""
    reader = _Reader(source)
    for _ in range(_MOST_HEADERS):
        if not reader.next_header():
            return
        if (member := reader.member()) is not None:
            yield member
    raise Damaged(f"it has more than {_MOST_HEADERS} headers")


class _Reader:
    """Goes from header to header. Values of a header that describes the next one are kept until then."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._offset = 0  # of what comes next
        self._header = b""
        self._metadata = 0
        self._defaults: dict[bytes, bytes] = {}
        self._records: dict[bytes, bytes] = {}
        self._map: array[int] | None = None  # of the sparse formats before 1.0
        self._name = b""

    def next_header(self) -> bool:
        """Go to the next header; return whether there is one."""
        self._header = self._source.at(self._offset, _BLOCK)
        if not self._header.strip(b"\0"):
            return False
        if len(self._header) < _BLOCK:
            raise Damaged("it ends within a header")
        said = _number(self._header[148:156])
        if said != sum(self._header) - sum(self._header[148:156]) + 8 * ord(" "):
            raise Damaged(f"the header at {self._offset} is damaged")
        self._offset += _BLOCK
        return True

    def member(self) -> Member | None:
        """Return the regular file that the header describes, or None for anything else; skip its content."""
        kind, size = self._header[156], _number(self._header[124:136])
        if kind in b"xgLK":
            self._extend(kind, size)
            return None
        records = {**self._defaults, **self._records}
        old_map, name = self._map, self._name
        self._records, self._map, self._name = {}, None, b""
        if b"size" in records:
            size = _decimal(records[b"size"])
        found: Member | None = None
        if kind in _REGULAR:
            name = records.get(b"GNU.sparse.name") or records.get(b"path") or name or self._own_name()
            found = self._regular(name, kind, size, records, old_map)
        if kind not in _WITHOUT_CONTENT:
            self._skip(size)
        return found

    def _regular(
        self, name: bytes, kind: int, size: int, records: dict[bytes, bytes], old_map: array[int] | None
    ) -> Member:
        """Return a regular file; read its sparse map, if it has one."""
        begin, whole, holes = self._offset, size, None
        if kind == ord("S"):
            whole, holes = _number(self._header[483:495]), self._map_of_old_gnu()
            return Member(name, whole, self._offset, _checked(holes, whole, size))
        if records.get(b"GNU.sparse.major") == b"1":
            whole, holes, offset = _decimal(records.get(b"GNU.sparse.realsize", b"")), *self._map_of_1_0()
            return Member(name, whole, offset, _checked(holes, whole, size - (offset - begin)))
        if b"GNU.sparse.size" in records:
            whole = _decimal(records[b"GNU.sparse.size"])
            listed = records.get(b"GNU.sparse.map")
            holes = (
                old_map if listed is None else array("Q", map(_decimal, listed.split(b",") if listed else []))
            )
            return Member(name, whole, begin, _checked(holes or array("Q"), whole, size))
        return Member(name, size, begin)

    def _skip(self, size: int) -> None:
        if self._offset + size > self._source.size:
            raise Damaged(f"it ends early: {self._offset + size - self._source.size} bytes are missing")
        self._offset += -(-size // _BLOCK) * _BLOCK

    def _own_name(self) -> bytes:
        name, prefix = (field.partition(b"\0")[0] for field in (self._header[:100], self._header[345:500]))
        return prefix + b"/" + name if prefix and self._header[257:263] == b"ustar\0" else name

    # ---- metadata

    def _extend(self, kind: int, size: int) -> None:
        """Read an extended header, which describes the next header or all that follow."""
        content = self._read_metadata(size, _LONGEST_RECORDS if kind in b"xg" else _LONGEST_NAME)
        if kind == ord("L"):
            self._name = content.partition(b"\0")[0]
        elif kind == ord("g"):
            self._defaults.update(_records(content))
        elif kind == ord("x"):
            records = list(_records(content))
            self._records = dict(records)
            numbers = [v for k, v in records if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
            self._map = array("Q", map(_decimal, numbers)) if numbers else None

    def _read_metadata(self, size: int, most: int) -> bytes:
        if size > most:
            raise Damaged(f"an extended header of {size} bytes is too long")
        begin = self._offset
        self._skip(size)
        self._count(size)
        return self._source.at(begin, size)

    def _count(self, size: int) -> None:
        self._metadata += size
        if self._metadata > _MOST_METADATA:
            raise Damaged(f"its headers are longer than {_MOST_METADATA} bytes")

    def _map_block(self) -> bytes:
        block = self._source.at(self._offset, _BLOCK)
        if len(block) < _BLOCK:
            raise Damaged("it ends within a map of a sparse file")
        self._offset += _BLOCK
        self._count(_BLOCK)
        return block

    def _map_of_old_gnu(self) -> array[int]:
        """Return the sparse map, which begins in the header and continues in blocks before the content."""
        numbers = array("Q")
        entries, goes_on = self._header[386:482], self._header[482]
        while True:
            for place in range(0, len(entries), 12):
                if not entries[place]:
                    break
                numbers.append(_number(entries[place : place + 12]))
            if not goes_on:
                return numbers
            if len(numbers) > _MOST_NUMBERS:
                raise Damaged("the map of a sparse file is too long")
            block = self._map_block()
            entries, goes_on = block[:504], block[504]

    def _map_of_1_0(self) -> tuple[array[int], int]:
        """Return the sparse map, decimal lines before the content, and the offset where it ends."""
        before = self._offset
        numbers, text, wanted = array("Q"), b"", 1  # the first number is the count of pairs
        while len(numbers) < wanted:
            *lines, text = (text + self._map_block()).split(b"\n")
            for line in lines:
                if len(numbers) < wanted:
                    numbers.append(_decimal(line))
                    wanted = 1 + 2 * numbers[0]
                    if wanted > _MOST_NUMBERS:
                        raise Damaged("the map of a sparse file is too long")
            if len(numbers) < wanted and len(text) > _LONGEST_NUMBER:
                raise Damaged("the map of a sparse file is damaged")
        offset, self._offset = self._offset, before  # the size of the member counts the map
        return numbers[1:], offset


def _checked(numbers: array[int], size: int, stored: int) -> array[int]:
    """Return the map if it describes a file of that size with that many bytes stored; else raise Damaged."""
    end = total = 0
    if len(numbers) % 2:
        raise Damaged("the map of a sparse file is damaged")
    for begin, length in zip(numbers[::2], numbers[1::2], strict=True):
        if begin < end or begin + length > size:
            raise Damaged("the map of a sparse file is damaged")
        end = begin + length
        total += length
    if total != stored:
        raise Damaged("the map of a sparse file does not fit its size")
    return numbers


def _records(content: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield the records of an extended header: "LENGTH KEY=VALUE\\n"."""
    place = 0
    while place < len(content):
        digits, blank, _ = content[place : place + 20].partition(b" ")
        end = place + _decimal(digits)
        key, equals, value = content[place + len(digits) + 1 : end - 1].partition(b"=")
        if not blank or not equals or not place < end <= len(content) or content[end - 1] != ord("\n"):
            raise Damaged("an extended header is damaged")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse."):
            yield key, value
        place = end


def _number(field: bytes) -> int:
    """Return a header's number: octal digits, or binary if it is too large for those."""
    if field[0] == 0x80:
        return _in_range(int.from_bytes(field[1:], "big"))
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise Damaged("a header has no number where one belongs")
    return int(digits or b"0", 8)


def _decimal(text: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,%d}" % _LONGEST_NUMBER, text):
        raise Damaged("a header has no number where one belongs")
    return _in_range(int(text))


def _in_range(number: int) -> int:
    if number >= 1 << 63:
        raise Damaged("a header has a number that is out of range")
    return number
