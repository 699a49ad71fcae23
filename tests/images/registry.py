"""Windows as far as an inspection looks at it: its hives, some made by hivex, and its programs."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import uuid
from pathlib import Path

from . import hives
from .hives import BINARY, EXPANDABLE, Key
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
    head = b"MZ".ljust(24, b"\0") + struct.pack("<H", 64)
    return head.ljust(60, b"\0") + struct.pack("<I", 64) + coff + struct.pack("<H", 0x20B).ljust(240, b"\0")


def program_of_32_bits() -> bytes:
    """Return the same for 32 bits."""
    start = program()
    return start[:88] + struct.pack("<H", 0x10B) + start[90:]


#: Where Windows lists installed programs, those of 32 bits apart.
UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
UNINSTALL_32 = "WOW6432Node\\" + UNINSTALL


def software(product: str = "Windows 10 Pro", build: str = "19045") -> Key:
    """Return the software of a Windows 10: programs of both kinds, some of which are oddly described."""
    root = Key()
    root.at(r"Microsoft\Windows NT\CurrentVersion").values = {
        **hives.texts(
            {
                "SystemRoot": r"C:\Windows",
                "ProductName": product,
                "InstallationType": "Client",
                "CurrentVersion": "6.3",
                "CurrentBuild": build,
                "CurrentBuildNumber": build,
            }
        ),
        "CurrentMajorVersionNumber": hives.number(10),
        "CurrentMinorVersionNumber": hives.number(0),
    }
    apps = root.at(UNINSTALL)
    apps.at("7-Zip").values = hives.texts(
        {
            "DisplayName": "7-Zip 23.01 (x64)",
            "displayversion": "23.01",
            "InstallLocation": r"C:\Program Files\7-Zip" + "\\",
            "Publisher": "Igor Pavlov",
            "URLInfoAbout": "https://www.7-zip.org",
            "Comments": "packs \u263a and \U0001f4e6",
        }
    )
    apps.at("Übergröße").values = {
        **hives.texts({"DisplayName": "Über größere Größen"}),
        "Größe": hives.number(7),
    }
    apps.at("日本語").values = {**hives.texts({"DisplayName": "日本語入力"}), "版": hives.text("1")}
    apps.at("{90160000-0000}").values = {
        "DisplayName": (EXPANDABLE, "%ProgramFiles%".encode("utf-16-le")),  # without a NUL
        "DisplayVersion": hives.number(16),  # no text
        "Publisher": (hives.TEXT, "Example\0\0".encode("utf-16-le") + b"\0\xd8\0"),  # anything behind the NUL
        "InstallLocation": (hives.TEXT, b""),
        "Comments": (hives.TEXT, "odd".encode("utf-16-le") + b"!"),
    }
    apps.at("Shared").values = hives.texts({"DisplayName": "Shared (64-bit)"})
    apps.at("AddressBook")
    apps.at("Nameless").values = hives.texts({"DisplayVersion": "1"})
    apps.at("Numbered").values = {"DisplayName": hives.number(1)}
    root.at(r"Microsoft\Windows Defender").values = {"DisableAntiVirus": hives.number(0)}
    others = root.at(UNINSTALL_32)
    others.at("Shared").values = hives.texts({"DisplayName": "Shared (32-bit)"})
    others.at("Viewer").values = hives.texts({"DisplayName": "A Viewer", "DisplayVersion": "4.0"})
    return root


def with_filling(root: Key, megabytes: int, programs: int) -> Key:
    """Fill a hive as years of use do: classes and components, and programs installed now and then."""
    keys = 500 * megabytes
    classes = root.at(r"Classes\CLSID")
    vendors = root.at("Microsoft")
    for i in range(keys):
        parent = vendors if i % 50 == 0 else classes
        key = parent.at(f"{{{i:08X}-{i * 7919 % 65536:04X}}}")
        key.when = i / keys
        key.values = {"": hives.text(f"Class {i} " * 40), "Data": (BINARY, bytes([i % 251]) * 900)}
    apps = root.at(UNINSTALL)
    for i in range(programs):
        app = apps.at(f"{{APP-{i:04}}}")
        app.when = (i + 0.5) / programs
        app.values = hives.texts({f"Setting{j}": f"value {j}" for j in range(12)})
        app.values |= hives.texts(
            {"DisplayName": f"Program {i}", "DisplayVersion": f"1.{i}", "Publisher": f"Company {i % 9}"}
        )
    return root


def mounted_in_gpt(guid: str) -> tuple[int, bytes]:
    """Return how the registry names a GPT partition."""
    return BINARY, b"DMIO:ID:" + uuid.UUID(guid).bytes_le


def mounted_in_mbr(signature: bytes, offset: int) -> tuple[int, bytes]:
    """Return how the registry names a partition of an MBR."""
    return BINARY, signature + struct.pack("<Q", offset)


def system(drives: dict[str, tuple[int, bytes]], host: str = "DESKTOP-ÄÖ") -> Key:
    """Return the settings of a Windows with these drive letters."""
    root = Key()
    root.at("Select").values = {"Current": hives.number(2), "Default": hives.number(1)}
    for number in (1, 2):
        parameters = root.at(rf"ControlSet00{number}\Services\Tcpip\Parameters")
        parameters.values = hives.texts({"Hostname": host if number == 2 else "OLD", "Domain": ""})
    floppy = r"\??\FDC#GENERIC_FLOPPY_DRIVE".encode("utf-16-le")
    root.at("MountedDevices").values = {
        r"\DosDevices\A:": (BINARY, floppy),
        r"\??\Volume{01234567-0000-0000-0000-000000000000}": (BINARY, bytes(12)),
        **{rf"\DosDevices\{letter}:": drive for letter, drive in drives.items()},
        r"\DosDevices\X:": (BINARY, b"DMIO:ID:" + bytes(16)),
        r"\DosDevices\Y:": hives.text("text"),
    }
    return root


def windows_10(software_hive: bytes, system_hive: bytes, files: int = 0) -> Tree:
    """Return the files of a Windows 10.

    Args:
        software_hive: its registry's software
        system_hive: its registry's settings
        files: how many there are in its system directory besides
    """
    config = "Windows/System32/config"
    return {
        f"{config}/SOFTWARE": software_hive,
        f"{config}/SYSTEM": system_hive,
        "Windows/System32/cmd.exe": program(),
        **{f"Windows/System32/module{i:04}.dll": "" for i in range(files)},
        "Program Files": None,
        "Program Files (x86)": None,
        "ProgramData": None,
        "System Volume Information": None,
        "Users": None,
        "pagefile.sys": "",
    }


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
