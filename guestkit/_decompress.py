"""Decompression in small steps, so that a limit or a cancel takes effect soon.

The standard library's readers return only when they have data: a file of empty streams or an endless header
keeps them busy for as long as its author likes. Here each step reads little, yields little, and checks the
limits.
"""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from guestkit._extras import missing
from guestkit.errors import Error

CHUNK = 1 << 20  # bytes that a step yields at most
_PIECE = 1 << 16  # bytes that a step reads at most
_MEMORY = 256 << 20  # for a decompressor's dictionary; xz -9 needs 65 MiB


class Meter:
    """Enforces the limits on input, output and time. For a single thread."""

    def __init__(
        self,
        op: str,
        size: int,
        seconds: float,
        beat: Callable[[], object],
        clock: Callable[[], float],
    ) -> None:
        """Start the clock.

        size: the most output of one layer, in bytes
        beat: called at every step; an exception from it ends the work
        clock: returns the time, in seconds
        """
        self._op = op
        self._size = size
        self._seconds = seconds
        self._beat = beat
        self._clock = clock
        self._end = clock() + seconds
        self._made: dict[int, int] = {}
        self._read: dict[int, int] = {}

    def look(self) -> None:
        """Raise if the work is cancelled or out of time."""
        self._beat()
        if self._clock() > self._end:
            raise Error(self._op, f"takes longer than {self._seconds:g} s to unpack", errno.ETIMEDOUT)

    def read(self, layer: int, size: int) -> None:
        """Count a layer's input, which may hardly exceed the limit for its output."""
        self._read[layer] = self._read.get(layer, 0) + size
        if self._read[layer] > self._size + self._size // 50 + CHUNK:
            raise Error(self._op, f"holds more than {self._size} bytes that are packed", errno.EFBIG)

    def made(self, layer: int, size: int) -> None:
        """Count a layer's output, including holes."""
        self._made[layer] = self._made.get(layer, 0) + size
        if self._made[layer] > self._size:
            raise Error(self._op, f"becomes larger than {self._size} bytes when it is unpacked", errno.EFBIG)


class Source:
    """A packed file. The meter counts everything that is read from it."""

    def __init__(self, descriptor: int, meter: Meter, layer: int) -> None:
        self._descriptor = descriptor
        self._meter = meter
        self._layer = layer
        self._position = 0
        self.size = os.lseek(descriptor, 0, os.SEEK_END)

    def look(self) -> None:
        """As `Meter.look`."""
        self._meter.look()

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most that many; b"" at the end."""
        found = self.at(self._position, size)
        self._position += len(found)
        return found

    def at(self, offset: int, size: int) -> bytes:
        """Return the bytes at that offset, at most that many; b"" at the end."""
        self.look()
        found = os.pread(self._descriptor, size, offset)
        self._meter.read(self._layer, len(found))
        return found

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield that many bytes, starting at that offset."""
        end = offset + size
        while offset < end:
            if not (piece := self.at(offset, min(end - offset, CHUNK))):
                raise EOFError("the file ends too early")
            yield piece
            offset += len(piece)


class _Stream(Protocol):
    """The interface of the decompressors in bz2 and lzma."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


class _Zstd:
    """zstandard cannot limit its output, so the input is kept small: four bytes become at most 128 KiB."""

    PIECE = 1 << 10
    needs_input = True

    def __init__(self, context: Any) -> None:
        self._stream = context.decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._stream.decompress(data))


def _maker(op: str, kind: str) -> tuple[Callable[[], _Stream], int]:
    """Return the function that creates a decompressor, and how much to feed it at once."""
    if kind == "gzip":
        return _Gzip, _PIECE
    if kind == "bzip2":
        return bz2.BZ2Decompressor, _PIECE
    if kind == "xz":
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), _PIECE
    if kind != "zstd":
        raise ValueError(kind)
    try:
        import zstandard
    except ImportError:
        raise missing(op, "zstandard", "unpacking .zst", "zstd") from None
    context = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
    return lambda: _Zstd(context), _Zstd.PIECE


def errors_of(kind: str) -> tuple[type[Exception], ...]:
    """Return the exceptions for a file of that kind that is damaged or cannot be read."""
    errors = (OSError, EOFError, zlib.error, lzma.LZMAError)
    zstandard = sys.modules.get("zstandard") if kind == "zstd" else None
    return errors if zstandard is None else (*errors, zstandard.ZstdError)


def decompressed(op: str, source: Source, kind: str) -> Iterator[bytes]:
    """Decompress "gzip", "bzip2", "xz" or "zstd", in one stream or several; yield the data.

    Raises what `errors_of` lists for a file that is damaged or ends too early.
    """
    make, piece = _maker(op, kind)
    stream = make()
    given = source.read(piece)
    while True:
        source.look()
        chunk = stream.decompress(given, CHUNK)
        for place in range(0, len(chunk), CHUNK):
            yield chunk[place : place + CHUNK]
        given = b""
        if stream.eof:  # others may follow, with zeros between
            given = stream.unused_data.lstrip(b"\0")
            while not given:
                if not (more := source.read(piece)):
                    return
                given = more.lstrip(b"\0")
            stream = make()
        elif stream.needs_input and not (given := source.read(piece)):
            raise EOFError("the file ends before its end-of-stream marker")
