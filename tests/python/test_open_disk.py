"""open_disk() refuses images that would make QEMU read other files of the host; add_drive lets it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from guestkit import AsyncGuestfs, CallTimeout, DiskConverter, Error, Guestfs, inspect, probe, under
from guestkit.opening import OpenDiskOptions
from tests.images.encrypted import luks_options, patiently
from tests.images.naming import (
    HOSTILE,
    Make,
    as_json,
    format_of,
    overlay,
    qemu_img,
    vmdk_of,
    with_data_file,
    with_extent,
)
from tests.images.writer import read_by_a_guest, written_to

MIB = 1 << 20

SECRET = b"\0a secret of the host".ljust(MIB, b".")
PLAIN = b"\0what stands on the disk".ljust(MIB, b",")


@pytest.fixture
def private(g: Guestfs, tmp_path: Path) -> Path:
    """The directory of the handle's temporary files."""
    folder = tmp_path / "private"
    folder.mkdir()
    g.set_tmpdir(folder)
    return folder


@pytest.fixture
def read(private: Path, tmp_path: Path) -> Callable[[], bytes]:
    """Return what QEMU reads from the disk that was added last, through guestkit's overlay."""

    def read() -> bytes:
        overlays = [*private.rglob("overlay*"), *private.rglob("disk-*")]
        newest = max(overlays, key=lambda path: path.stat().st_mtime_ns)
        qemu_img("convert", "-f", "qcow2", "-O", "raw", newest, tmp_path / "read")
        return (tmp_path / "read").read_bytes()

    return read


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "host" / "secret"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.img"
    path.write_bytes(PLAIN)
    return path


@pytest.mark.parametrize("make", HOSTILE)
@pytest.mark.parametrize("stated", [True, False])
def test_an_image_that_names_a_file_of_the_host(
    g: Guestfs,
    read: Callable[[], bytes],
    tmp_path: Path,
    secret: Path,
    make: Make,
    stated: bool,
) -> None:
    image = make(tmp_path / "disk", secret)
    g.add_drive(image, readonly=True)
    assert read() == SECRET

    format_ = format_of(make) if stated else None
    with pytest.raises(Error, match="refers to another file of this host") as caught:
        g.open_disk(image, format=format_)
    assert (caught.value.op, caught.value.errno) == ("open_disk", errno.EACCES)
    assert str(image) in str(caught.value)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(Error, match=r"is not beneath|which is no file|format .* was not stated"):
        g.open_disk(image, format=format_, backing=under(elsewhere))
    if not stated:
        with pytest.raises(
            Error,
            match="the guest of a raw disk can write such a header; state format=, from where you know it",
        ):
            g.open_disk(image, backing="allow")
    assert len(g.debug_drives()) == 1


@pytest.mark.parametrize("make", [make for make in HOSTILE if make is not as_json])
@pytest.mark.parametrize("backing", ["allow", "under"])
def test_files_that_were_permitted_are_read(
    g: Guestfs,
    read: Callable[[], bytes],
    tmp_path: Path,
    secret: Path,
    make: Make,
    backing: Any,
) -> None:
    image = make(tmp_path / "disk", secret)
    policy = under(tmp_path) if backing == "under" else backing
    info = g.open_disk(image, format=format_of(make), backing=policy)
    assert (info.virtual_size, len(info.references)) == (MIB, 1)
    assert read() == SECRET


@pytest.mark.parametrize(
    "name", ["nbd:unix:/nowhere", "nbd://127.0.0.1/x", "fat:/etc", "json:{}", "a:b", "/etc:x"]
)
def test_a_backing_file_that_is_no_file(g: Guestfs, tmp_path: Path, name: str) -> None:
    image = overlay(tmp_path / "disk", name)
    with pytest.raises(Error, match="which is no file" if name != "/etc:x" else "no such file"):
        g.open_disk(image, format="qcow2", backing="allow", protocols=("file", "nbd"))


def test_what_a_guessed_backing_file_may_be(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, secret: Path
) -> None:
    # The middle image's format is not stated: QEMU would guess it from bytes that a guest can write.
    middle = overlay(tmp_path / "middle", secret)
    image = overlay(tmp_path / "disk", middle, None)
    g.add_drive(image, readonly=True)
    assert read() == SECRET
    for backing in ("allow", under(tmp_path)):
        with pytest.raises(Error, match=f"{middle}: refers to another file .* format .* was not stated"):
            g.open_disk(image, format="qcow2", backing=backing)
    # The stated format is one that QEMU knows, but guestkit does not.
    for other in ("vvfat", "qed", "nbd"):
        with pytest.raises(Error, match="does not read the format"):
            g.open_disk(overlay(tmp_path / "disk", middle, other), format="qcow2", backing="allow")


def test_a_long_chain_a_circle_and_a_missing_file(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path
) -> None:
    below, kind = plain, "raw"
    for number in range(40):
        below, kind = overlay(tmp_path / f"layer{number}", below.name, kind), "qcow2"
    g.open_disk(below, format="qcow2", backing=under(tmp_path))
    assert read() == PLAIN

    overlay(tmp_path / "layer0", "layer39", "qcow2")
    with pytest.raises(Error, match="layer39: refers to itself"):
        g.open_disk(below, format="qcow2", backing="allow")
    overlay(tmp_path / "layer0", "mis\x1b[31m\nsing")
    with pytest.raises(Error, match=r'mis\\x1b\[31m\\x0asing": no such file'):
        g.open_disk(below, format="qcow2", backing="allow")


@pytest.mark.parametrize(
    "options",
    [
        {"O": "raw"},
        {"O": "qcow"},
        {"O": "qcow2"},
        {"O": "qcow2", "o": "extended_l2=on,cluster_size=2M"},
        {"O": "qcow2", "o": "compression_type=zstd", "c": None},
        {"O": "qcow2", "o": "cluster_size=512"},
        {"O": "vmdk"},
        {"O": "vmdk", "o": "subformat=streamOptimized"},
        {"O": "vmdk", "o": "subformat=monolithicFlat"},
        {"O": "vmdk", "o": "subformat=twoGbMaxExtentSparse"},
        {"O": "vpc", "o": "force_size=on"},
        {"O": "vpc", "o": "subformat=fixed,force_size=on"},
        {"O": "vhdx"},
        {"O": "vdi"},
    ],
    ids=lambda options: "-".join(filter(None, options.values())),
)
@pytest.mark.parametrize("size", [MIB, 5 * MIB + 512 * 3])
def test_every_format_is_read(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, options: dict[str, str | None], size: int
) -> None:
    content = (PLAIN * 6)[:size]
    (tmp_path / "raw").write_bytes(content)
    image = tmp_path / "image.vmdk"
    words = [word for key, value in options.items() for word in (f"-{key}", value) if word]
    qemu_img("convert", "-f", "raw", *words, tmp_path / "raw", image)
    info = g.open_disk(image, format=options["O"], backing=under(tmp_path))
    assert info.format == options["O"]
    got = read()
    assert got[:size] == content
    assert not any(got[size:])


def test_no_disk_of_esxi_could_be_opened(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path
) -> None:
    """guestkit's own description of it had an offset, which QEMU permits in lines of another kind only."""
    disk = vmdk_of(tmp_path / "web.vmdk", "vmfs", f'RW {MIB // 512} VMFS "{plain.name}"')
    g.open_disk(disk, format="vmdk", backing=under(tmp_path))
    assert read() == PLAIN


def test_what_is_missing_of_files_that_an_image_names_passed_for_zeros(g: Guestfs, tmp_path: Path) -> None:
    def truncated(disk: Path) -> bool:
        return g.open_disk(disk, format=probe(disk).format, backing=under(tmp_path)).truncated

    base = tmp_path / "base.qcow2"
    (tmp_path / "full").write_bytes(PLAIN * 4)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "full", base)
    above = overlay(tmp_path / "above", overlay(tmp_path / "middle", base, "qcow2"), "qcow2")
    assert not truncated(above)
    os.truncate(base, MIB)
    assert truncated(above)

    flat = vmdk_of(tmp_path / "flat.vmdk", "twoGbMaxExtentFlat", f'RW {4 * MIB // 512} FLAT "full" 0')
    assert not truncated(flat)
    os.truncate(tmp_path / "full", 4 * MIB - 512)
    assert truncated(flat)
    with written_to(tmp_path / "full", "raw"):  # it still grows
        assert not truncated(flat)
    with pytest.raises(Error, match=r"above: is a truncated qcow2 image: part of .* refers to, is missing"):
        inspect(above, format="qcow2", backing=under(tmp_path))


def test_qemu_was_given_what_it_reads_of_no_disk(g: Guestfs, tmp_path: Path) -> None:
    """It then said that a backing file could not be opened, and so did the hint."""

    def refusal(kind: str, change: Callable[[bytearray], None]) -> Error:
        disk = tmp_path / f"disk.{kind}"
        qemu_img("create", "-f", kind, disk, "64M")
        content = bytearray(disk.read_bytes())
        change(content)
        disk.write_bytes(content)
        with pytest.raises(Error) as caught:
            g.open_disk(disk, format=kind)
        assert caught.value.errno == errno.ENOTSUP
        return caught.value

    def large_sectors(content: bytearray) -> None:
        item = content.index(uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le)
        (offset,) = struct.unpack_from("<I", content, item + 16)
        struct.pack_into("<I", content, content.index(b"metadata") + offset, 4096)

    def small_blocks(content: bytearray) -> None:
        struct.pack_into("<I", content, 376, 4096)
        struct.pack_into("<I", content, 384, 1 << 14)  # so many of them

    of = "is a VHDX with sectors of 4096 bytes; QEMU reads only those with sectors of 512"
    assert of in str(refusal("vhdx", large_sectors))
    of = "is a VDI with blocks of 4096 bytes; QEMU reads only those with blocks of 1 MiB"
    assert of in str(refusal("vdi", small_blocks))


def test_files_beside_a_link_to_an_image_were_looked_for_beside_the_image(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path
) -> None:
    """oVirt's volumes are links to devices elsewhere, and name one another by the links."""
    volumes, devices = tmp_path / "volumes", tmp_path / "devices"
    volumes.mkdir()
    devices.mkdir()
    plain.rename(devices / "1")
    overlay(devices / "2", "base", "raw")
    overlay(devices / "3", "../volumes/middle", "qcow2")
    for name, device in (("base", "1"), ("middle", "2"), ("top", "3")):
        (volumes / name).symlink_to(f"../devices/{device}")
    for policy in ("allow", under(tmp_path)):
        g.open_disk(volumes / "top", format="qcow2", backing=policy)
        assert read() == PLAIN
    with pytest.raises(Error, match=r"devices/base: no such file"):  # libguestfs gives QEMU the real name
        g.open_disk(volumes / "middle", format="qcow2", backing="allow", readonly=False)
    descriptor = os.open(devices / "2", os.O_RDONLY)
    with pytest.raises(Error, match=r"devices/base: no such file"):
        g.open_disk(f"/proc/self/fd/{descriptor}", format="qcow2", backing="allow")
    os.close(descriptor)


def test_a_raw_disk_whose_size_is_odd(g: Guestfs, read: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\1" * 1000)
    g.open_disk(tmp_path / "odd")
    assert read() == b"\1" * 1000 + bytes(24)


def test_a_large_disk(g: Guestfs, private: Path, tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", tmp_path / "large", "50T")
    g.open_disk(tmp_path / "large")
    (ours,) = private.rglob("disk-*")
    qemu_img("check", "-U", "-f", "qcow2", ours)
    assert ours.stat().st_blocks * 512 < MIB


NAMES = [
    "a,b",
    "a\"b'",
    "a\nb",
    "json:{}",
    "nbd://x",
    "fat:rw:x",
    "a:b",
    "%41",
    "caf\udce9",
    "-snapshot",
    "\\",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("readonly", [True, False])
def test_names_of_every_kind(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path, name: str, readonly: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = os.fsencode(folder / name.replace("/", "_")) if readonly else os.fsencode(folder / "x")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", plain, folder / "x")
    os.rename(folder / "x", path)
    given: Any
    for given in (path, os.fsdecode(path), Path(os.fsdecode(path))):
        with nullcontext(g) if readonly else Guestfs() as handle:
            handle.open_disk(given, readonly=readonly, format="qcow2")
    if readonly:
        assert read() == PLAIN
        top = overlay(tmp_path / "top", b"file:folder/" + os.path.basename(path), "qcow2")
        g.open_disk(top, format="qcow2", backing=under(folder))
        assert read() == PLAIN


def test_a_relative_name_with_a_colon_is_a_file(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("json:{}", "nbd:unix:x"):
        plain.rename(name)
        g.open_disk(name, protocols=("file", "nbd"))
        assert read() == PLAIN
        Path(name).rename(plain)


def test_a_disk_that_is_exchanged_after_the_check(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path, secret: Path
) -> None:
    g.open_disk(plain)
    plain.unlink()
    plain.symlink_to(secret)
    assert read() == PLAIN


def test_a_backing_file_that_is_exchanged_after_the_check(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, plain: Path, secret: Path
) -> None:
    g.open_disk(overlay(tmp_path / "disk", plain), format="qcow2", backing=under(tmp_path))
    plain.unlink()
    plain.symlink_to(secret)
    assert read() == PLAIN


def test_a_header_that_is_exchanged_after_the_check(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, secret: Path
) -> None:
    """A backing file that is written into the header after the check is ignored."""
    image = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    g.open_disk(image)
    image.write_bytes(overlay(tmp_path / "other", secret).read_bytes())
    assert read() == bytes(MIB)


def test_snapshots(g: Guestfs, read: Callable[[], bytes], tmp_path: Path) -> None:
    image = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    names = ["one", "with, comma", "snapshot.id=1", "snöw"]
    for number, name in enumerate(names):
        write = ["qemu-io", "-f", "qcow2", "-c", f"write -P {65 + number} 0 1M", str(image)]
        subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
        qemu_img("snapshot", "-c", name, image)
    for number, name in enumerate(names):
        assert g.open_disk(image, snapshot=name).format == "qcow2"
        assert read() == bytes([65 + number]) * MIB
    g.open_disk(image, snapshot="2")
    assert read() == b"B" * MIB
    with pytest.raises(Error, match='has no snapshot "none", but "one", "with, comma"'):
        g.open_disk(image, snapshot="none")
    with pytest.raises(Error, match="a snapshot is opened read-only"):
        g.open_disk(image, snapshot="one", readonly=False, format="qcow2")
    qemu_img("snapshot", "-c", "one", image)
    with pytest.raises(Error, match='more than one snapshot is called "one"'):
        g.open_disk(image, snapshot="one")


def bomb(path: Path, copies: int) -> Path:
    """Make a qcow2 with a snapshot in which one cluster of 4 KiB stands for all of so many times 2 MiB."""
    options = ["-o", "cluster_size=4k,compat=1.1"]
    qemu_img("create", "-q", "-f", "qcow2", *options, path, str(copies * 2 * MIB))
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -q -P 65 0 4k", str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    qemu_img("snapshot", "-c", "one", path)
    content = bytearray(path.read_bytes())
    (snapshots,) = struct.unpack_from(">Q", content, 64)
    (first,) = struct.unpack_from(">Q", content, snapshots)  # the snapshot's L1 table
    flags = 1 << 63  # of an entry whose cluster has one reference only
    (second,) = struct.unpack_from(">Q", content, first)
    (cluster,) = struct.unpack_from(">Q", content, second & ~flags)
    struct.pack_into(f">{copies}Q", content, first, *[second & ~flags] * copies)
    struct.pack_into(">512Q", content, second & ~flags, *[cluster & ~flags] * 512)
    path.write_bytes(content)
    return path


def test_a_snapshot_of_a_small_file_filled_the_disk(g: Guestfs, private: Path, tmp_path: Path) -> None:
    image = bomb(tmp_path / "disk", 128)
    assert image.stat().st_size < 32 << 10
    with pytest.raises(Error, match="disk: the snapshot becomes more than 1024 times as large") as caught:
        g.open_disk(image, snapshot="one")
    assert caught.value.errno == errno.EFBIG
    assert "qemu-img convert -l" in caught.value.hint
    assert list(private.rglob("disk-*")) == []

    g.open_disk(bomb(image, 8), snapshot="one")
    (copy,) = private.rglob("disk-*")
    assert copy.stat().st_size > 8 * 2 * MIB


def test_a_disk_that_is_written_to(g: Guestfs, tmp_path: Path, plain: Path, secret: Path) -> None:
    with pytest.raises(Error, match="needs its format stated: the guest of a raw disk") as caught:
        g.open_disk(plain, readonly=False)
    assert caught.value.cause == "format_unstated"
    assert caught.value.hint.startswith("state format=, from where you know it")
    image = overlay(tmp_path / "disk", plain)
    with pytest.raises(Error, match="refers to another file of this host"):
        g.open_disk(image, readonly=False, format="qcow2")
    g.open_disk(image, readonly=False, format="qcow2", backing=under(tmp_path))
    unstated = overlay(tmp_path / "unstated", plain, None)
    with pytest.raises(Error, match="does not state the format of .*: QEMU would guess"):
        g.open_disk(unstated, readonly=False, format="qcow2", backing="allow")
    (drive,) = g.debug_drives()
    assert "readonly" not in drive
    assert "format=qcow2" in drive


def test_what_cannot_be_a_disk_is_refused_before_it_can_hang(g: Guestfs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name, reason in [
        ("missing", "no such file"),
        ("fifo", "is a FIFO, not a disk image"),
        ("socket", "is a socket, not a disk image"),
        ("empty", "is empty"),
        (".", "is a directory, not a disk image"),
        ("/dev/zero", "is a character device, not a disk image"),
        ("a\nb", "no such file"),
    ]:
        for readonly in (True, False):
            with pytest.raises(Error, match=reason):
                g.open_disk(tmp_path / name, readonly=readonly, format="raw")
        with pytest.raises(Error, match=reason):
            g.open_disk(overlay(tmp_path / "disk", tmp_path / name), format="qcow2", backing="allow")


def test_an_encrypted_image_is_named_so(g: Guestfs, tmp_path: Path) -> None:
    secret = ["--object", "secret,id=s,data=secret", "-o", luks_options("encrypt.", format="luks")]
    patiently(lambda: qemu_img("create", "-q", "-f", "qcow2", *secret, tmp_path / "disk", "1M"))
    with pytest.raises(Error, match=r"is encrypted by QEMU \(luks\)"):
        g.open_disk(tmp_path / "disk")


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh9"])
def test_what_is_no_disk(g: Guestfs, tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "disk").write_bytes(magic.ljust(4096, b"\0"))
    with pytest.raises(Error, match="is no disk but a file that .* made: unpack it; .*state format=raw"):
        _open_natively(g, tmp_path / "disk")
    g.open_disk(tmp_path / "disk", format="raw")


def _open_natively(g: Guestfs, path: Path) -> None:
    g._open_disk(path, OpenDiskOptions().native("open_disk"))


def test_protocols(g: Guestfs, plain: Path) -> None:
    with pytest.raises(Error, match='"file" is not among the protocols'):
        g.open_disk(plain, protocols=("nbd",))
    with pytest.raises(Error, match='not "ftp"; nbdkit makes an NBD server'):
        g.open_disk(plain, protocols=("file", "ftp"))
    with pytest.raises(
        Error, match="nbd://localhost/x: is an NBD server; state protocols=nbd, and format=raw"
    ):
        g.open_disk("nbd://localhost/x", format="raw")
    for uri, reason in [
        ("nbd://localhost/x", "state format=raw"),
        ("nbd:///x", "a URI of this kind is"),
        ("nbd://localhost/?socket=/x", "a URI of this kind is"),
        ("nbd+unix:///x", "a URI of this kind is"),
        ("nbd+unix://host/x?socket=/x", "a URI of this kind is"),
        ("nbd://localhost/%41", "does not decode"),
    ]:
        with pytest.raises(Error, match=reason):
            g.open_disk(uri, format=None if "state" in reason else "raw", protocols=("nbd",))
    g.open_disk("nbd://localhost:10810/x", format="raw", readonly=False, protocols=("nbd",))
    g.open_disk("nbd+unix:///y?socket=/run/z", format="raw", readonly=False, protocols=("nbd",))
    assert [drive.split()[0] for drive in g.debug_drives()] == ["x", "y"]


def test_whatever_was_wrong_with_an_nbd_server_it_was_to_be_started_first(g: Guestfs) -> None:
    with pytest.raises(Error) as caught:
        g.open_disk("nbd+unix:///x?socket=/nowhere", format="raw", protocols=("nbd",))
    assert caught.value.message.startswith("nbd+unix:///x?socket=/nowhere: qemu-img: ")
    assert caught.value.message.endswith("qemu-img exited with error status 1")
    assert caught.value.hint == (
        "if nothing answers there, start the NBD server first: one that presents this export and that this "
        "user may connect to"
    )


@pytest.mark.parametrize("readonly", [True, False])
def test_nothing_is_left_behind(tmp_path: Path, plain: Path, readonly: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Guestfs(environment=False, accel="tcg") as g:
        g.set_tmpdir(tmp_path)
        with pytest.raises(Error, match="refers to another file"):
            g.open_disk(overlay(tmp_path / "disk", plain), readonly=readonly, format="qcow2")
        g.open_disk(plain, readonly=readonly, format="raw")
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_there(fd)]
        assert held.count(str(plain)) == 1
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list(tmp_path.glob("guestkit-*"))


def _is_there(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_add_drive_warns_once(python: Any, plain: Path) -> None:
    program = """
import sys, guestkit
with guestkit.Guestfs() as g:
    g.add_drive(sys.argv[1], format="raw")
    g.open_disk(sys.argv[1])
    print("nothing yet", file=sys.stderr)
    g.add_drive_ro(sys.argv[1])
    g.add_drive(sys.argv[1])
with guestkit.Guestfs() as g:
    g.add_drive_ro(sys.argv[1])
"""
    before, after = python(program, plain).stderr.split("nothing yet\n")
    assert before == ""
    assert after.count("\n") == 1
    assert after.startswith(
        "add_drive_ro: QEMU guesses the image's format, and opens every file of this host"
    )


def test_add_drive_said_that_qemu_guesses_a_format_that_was_stated(python: Any, plain: Path) -> None:
    program = """
import sys, guestkit
with guestkit.Guestfs() as g:
    g.add_drive(sys.argv[1], format="qcow2")
"""
    assert python(program, plain).stderr == (
        "add_drive: QEMU opens every file of this host that the image names; "
        "use open_disk for a disk that others can write to\n"
    )


def test_async(tmp_path: Path, plain: Path, secret: Path) -> None:
    async def run() -> None:
        async with AsyncGuestfs() as g:
            info = await g.open_disk(plain, format="raw")
            assert info.virtual_size == MIB
            with pytest.raises(Error, match="refers to another file"):
                await g.open_disk(overlay(tmp_path / "disk", secret))
            assert len(await g.debug_drives()) == 1

    asyncio.run(run())


def test_a_snapshot_s_copy_ends_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watchdog: None
) -> None:
    image = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    qemu_img("snapshot", "-c", "one", image)
    (tmp_path / "qemu-img").write_text(f"#!/bin/sh\n: > {tmp_path}/started\nsleep 1000\nexit 1\n")
    (tmp_path / "qemu-img").chmod(0o755)
    os.mkfifo(tmp_path / "started")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    async def run() -> None:
        async with AsyncGuestfs() as g:
            call = asyncio.create_task(_await(g.open_disk(image, snapshot="one")))
            await asyncio.to_thread((tmp_path / "started").read_bytes)  # a FIFO: returns once qemu-img runs
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await g.open_disk(image)

    asyncio.run(run())


def test_the_limit_of_a_call_holds_while_a_snapshot_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watchdog: None
) -> None:
    image = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    qemu_img("snapshot", "-c", "one", image)
    (tmp_path / "qemu-img").write_text("#!/bin/sh\nsleep 1000\nexit 1\n")
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with Guestfs(call_timeout=0.2) as g:
        with pytest.raises(CallTimeout) as caught:
            g.open_disk(image, snapshot="one")
        assert (caught.value.op, caught.value.seconds, caught.value.handle_usable) == ("open_disk", 0.2, True)
        g.open_disk(image)


async def _await(call: Any) -> Any:
    return await call


def test_wrong_arguments_are_python_s_own_errors(g: Guestfs, plain: Path) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"readonly": 1}, TypeError, "argument 'readonly' must be bool, not int"),
        ({"format": 1}, TypeError, "argument 'format' must be str"),
        ({"backing": "yes"}, ValueError, 'argument \'backing\' must be "refuse", "allow" or under'),
        ({"protocols": "file"}, TypeError, "argument 'protocols'"),
        ({"snapshot": 1}, TypeError, "argument 'snapshot' must be str"),
        ({"format": "ext4"}, Error, 'does not read the format "ext4"'),
    ]
    for options, kind, message in wrong:
        with pytest.raises(kind, match=message):
            g.open_disk(plain, **options)
    with pytest.raises(TypeError):
        under(1)  # type: ignore[arg-type]
    with pytest.raises(Error, match="no such directory for backing files: /nowhere"):
        g.open_disk(plain, backing=under("/nowhere"))


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://a.b/c.img", "(curl -fLO https://a.b/c.img), or have nbdkit serve"),
        ("http://a.b/c.img?d=e&f", "-U /tmp/disk.sock curl url='http://a.b/c.img?…'); open nbd+unix:"),
        ("ftp://a/it's", r"curl url='ftp://a/it'\''s')"),
        ("ssh://me@host:2022/a b", "nbdkit -r -U /tmp/disk.sock ssh host=host port=2022 user=me '/a b')"),
        ("sftp://host/a", "(scp scp://host/a .), or have nbdkit serve"),
        ("s3://bucket/key", "(aws s3 cp s3://bucket/key .)"),
        ("file:///images/a", "is a URL: give the path alone, /images/a"),
        ("rbd://pool/image", "have nbdkit or qemu-nbd serve it"),
        ("https://\x1b[2J/a", r'"https://\x1b[2J/a": is a URL'),
    ],
)
def test_a_url_is_told_what_to_type(g: Guestfs, url: str, meant: str) -> None:
    with pytest.raises(Error) as opened:
        g.open_disk(url)
    assert meant in str(opened.value)
    with pytest.raises(Error, match="is a URL") as probed:
        probe(url)  # which takes no NBD server either
    assert "nbdkit" not in str(probed.value)
    assert "\x1b" not in str([opened.value, probed.value])


def test_a_disk_that_is_not_there_may_have_been_meant_otherwise(
    g: Guestfs, tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").touch()
    (tmp_path / "folder").mkdir()
    for name, meant in {
        "plain.img:/etc/fstab": 'no such file, but there is the disk "plain.img"',
        f"{plain}:/a:/b": f'no such file, but there is the disk "{plain}"',
        "a:b:/c": 'no such file, but there is the disk "a:b"',
        "folder:/etc": "no such file",
        "~/disk": "no such file; it is shells that take ~ for a home directory",
        "plain.qcow2": 'no such file, but there is "plain.img"',
        "Plain.IMG": 'no such file, but there is "plain.img"',
        f"{tmp_path}/plain": 'no such file, but there is "plain.img"',
        "nothing": "no such file",
        "plain.img/x": "Not a directory",
    }.items():
        with pytest.raises(Error) as caught:
            g.open_disk(name)
        assert caught.value.message.endswith(meant)
        assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR)
        assert (caught.value.cause == "path_appended") == ("there is the disk" in meant)
    # A name inside an untrusted image must not make the error reveal which files the host has.
    with pytest.raises(Error, match="no such file$"):
        g.open_disk(overlay(tmp_path / "disk", tmp_path / "plain.raw"), format="qcow2", backing="allow")


# ---- disks in use


def _flat_extents(path: Path, plain: Path) -> Path:
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", plain, path)
    return path


def _converted(kind: str) -> Make:
    def make(path: Path, plain: Path) -> Path:
        qemu_img("convert", "-f", "raw", "-O", kind, plain, path)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_converted("raw"), "raw"),
        (_converted("qcow2"), "qcow2"),
        (_converted("vdi"), "vdi"),
        (_converted("vmdk"), "vmdk"),
        (_flat_extents, "vmdk"),
    ],
    ids=["raw", "qcow2", "vdi", "monolithicSparse", "twoGbMaxExtentFlat"],
)
def test_a_disk_in_use_is_read_and_the_log_says_so(
    g: Guestfs,
    read: Callable[[], bytes],
    tmp_path: Path,
    plain: Path,
    caplog: pytest.LogCaptureFixture,
    make: Make,
    kind: str,
) -> None:
    image = make(tmp_path / f"disk.{kind}", plain)
    assert not g.open_disk(image, format=kind, backing="allow").in_use
    assert not caplog.records
    with written_to(image, kind) as writer:
        assert g.open_disk(image, format=kind, backing="allow").in_use
        assert read() == PLAIN
        (line,) = [record.message for record in caplog.records]
        assert line.startswith(f"open_disk: {image}: qemu-nbd (process {writer}) writes to it")
        assert line.endswith("what is read may be inconsistent")
        assert probe(image, kind).in_use
        with pytest.raises(Error, match=f"is in use: qemu-nbd .process {writer}. writes to it") as caught:
            g.open_disk(image, format=kind, backing="allow", in_use="refuse")
        assert caught.value.errno == errno.EBUSY
    assert not probe(image, kind).in_use


def test_an_extent_or_a_data_file_in_use(g: Guestfs, read: Callable[[], bytes], tmp_path: Path) -> None:
    for make, kind in ((with_extent, "vmdk"), (with_data_file, "qcow2")):
        secret = tmp_path / f"data-{kind}"
        secret.write_bytes(SECRET)
        image = make(tmp_path / "disk", secret)
        with written_to(secret, "raw"):
            assert g.open_disk(image, format=kind, backing=under(tmp_path)).in_use
            assert read() == SECRET
            with pytest.raises(Error, match=f"{secret}: is in use"):
                g.open_disk(image, format=kind, backing=under(tmp_path), in_use="refuse")


@pytest.mark.parametrize("layers", [1, 3, 40])
def test_a_chain_whose_base_is_in_use(
    g: Guestfs,
    read: Callable[[], bytes],
    tmp_path: Path,
    plain: Path,
    caplog: pytest.LogCaptureFixture,
    layers: int,
) -> None:
    below, kind = plain, "raw"
    for number in range(layers):
        below, kind = overlay(tmp_path / f"layer{number}", below.name, kind), "qcow2"
    with written_to(plain, "raw"):
        assert g.open_disk(below, format="qcow2", backing=under(tmp_path)).in_use
        assert read() == PLAIN
        assert f"{plain}: qemu-nbd" in caplog.text
        assert not probe(below).in_use
        for options in ({"in_use": "refuse"}, {"readonly": False}):
            with pytest.raises(Error, match=f"{plain}: is in use"):
                g.open_disk(below, format="qcow2", backing="allow", **options)


def test_a_snapshot_of_a_disk_in_use(g: Guestfs, read: Callable[[], bytes], tmp_path: Path) -> None:
    image = tmp_path / "disk"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    qemu_img("snapshot", "-c", "before", image)
    with written_to(image, "qcow2"):
        g.open_disk(image, snapshot="before")
        assert read() == bytes(MIB)


def test_a_disk_in_use_is_not_written_to(g: Guestfs, tmp_path: Path, plain: Path) -> None:
    with written_to(plain, "raw") as writer:
        wanted = f"plain.img: is in use: qemu-nbd .process {writer}. writes to it; shut its guest down"
        with pytest.raises(Error, match=wanted) as caught:
            g.open_disk(plain, readonly=False, format="raw")
        assert caught.value.errno == errno.EBUSY
        with pytest.raises(Error, match="is in use"):
            DiskConverter().resize(plain, 2 * MIB, "raw")
    with read_by_a_guest(plain):
        assert not g.open_disk(plain).in_use
        with pytest.raises(Error, match="is in use: qemu-system-.* reads it, and does not allow others"):
            g.open_disk(plain, readonly=False, format="raw")
    g.open_disk(plain, readonly=False, format="raw")


@contextmanager
def as_device(disk: Path, *options: str) -> Iterator[str]:
    """Have a block device of this host hold what the file does."""
    attach = ["losetup", "--find", "--show", *options, str(disk)]
    done = subprocess.run(attach, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a block device of a file")
def test_a_device_that_the_host_has_mounted_was_opened_for_writing(
    plain: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: only QEMU's locks were asked, which neither mount nor LVM nor RAID takes."""
    with as_device(plain) as device:
        with Guestfs() as g:
            assert not g.open_disk(device, readonly=False, format="raw").in_use
        claimed = os.open(device, os.O_RDONLY | os.O_EXCL)  # as each of these does
        try:
            with Guestfs() as g:
                wanted = f"{device}: is in use: this host has mounted it, .*; unmount it"
                for options, cause in (
                    ({"readonly": False, "format": "raw"}, "disk_locked"),
                    ({"in_use": "refuse"}, "disk_in_use"),
                ):
                    with pytest.raises(Error, match=wanted) as caught:
                        g.open_disk(device, **options)
                    assert (caught.value.errno, caught.value.cause) == (errno.EBUSY, cause)
                assert g.open_disk(device).in_use
            assert "this host has mounted it" in caplog.text
            assert probe(device).in_use
        finally:
            os.close(claimed)
        assert not probe(device).in_use


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a block device of a file")
def test_threads_that_looked_at_a_device_took_each_other_for_its_user(plain: Path) -> None:
    """Regression: guestkit claims a device for a moment, to see whether it can."""
    with as_device(plain) as device, ThreadPoolExecutor(4) as pool:
        looks = pool.map(lambda _: probe(device, "raw").in_use, range(4000))
        assert not any(looks)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a block device of a file")
def test_a_device_that_nobody_can_write_to_was_in_use_once_it_was_mounted(plain: Path) -> None:
    with as_device(plain, "--read-only") as device, Guestfs() as g:
        claimed = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            assert not probe(device).in_use
            assert not g.open_disk(device, in_use="refuse").in_use
        finally:
            os.close(claimed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a block device of a file")
def test_a_device_that_the_host_has_mounted_was_never_truncated(tmp_path: Path, plain: Path) -> None:
    """Regression: only a file that is written to may still grow."""
    image = _converted("qcow2")(tmp_path / "disk.qcow2", plain)
    os.truncate(image, image.stat().st_size - 128 * 1024)
    with as_device(image) as device, Guestfs() as g:
        claimed = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            for found in (probe(device, "qcow2"), g.open_disk(device, format="qcow2")):
                assert (found.in_use, found.truncated) == (True, True)
        finally:
            os.close(claimed)


def test_who_refuses_disks_in_use_keeps_writers_out(
    g: Guestfs, private: Path, tmp_path: Path, plain: Path
) -> None:
    def reads(image: Path) -> bool:
        command = f"qemu-img convert -O raw {image} {tmp_path / 'out'}"
        return subprocess.run(command.split(), check=False, capture_output=True).returncode == 0

    g.open_disk(plain, in_use="refuse")
    (strict,) = private.rglob("disk-*")
    assert reads(strict)
    g.open_disk(plain)
    (lenient,) = set(private.rglob("disk-*")) - {strict}
    with written_to(plain, "raw"):  # begins after the check
        assert reads(lenient)
        assert not reads(strict)


def test_a_copy_of_a_disk_in_use_is_wanted_explicitly(tmp_path: Path, plain: Path) -> None:
    converter = DiskConverter()
    with written_to(plain, "raw"):
        result = converter.convert(plain, tmp_path / "copy")
        assert not result["success"]
        assert "is in use" in str(result["error"])
        assert converter.convert(plain, tmp_path / "copy", in_use="allow")["success"]
        assert converter.get_info(plain, "raw")["virtual-size"] == MIB


@pytest.mark.parametrize(
    ("options", "error"),
    [({"in_use": "maybe"}, ValueError), ({"blocksize": 1024}, ValueError), ({"readonly": 1}, TypeError)],
)
def test_nonsense_is_named(g: Guestfs, plain: Path, options: dict[str, Any], error: type[Exception]) -> None:
    (name,) = options
    with pytest.raises(error, match=rf"open_disk\(\) argument '{name}' must be"):
        g.open_disk(plain, **options)
