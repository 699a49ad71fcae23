"""Changes texts by their structure, and anything bit by bit."""

from __future__ import annotations

import random
import struct
import zlib

#: What readers of texts stumble over.
TOKENS = (
    b"", b"\x00", b"\xff\xfe", b"\x1b]0;owned\x07", b"\xe2\x80\xae", b"\t", b"\n\n", b"\r\n", b" ", b"=",
    b"'", b'"', b"\\", b"\\040", b"#", b"/", b"..", b"/../../usr/bin", b"/dev/sda1", b"/dev/zero", b"UUID=",
    b"LABEL=\\x2f..", b"PARTUUID=", b"/dev/mapper/..", b"subvol=../..", b"subvolid=999999999999", b"bind",
    b"$(touch /owned)", b"`touch /owned`", b"%s%n%999999d", b"-1", b"0", b"4294967296",
    b"99999999999999999999", b"1e999", b"nan", b"<!ENTITY a SYSTEM 'file:///etc/passwd'>", b"A" * 5000,
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def text(chance: random.Random, content: bytes) -> tuple[bytes, str]:
    """Return a text with some lines or words changed, and what was done."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    told = []
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        how = chance.choice((_drop, _double, _swap, _replace, _replace, _insert, _insert, _join, _long))
        how(chance, lines)
        told.append(how.__name__.lstrip("_"))
        lines = lines or [b""]
    changed = b"".join(lines)
    if chance.random() < 0.1:
        changed, times = _repeated(chance, changed)
        told.append(f"{times} times")
    if chance.random() < 0.15:
        changed = changed[: chance.randrange(len(changed) + 1)]
        told.append("cut")
    return changed, "+".join(dict.fromkeys(told))


def _drop(chance: random.Random, lines: list[bytes]) -> None:
    del lines[chance.randrange(len(lines))]


def _double(chance: random.Random, lines: list[bytes]) -> None:
    line = chance.choice(lines)
    lines[0:0] = [line] * chance.choice((1, 2, 600))


def _swap(chance: random.Random, lines: list[bytes]) -> None:
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _replace(chance: random.Random, lines: list[bytes]) -> None:
    """Replace a word of a line."""
    at = chance.randrange(len(lines))
    words = lines[at].split(b" " if b" " in lines[at] else b"=")
    words[chance.randrange(len(words))] = chance.choice(TOKENS)
    lines[at] = (b" " if b" " in lines[at] else b"=").join(words)


def _insert(chance: random.Random, lines: list[bytes]) -> None:
    """Insert something anywhere in a line."""
    at = chance.randrange(len(lines))
    place = chance.randrange(len(lines[at]) + 1)
    lines[at] = lines[at][:place] + chance.choice(TOKENS) + lines[at][place:]


def _join(chance: random.Random, lines: list[bytes]) -> None:
    at = chance.randrange(len(lines))
    lines[at] = lines[at].rstrip(b"\n")


def _long(chance: random.Random, lines: list[bytes]) -> None:
    at = chance.randrange(len(lines))
    lines[at] = lines[at].rstrip(b"\n") + chance.choice((b"x", b"a b ", b"\\", b"\xff")) * 70000 + b"\n"


def _repeated(chance: random.Random, content: bytes) -> tuple[bytes, int]:
    times = min(chance.choice((2, 50, 5000)), (4 << 20) // (len(content) + 1) + 1)
    return content * times, times


def bits(chance: random.Random, content: bytes) -> tuple[bytes, str]:
    """Return the bytes with some of them changed, and what was done."""
    changed = bytearray(content)
    told = []
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if not changed:
            break
        how = chance.choice(("bit", "bit", "byte", "number", "zeros", "move"))
        at = chance.randrange(len(changed))
        if how == "bit":
            changed[at] ^= 1 << chance.randrange(8)
        elif how == "byte":
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif how == "number":
            form = chance.choice(("<I", ">I", "<Q", ">Q", "<H"))
            at -= at % struct.calcsize(form)
            number = struct.pack(
                form, chance.choice(NUMBERS) & 0xFFFF if form == "<H" else chance.choice(NUMBERS)
            )
            changed[at : at + len(number)] = number[: len(changed) - at]
        else:
            size = min(chance.choice((4, 16, 512, 4096)), len(changed) - at)
            source = chance.randrange(len(changed) - size + 1)
            changed[at : at + size] = bytes(size) if how == "zeros" else changed[source : source + size]
        told.append(f"{how} at {at}")
    if chance.random() < 0.1:
        del changed[chance.randrange(len(changed) + 1) :]
        told.append("cut")
    return bytes(changed), ", ".join(told[:4]) + (f" and {len(told) - 4} more" if len(told) > 4 else "")


def gpt(chance: random.Random, disk: bytearray) -> str:
    """Change a GPT's header or entries so that its checksums hold; return what was done."""
    header, entries = 512, 1024
    size = struct.unpack_from("<I", disk, header + 12)[0]
    if chance.random() < 0.5:  # where it begins and ends, or any field but the checksums
        field = chance.choice((24, 32, 40, 48, 72, 80, 84))
        struct.pack_into("<I", disk, header + field, chance.choice(NUMBERS))
        told = f"GPT's header at {field}"
    else:
        field = entries + 128 * chance.randrange(4) + chance.choice((0, 16, 32, 40, 48, 56))
        struct.pack_into("<Q", disk, field, chance.choice(NUMBERS))
        told = f"GPT's entry at {field}"
    count, length = struct.unpack_from("<II", disk, header + 80)
    if count * length <= 1 << 20:
        struct.pack_into("<I", disk, header + 88, zlib.crc32(disk[entries : entries + count * length]))
    if 92 <= size <= 512:
        struct.pack_into("<I", disk, header + 16, 0)
        struct.pack_into("<I", disk, header + 16, zlib.crc32(disk[header : header + size]))
    return told
