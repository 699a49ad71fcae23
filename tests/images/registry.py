"""Registry hives as Windows has them, made by hivex."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

from .trees import Tree

SOFTWARE = r"""Windows Registry Editor Version 5.00

[\Microsoft\Windows NT\CurrentVersion]
"ProductName"="Windows 7 Professional"
"InstallationType"="Client"
"CurrentVersion"="6.1"
"CurrentBuild"="7601"

[\Microsoft\Windows\CurrentVersion\Uninstall\Editor]
"DisplayName"="An Editor"
"DisplayVersion"="1.2.3"
"Publisher"="Example"
"""

SYSTEM = r"""Windows Registry Editor Version 5.00

[\Select]
"Current"=dword:00000001

[\ControlSet001\Services\Tcpip\Parameters]
"Hostname"="WINGUEST"

[\MountedDevices]
"""


def windows() -> Tree:
    """Windows 7: its system directory, its hives, and a program that shows the architecture."""
    config = "Windows/System32/config"
    return {
        f"{config}/SOFTWARE": hive(SOFTWARE),
        f"{config}/SYSTEM": hive(SYSTEM),
        "Windows/System32/cmd.exe": program(),
        "Windows/System32/drivers/etc/hosts": "",
        "Program Files": None,
        "Users": None,
        "autoexec.bat": "",
    }


def program() -> bytes:
    """Return the headers of a 64-bit program for Windows."""
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 0, 0, 0, 0, 240, 0x22)
    return b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + coff + struct.pack("<H", 0x20B).ljust(240, b"\0")


def hive(registry: str) -> bytes:
    """Return a hive with these keys."""
    with tempfile.TemporaryDirectory() as directory:
        path, text = Path(directory, "hive"), Path(directory, "text.reg")
        path.write_bytes(empty_hive())
        text.write_text(with_parents(registry))
        subprocess.run(["hivexregedit", "--merge", path, text], check=True, capture_output=True)
        return path.read_bytes()


def with_parents(registry: str) -> str:
    """Add every key's parents before it, since hivexregedit does not create them."""
    lines: list[str] = []
    known: set[str] = set()
    for line in registry.splitlines():
        names = line[1:-1].split("\\") if line.startswith("[") else []
        for depth in range(2, len(names)):
            parent = "\\".join(names[:depth])
            if parent not in known:
                lines += [f"[{parent}]", ""]
            known.add(parent)
        known.add("\\".join(names))
        lines.append(line)
    return "\n".join(lines) + "\n"


def empty_hive() -> bytes:
    """Return a header, and one block with only a root key and its security key."""
    name = b"$$$PROTO.HIV"
    key = struct.pack(
        "<2sHQIIIIIIIIIIIIIIIHH",
        *(b"nk", 0x2C, 0, 0, 0xFFFFFFFF, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF),
        *(0x80, 0xFFFFFFFF, 0, 0, 0, 0, 0, len(name), 0),
    )
    root = _cell(key + name)
    security = _cell(struct.pack("<2sHIIII", b"sk", 0, 0x20 + len(root), 0x20 + len(root), 1, 20) + bytes(20))
    used = root + security
    free = 4096 - 0x20 - len(used)
    block = (
        struct.pack("<4sIIQQI", b"hbin", 0, 4096, 0, 0, 0) + used + struct.pack("<i", free).ljust(free, b"\0")
    )
    header = struct.pack("<4sIIQIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, 0x20, 4096) + struct.pack("<I", 1)
    header = header.ljust(508, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", header):
        checksum ^= word
    return (header + struct.pack("<I", checksum)).ljust(4096, b"\0") + block


def _cell(content: bytes) -> bytes:
    """Return a cell that is in use, which a negative size marks."""
    size = (len(content) + 4 + 7) // 8 * 8
    return struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
