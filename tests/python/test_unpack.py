"""Compressed disks and OVA archives, opened by open_disk() within bounds."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from guestkit import AsyncGuestfs, Error, Guestfs, ImageInfo, UnpackLimits

MIB = 1 << 20
PLAIN = bytes(MIB) + b"what stands on the disk".ljust(MIB, b",") + bytes(MIB)

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def read(g: Guestfs, tmp_path: Path) -> Callable[[], bytes]:
    folder = tmp_path / "private"
    folder.mkdir()
    g.set_tmpdir(folder)

    def read() -> bytes:
        newest = max(folder.rglob("disk-*"), key=lambda path: path.stat().st_mtime_ns)
        command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(newest), str(tmp_path / "read")]
        subprocess.run(command, check=True)
        return (tmp_path / "read").read_bytes()

    return read


def as_format(image_format: str, folder: Path) -> bytes:
    (folder / "source").write_bytes(PLAIN)
    options = ["-o", "subformat=streamOptimized"] if image_format == "vmdk" else []
    command = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        image_format,
        *options,
        str(folder / "source"),
        str(folder / "out"),
    ]
    subprocess.run(command, check=True)
    return (folder / "out").read_bytes()


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_compressed_disk(
    g: Guestfs, read: Callable[[], bytes], tmp_path: Path, kind: str, image_format: str
) -> None:
    content = as_format(image_format, tmp_path)
    half = len(content) // 2
    pack = PACK[kind]
    for number, packed in enumerate([pack(content), pack(content[:half]) + pack(content[half:])]):
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(packed)
        info = g.open_disk(path)
        assert (info.format, info.virtual_size) == (image_format, 3 * MIB)
        assert read() == PLAIN
    # Nothing of it has a name, and a stated format means the file itself.
    assert {path.name for path in tmp_path.iterdir()} <= {
        "private",
        "source",
        "out",
        f"0.{kind}",
        f"1.{kind}",
        "read",
    }
    assert g.open_disk(path, format="raw").virtual_size == path.stat().st_size
    with pytest.raises(Error, match="is no disk but a file that .* made"):
        g.open_disk(path, unpack=None)


@pytest.mark.parametrize("packed", [False, True])
def test_an_ova(g: Guestfs, read: Callable[[], bytes], tmp_path: Path, packed: bool) -> None:
    vmdk = as_format("vmdk", tmp_path)
    path = tmp_path / "machine.ova"
    disk = {"../../disk1.vmdk.gz": gzip.compress(vmdk)} if packed else {"/disk1.VMDK": vmdk}
    path.write_bytes(archive({"machine.ovf": b"<Envelope/>", "machine.mf": b"SHA1", **disk}))
    assert g.open_disk(path).format == "vmdk"
    assert read() == PLAIN


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(os.urandom(5000))[:-1000], "cannot be unpacked"),
        (gzip.compress(PLAIN)[:-1], "cannot be unpacked"),
        (lzma.compress(os.urandom(5000))[:3000], "cannot be unpacked"),
        (bz2.compress(PLAIN)[:-20], "cannot be unpacked"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "cannot be unpacked"),
        (lzma.compress(b"x" * 100, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]), "[Mm]emory"),
        (gzip.compress(b""), "is empty"),
        (
            archive({"one.vmdk": b"x" * 512, "two.vmdk": b"y" * 512}),
            "holds one disk; this one holds 'one.vmdk', 'two",
        ),
        (archive({"readme": b"x"}), "this one holds none"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(PLAIN)))), "more than three times"),
        (b"x" * 257 + b"ustar" + b"y" * 1000, "is no archive|this one holds none"),
    ],
    ids=range(11),
)
def test_what_cannot_be_unpacked(g: Guestfs, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(content)
    with pytest.raises(Error, match=message) as caught:
        g.open_disk(path)
    assert str(path) in str(caught.value)
    assert g.debug_drives() == []


def test_a_backing_file_inside_is_refused(g: Guestfs, tmp_path: Path) -> None:
    command = [
        "qemu-img",
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "/etc/passwd",
        "-F",
        "raw",
        str(tmp_path / "x"),
        "1M",
    ]
    subprocess.run(command, check=True)
    (tmp_path / "x.gz").write_bytes(gzip.compress((tmp_path / "x").read_bytes()))
    for backing in ("refuse", "allow"):
        with pytest.raises(
            Error, match=r'x\.gz \(unpacked\): refers to another file of this host, "/etc/passwd"'
        ):
            g.open_disk(tmp_path / "x.gz", backing=backing)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (UnpackLimits(size=2 * MIB), "becomes larger than 2097152 bytes"),
        (UnpackLimits(seconds=0), "takes longer than 0 s to unpack"),
    ],
)
def test_limits(g: Guestfs, tmp_path: Path, limits: UnpackLimits, message: str) -> None:
    (tmp_path / "disk.gz").write_bytes(gzip.compress(PLAIN))
    with pytest.raises(Error, match=message):
        g.open_disk(tmp_path / "disk.gz", unpack=limits)


def test_zeros_take_no_room(g: Guestfs, tmp_path: Path) -> None:
    size = 2 << 30
    (tmp_path / "bomb.xz").write_bytes(lzma.compress(bytes(64 * MIB), preset=0) * (size // (64 * MIB)))
    before = os.statvfs(tmp_path)
    g.set_tmpdir(tmp_path)
    assert g.open_disk(tmp_path / "bomb.xz").virtual_size == size
    after = os.statvfs(tmp_path)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < size // 4


def test_a_cancel_ends_the_unpacking(tmp_path: Path) -> None:
    (tmp_path / "disk.gz").write_bytes(gzip.compress(PLAIN))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        async with AsyncGuestfs() as g:
            await g.get_memsize()
            chunks = 0
            call: asyncio.Future[ImageInfo] | None = None

            class Handle(Guestfs):
                def get_tmpdir(self) -> str:
                    nonlocal chunks
                    chunks += 1
                    if chunks == 3:
                        cancelled = asyncio.run_coroutine_threadsafe(cancel(), loop)
                        cancelled.result()
                    return super().get_tmpdir()

            async def cancel() -> None:
                assert call is not None
                call.cancel()
                await asyncio.sleep(0)

            assert g._handle is not None
            g._handle.__class__ = Handle
            call = asyncio.ensure_future(g.open_disk(tmp_path / "disk.gz"))
            with pytest.raises(asyncio.CancelledError):
                await asyncio.gather(call)
            assert chunks == 3
            assert await g.debug_drives() == []

    asyncio.run(run())


def test_another_backend_is_told_that_it_cannot_have_what_was_unpacked(g: Guestfs, tmp_path: Path) -> None:
    (tmp_path / "disk.xz").write_bytes(lzma.compress(PLAIN))
    g.set_backend("libvirt")
    with pytest.raises(
        Error, match=r"disk\.xz: is packed, and the backend 'libvirt' cannot .* unpack it first"
    ):
        g.open_disk(tmp_path / "disk.xz")
