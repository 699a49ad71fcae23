"""Compressed disks and OVA archives, opened by open_disk() within bounds."""

from __future__ import annotations

import asyncio
import bz2
import errno
import gzip
import itertools
import lzma
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import guestkit
from guestkit import (
    AsyncDiskConverter,
    AsyncGuestfs,
    CallTimeout,
    Error,
    Guestfs,
    ImageInfo,
    UnpackLimits,
)
from guestkit._decompress import Meter
from guestkit._qemu_img import QemuImg
from guestkit._unpacking import unpacked
from guestkit.cli import main
from guestkit.unpack import UNPACK
from tests.images.archives import Drive, extended, header, ovf, padded, tar

MIB = 1 << 20
#: Needs a GiB to unpack. The fastest way to find matches: it is packed whenever tests are collected.
GIBIBYTE_OF_LZMA = {
    "id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "depth": 1,
}  # fmt: skip
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
    # The unpacked disk has no name in the directory, and a stated format means the packed file itself.
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
    path.write_bytes(tar({"machine.ovf": b"<Envelope/>", "machine.mf": b"SHA1", **disk}))
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
        (lzma.compress(b"x" * 100, filters=[GIBIBYTE_OF_LZMA]), "[Mm]emory"),
        (gzip.compress(b""), "is empty"),
        (
            tar({"one.vmdk": b"x" * 512, "two.vmdk": b"y" * 512}),
            "is an archive of several disks, 'one.vmdk', 'two.vmdk', .*; choose one with unpack=",
        ),
        (tar({"readme": b"x"}), "is an archive without a disk: it holds 'readme'"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(PLAIN)))), "more than three times"),
        (b"x" * 257 + b"ustar" + b"y" * 1000, "is no archive that can be read: "),
        (zstandard.compress(os.urandom(300_000))[:-1000], "cannot be unpacked"),
        (tar({"disk.img": PLAIN})[: MIB // 2], "is no archive that can be read: it ends early"),
        (gzip.compress(PLAIN) + b"garbage", "cannot be unpacked"),
    ],
    ids=range(14),
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
                def _check_turn(self) -> None:
                    nonlocal chunks
                    chunks += 1
                    if chunks == 3:
                        cancelled = asyncio.run_coroutine_threadsafe(cancel(), loop)
                        cancelled.result()
                    super()._check_turn()

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


# ---- attacks that keep a reader busy without any output


def _endless(kind: str) -> bytes:
    """Make megabytes that unpack to nothing, but which the standard library's readers read to the end."""
    if kind == "a gzip whose file name has no end":
        return b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (8 * MIB)
    if kind == "a gzip whose comment has no end":
        return b"\x1f\x8b\x08\x10" + bytes(6) + b"c" * (8 * MIB)
    if kind == "an xz with zeros behind it":
        return lzma.compress(b"") + bytes(64 * MIB)
    if kind == "frames of zst that are to be skipped":
        return zstandard.compress(b"") + (b"\x50\x2a\x4d\x18" + bytes(4)) * (MIB // 2)
    empty = PACK[kind.split(".")[1]](b"")
    return empty * (4 * MIB // len(empty))


ENDLESS = [
    "empty .gz",
    "empty .bz2",
    "empty .xz",
    "empty .zst",
    "a gzip whose file name has no end",
    "a gzip whose comment has no end",
    "an xz with zeros behind it",
    "frames of zst that are to be skipped",
]


@pytest.mark.parametrize("layers", [1, 2], ids=["alone", "in a gzip"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_file_that_yields_nothing_is_looked_at_where_it_is_read(
    tmp_path: Path, kind: str, layers: int
) -> None:
    """Every step checks the limits and for a cancel, and a step reads little."""
    content = _endless(kind)
    (tmp_path / "disk").write_bytes(content if layers == 1 else gzip.compress(content, 1))

    class Ended(Exception):
        pass

    looks = 0

    def beat() -> None:
        nonlocal looks
        looks += 1
        if looks == most:
            raise Ended

    most = 60
    with (
        pytest.raises(Ended),
        unpacked(tmp_path / "disk", tmp_path, UNPACK, beat, op="open_disk", one=True),
    ):
        pass
    assert looks == most
    assert {path.name for path in tmp_path.iterdir()} == {"disk"}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_file_that_yields_nothing_has_the_time_that_it_is_given(
    g: Guestfs, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "disk").write_bytes(_endless(kind))
    with pytest.raises(Error, match="disk: takes longer than 0.001 s to unpack") as caught:
        g.open_disk(tmp_path / "disk", unpack=UnpackLimits(seconds=0.001))
    assert caught.value.errno == errno.ETIMEDOUT


def test_the_time_is_that_of_all_layers_and_disks(tmp_path: Path) -> None:
    disks = {f"{name}.img.gz": gzip.compress(PLAIN) for name in "ab"}
    members = {"x.ovf": ovf([Drive(name) for name in disks]), **disks}
    (tmp_path / "disk").write_bytes(gzip.compress(tar(members)))
    now = itertools.count()

    def seconds_of(limits: UnpackLimits) -> None:
        with unpacked(
            tmp_path / "disk",
            tmp_path,
            limits,
            lambda: None,
            op="x",
            one=False,
            clock=lambda: float(next(now)),
        ):
            pass

    seconds_of(UnpackLimits(seconds=1e9))
    looks = next(now)
    seconds_of(UnpackLimits(seconds=looks))
    with pytest.raises(Error, match="takes longer"):
        seconds_of(UnpackLimits(seconds=looks - 5))


@pytest.mark.parametrize("kind", ["empty .gz", "a gzip whose file name has no end"])
def test_the_handle_s_own_limit_ends_the_unpacking(tmp_path: Path, kind: str) -> None:
    (tmp_path / "disk").write_bytes(_endless(kind))

    class Handle(Guestfs):
        looks = 0

        def _check_turn(self) -> None:
            self.looks += 1
            while self.looks == 3:  # a fast reader might be done before the limit
                super()._check_turn()
            super()._check_turn()

    with Handle(call_timeout=0.001) as g:
        with pytest.raises(CallTimeout, match=r"took longer than 0\.001 s \(call_timeout\)") as caught:
            g.open_disk(tmp_path / "disk")
        assert caught.value.clock == "call_timeout"
        assert g.debug_drives() == []


@pytest.mark.parametrize(
    ("end", "message"),
    [(Guestfs.cancel, "cancelled"), (Guestfs.terminate, r"terminate\(\) was called")],
    ids=["cancel", "terminate"],
)
def test_another_thread_ends_the_unpacking(
    tmp_path: Path, end: Callable[[Guestfs], None], message: str
) -> None:
    (tmp_path / "disk").write_bytes(_endless("empty .gz"))

    class Handle(Guestfs):
        looks = 0

        def _check_turn(self) -> None:
            self.looks += 1
            if self.looks == 3:
                thread = threading.Thread(target=end, args=[self])
                thread.start()
                thread.join()
            super()._check_turn()

    with Handle() as g:
        with pytest.raises(Error, match=message):
            g.open_disk(tmp_path / "disk")
        assert g.looks == 3


@pytest.mark.parametrize("words", [["inspect"], ["ls"], ["convert"]], ids=lambda words: words[0])
def test_ctrl_c_ends_the_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    (tmp_path / "disk").write_bytes(_endless("empty .gz"))
    looks = 0
    look = Meter.look

    def look_and_interrupt(meter: Meter) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            os.kill(os.getpid(), signal.SIGINT)
        look(meter)

    monkeypatch.setattr(Meter, "look", look_and_interrupt)
    output = [str(tmp_path / "new.raw")] if words == ["convert"] else []
    assert main([*words, str(tmp_path / "disk"), *output]) == 130
    assert 3 <= looks < 100_000  # a whole run takes more than 200,000
    assert not (tmp_path / "new.raw").exists()


def test_the_time_of_a_guest_in_a_fleet_is_for_its_unpacking_too(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(_endless("empty .gz"))
    for report in guestkit.inspect_many([tmp_path / "disk"] * 3, timeout=0.001):
        assert report.error is not None
        assert (report.error.kind, report.error.errno) == ("CallTimeout", errno.ETIMEDOUT)
        assert report.error.message.startswith(f"{tmp_path / 'disk'}: took longer than 0.001 s")


def test_what_is_unpacked_is_a_step(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(gzip.compress(PLAIN))
    for ask in (guestkit.inspect, lambda *a, **b: asyncio.run(guestkit.aio.inspect(*a, **b)), _open_guest):
        steps: list[str] = []
        with pytest.raises(Error, match="disk: becomes larger than 5 bytes"):
            ask(tmp_path / "disk", unpack=UnpackLimits(size=5), step=steps.append)
        assert steps == ["unpacking"]


def _open_guest(disk: Path, **options: Any) -> None:
    with guestkit.open_guest(disk, **options):
        pass


def test_leaving_a_fleet_ends_the_unpacking(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(_endless("empty .gz"))
    (tmp_path / "short").write_bytes(gzip.compress(b""))
    looks = 0

    look = Meter.look

    def look_and_count(meter: Meter) -> None:
        nonlocal looks
        looks += 1
        look(meter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Meter, "look", look_and_count)
        reports = guestkit.inspect_many([tmp_path / "short", tmp_path / "disk"], concurrency=2)
        assert next(reports).error is not None
        reports.close()
    assert looks < 100_000  # a whole run takes more than 200,000


def test_a_conversion_that_unpacks_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_bytes(_endless("empty .gz"))
    looks = 0

    async def run() -> None:
        loop = asyncio.get_running_loop()
        look = QemuImg._go_on

        def look_and_cancel(job: QemuImg) -> None:
            nonlocal looks
            looks += 1
            if looks == 3:
                loop.call_soon_threadsafe(call.cancel)
                while not job._is_cancelled():  # set on the loop's thread
                    os.sched_yield()
            look(job)

        monkeypatch.setattr(QemuImg, "_go_on", look_and_cancel)
        call = asyncio.ensure_future(AsyncDiskConverter().convert(tmp_path / "disk", tmp_path / "new"))
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    assert looks == 3
    assert {path.name for path in tmp_path.iterdir()} == {"disk"}


def _map_that_goes_on(blocks: int) -> bytes:
    """Make a sparse file whose map has many more parts than any real file."""
    entry = b"00000000001\x0000000000000\0"
    return header(b"disk.img", 0, b"S", {386: entry * 4, 482: b"\1", 483: b"00000000001\0"}) + (
        padded(entry * 21 + b"\1") * blocks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_map_that_goes_on(40_000), "the map of a sparse file is too long"),
        (header(b"x", 0, b"x") * 12_000, "more than 10000 headers"),
        (header(b"a", 0) * 12_000, "more than 10000 headers"),
        (header(b"x", 2 * MIB, b"x") + bytes(2 * MIB), "an extended header of 2097152 bytes is too long"),
        (header(b"x", 8192, b"L") + b"n" * 8192, "an extended header of 8192 bytes is too long"),
        (extended(path="a" * (MIB - 20)) * 20, "longer than 16777216"),
        (
            extended(GNU_sparse_major="1", GNU_sparse_realsize="1")
            + header(b"disk.img", MIB)
            + padded(b"999999\n" + b"0\n" * 500),
            "the map of a sparse file is too long",
        ),
        (
            extended(GNU_sparse_major="1", GNU_sparse_realsize="1") + header(b"disk.img", 4096) + b"1" * 4096,
            "the map of a sparse file is damaged|no number where one belongs",
        ),
        (
            extended(GNU_sparse_size="5", GNU_sparse_map="0,4,2,2") + header(b"disk.img", 6) + bytes(512),
            "the map of a sparse file is damaged",
        ),
        (header(b"x", 20, b"x") + padded(b"99999999999999 path=x"), "an extended header is damaged"),
        (header(b"x", 20, b"x") + padded(b"-5 path=x\n"), "no number where one belongs"),
        (header(b"x", 21, b"x") + padded(b"10 path=x\n9999999999\n"), "no number where one belongs"),
        (header(b"x", 20, b"x") + padded(b"10 path=x\n0 path=xx\n"), "an extended header is damaged"),
        (header(b"x", 20, b"x") + padded(b"10 path=x\n3 path=xx\n"), "an extended header is damaged"),
        (header(b"disk.img", 0, more={124: b"\xff" * 12}), "no number where one belongs"),
        (header(b"disk.img", 0, more={124: b"\x80" + b"\xff" * 11}), "out of range"),
        (header(b"disk.img", 0, more={124: b"0x123\0"}), "no number where one belongs"),
        (header(b"disk.img", 1 << 33), "it ends early: 8589934592 bytes are missing"),
        (header(b"disk.img", 5)[:-1] + b"!" + bytes(512), "the header at 0 is damaged"),
    ],
    ids=range(19),
)
def test_what_an_archive_says_of_itself_is_bounded(
    g: Guestfs, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "disk").write_bytes(content)
    with pytest.raises(Error, match=f"disk: is no archive that can be read: .*{message}"):
        g.open_disk(tmp_path / "disk")


def test_all_that_is_read_counts(g: Guestfs, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(lzma.compress(b"") + bytes(8 * MIB))
    with pytest.raises(Error, match="holds more than 1048576 bytes that are packed") as caught:
        g.open_disk(tmp_path / "disk", unpack=UnpackLimits(size=MIB))
    assert caught.value.errno == errno.EFBIG


def test_a_zst_that_becomes_much_at_once(g: Guestfs, tmp_path: Path) -> None:
    """One step of zstd may return any amount: here 256 blocks of four bytes become 32 MiB."""
    size = 1 << 30
    (tmp_path / "disk.zst").write_bytes(zstandard.compress(bytes(size)))
    before = os.statvfs(tmp_path)
    g.set_tmpdir(tmp_path)
    assert g.open_disk(tmp_path / "disk.zst").virtual_size == size
    after = os.statvfs(tmp_path)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < size // 4
