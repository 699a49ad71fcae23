"""probe() compared with `qemu-img info`, on images of every format and option that qemu-img can make."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guestkit import Error, Guestfs, ImageInfo, probe
from guestkit.cli import main
from tests.images.encrypted import QUICK, patiently

MIB = 1 << 20
Make = Callable[..., Path]


def qemu_img(*words: str | Path, cwd: Path | None = None) -> str:
    command = ["qemu-img", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def create(
        format: str, size: str = "64M", name: str = "disk", secret: bool = False, **options: str
    ) -> Path:
        path = tmp_path / name
        words = [f"{key}={value}" for key, value in options.items()]
        extra = ["--object", "secret,id=s,data=secret"] if secret else []
        qemu_img(
            "create", "-q", "-f", format, *extra, *(["-o", ",".join(words)] if words else []), path, size
        )
        return path

    return create


def info_of(path: Path, format: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(qemu_img("info", "--output=json", "-f", format, path))
    return found


def specific(path: Path, format: str) -> dict[str, Any]:
    data: dict[str, Any] = info_of(path, format).get("format-specific", {}).get("data", {})
    return data


def same(path: Path, format: str) -> ImageInfo:
    """Check that probe() agrees with qemu-img, with and without a stated format; return its result."""
    found = probe(path)
    theirs = info_of(path, format)
    assert probe(path, format) == found
    assert found.format == theirs["format"] == format
    assert found.virtual_size == theirs["virtual-size"]
    assert found.cluster_size == theirs.get("cluster-size", 0)
    assert found.file_size == path.stat().st_size
    assert found.backing_file == theirs.get("backing-filename")
    assert found.backing_format == theirs.get("backing-filename-format")
    assert bool(found.encryption) == theirs.get("encrypted", False)
    assert (found.dirty, found.truncated) == (theirs["dirty-flag"], False)
    assert json.loads(json.dumps(found.to_dict()))["format"] == format
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compat": "0.10"},
        {"compat": "1.1"},
        {"compat": "1.1", "lazy_refcounts": "on"},
        {"cluster_size": "512"},
        {"cluster_size": "2M"},
        {"cluster_size": "16k", "extended_l2": "on"},
        {"refcount_bits": "1"},
        {"refcount_bits": "64"},
        {"compression_type": "zstd"},
        {"preallocation": "metadata"},
        {"preallocation": "falloc"},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", ["1", "64M", "1T"])
def test_qcow2(make: Make, options: dict[str, str], size: str) -> None:
    if size == "1T" and ("preallocation" in options or options.get("cluster_size") == "512"):
        pytest.skip("too much to write")
    path = make("qcow2", size, **options)
    found, theirs = same(path, "qcow2"), specific(path, "qcow2")
    assert found.subformat == theirs["compat"]
    assert found.version == {"0.10": 2, "1.1": 3}[theirs["compat"]]
    assert found.lazy_refcounts == theirs.get("lazy-refcounts", False)
    assert found.extended_l2 == theirs.get("extended-l2", False)
    assert found.corrupt == theirs.get("corrupt", False)
    assert found.compression == theirs["compression-type"]
    assert found.references == ()


@pytest.mark.parametrize("raw", ["on", "off"])
def test_a_qcow2_with_its_data_in_another_file(make: Make, tmp_path: Path, raw: str) -> None:
    data = tmp_path / "data.raw"
    path = make("qcow2", data_file=str(data), data_file_raw=raw)
    found, theirs = same(path, "qcow2"), specific(path, "qcow2")
    assert found.data_file == theirs["data-file"] == str(data)
    assert found.data_file_raw == theirs["data-file-raw"] == (raw == "on")
    assert [(r.kind, r.name, r.format) for r in found.references] == [("data", str(data), "raw")]


@pytest.mark.parametrize(("encryption", "name"), [("luks", "luks"), ("aes", "aes")])
def test_an_encrypted_qcow2(make: Make, encryption: str, name: str) -> None:
    options = {"encrypt.format": encryption, "encrypt.key-secret": "s"}
    if encryption == "luks":
        options |= {f"encrypt.{name}": value for name, value in QUICK.items()}
    path = patiently(lambda: make("qcow2", secret=True, **options))
    assert same(path, "qcow2").encryption == name == specific(path, "qcow2")["encrypt"]["format"]


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("stated", [True, False])
def test_a_backing_chain(make: Make, tmp_path: Path, compat: str, stated: bool) -> None:
    base = make("qcow2", name="base")
    path = tmp_path / "top"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-o", f"compat={compat}", "-b", "base", "-F", "qcow2",
             path, "64M")  # fmt: skip
    if not stated:  # like older tools: turn the header extension into an unknown one
        path.write_bytes(path.read_bytes().replace(b"\xe2\x79\x2a\xca", b"none", 1))
    found = same(path, "qcow2")
    (reference,) = found.references
    assert (reference.kind, reference.name) == ("backing", "base")
    assert reference.format == ("qcow2" if stated else None)
    assert same(base, "qcow2").references == ()


def test_internal_snapshots(make: Make) -> None:
    path = make("qcow2")
    names = ["one", "with, comma", "snöw"]
    for name in names:
        qemu_img("snapshot", "-c", name, path)
    theirs = info_of(path, "qcow2")["snapshots"]
    found = same(path, "qcow2").snapshots
    assert [s.name for s in found] == names
    for ours, their in zip(found, theirs, strict=True):
        assert (ours.id, ours.name, ours.vm_state_size) == (
            their["id"],
            their["name"],
            their["vm-state-size"],
        )
        assert (ours.seconds, ours.virtual_size) == (their["date-sec"], 64 * MIB)


def test_a_qcow2_with_bitmaps_and_data(make: Make) -> None:
    path = make("qcow2")
    qemu_img("bitmap", "--add", path, "bitmap")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write 1M 10M", str(path)], check=True, capture_output=True
    )
    same(path, "qcow2")
    compressed = path.with_name("compressed")
    qemu_img("convert", "-c", "-f", "qcow2", "-O", "qcow2", path, compressed)
    same(compressed, "qcow2")


@pytest.mark.parametrize("size", ["512", "1M", "64M", "1T"])
def test_qcow(make: Make, size: str) -> None:
    found = same(make("qcow", size), "qcow")
    assert (found.version, found.references) == (1, ())


def test_a_qcow_with_a_backing_file(make: Make) -> None:
    base = make("raw", name="base")
    path = make("qcow", backing_file=str(base), backing_fmt="raw")
    found = probe(path)
    # A qcow states no format for its backing file: QEMU guesses one.
    assert [(r.kind, r.name, r.format) for r in found.references] == [("backing", str(base), None)]
    assert found.backing_file == info_of(path, "qcow")["backing-filename"]


@pytest.mark.parametrize(
    "subformat",
    [
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
    ],
)
@pytest.mark.parametrize("size", ["64M", "5G"])
def test_vmdk(make: Make, tmp_path: Path, subformat: str, size: str) -> None:
    path = make("vmdk", size, name="disk.vmdk", subformat=subformat)
    found = probe(path)
    theirs = info_of(path, "vmdk")
    assert (found.format, found.subformat, found.virtual_size) == ("vmdk", subformat, theirs["virtual-size"])
    extents = specific(path, "vmdk")["extents"]
    if "monolithicSparse" in subformat or subformat == "streamOptimized":
        assert found.cluster_size == theirs["cluster-size"]
        assert (found.references, found.extents) == ((), ())
        assert (found.compression == "deflate") == extents[0].get("compressed", False)
    else:
        assert [str(tmp_path / extent.name) for extent in found.extents] == [e["filename"] for e in extents]
        assert [extent.size for extent in found.extents] == [e["virtual-size"] for e in extents]
        flat = {"FLAT": "raw", "SPARSE": "vmdk"}
        assert [(r.kind, r.name, r.format) for r in found.references] == [
            ("extent", extent.name, flat[extent.kind]) for extent in found.extents
        ]
    # The sparse files of a split disk are images by themselves.
    for extent in found.extents:
        if extent.kind == "SPARSE":
            assert probe(tmp_path / extent.name).virtual_size == extent.size


def test_a_vmdk_with_data_and_one_on_a_parent(make: Make, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(os.urandom(3 * MIB))
    for subformat in ("streamOptimized", "monolithicSparse"):
        path = tmp_path / subformat
        qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)
        found = probe(path)
        assert (found.virtual_size, found.truncated, found.subformat) == (3 * MIB, False, subformat)
    qemu_img(
        "create", "-q", "-f", "vmdk", "-b", "monolithicSparse", "-F", "vmdk", tmp_path / "child", cwd=tmp_path
    )
    (reference,) = probe(tmp_path / "child").references
    assert (reference.kind, reference.name, reference.format) == ("backing", "monolithicSparse", "vmdk")


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
@pytest.mark.parametrize("force_size", ["on", "off"])
@pytest.mark.parametrize("size", ["1M", "64M", "100G"])
def test_vhd(make: Make, subformat: str, force_size: str, size: str) -> None:
    path = make("vpc", size, subformat=subformat, force_size=force_size)
    found, theirs = probe(path), info_of(path, "vpc")
    assert (found.format, found.subformat, found.virtual_size) == ("vpc", subformat, theirs["virtual-size"])
    assert found.cluster_size == theirs.get("cluster-size", 0)
    assert (found.references, found.truncated) == ((), False)
    assert probe(path, "vhd") == found


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
@pytest.mark.parametrize("block_size", ["1M", "8M", "256M"])
def test_vhdx(make: Make, subformat: str, block_size: str) -> None:
    path = make("vhdx", "64M", subformat=subformat, block_size=block_size)
    assert same(path, "vhdx").subformat == subformat


@pytest.mark.parametrize("static", ["on", "off"])
@pytest.mark.parametrize("size", ["1", "64M", "1G"])
def test_vdi(make: Make, static: str, size: str) -> None:
    path = make("vdi", size, static=static)
    assert same(path, "vdi").subformat == {"on": "static", "off": "dynamic"}[static]


@pytest.mark.parametrize("preallocation", ["off", "full"])
def test_raw(make: Make, preallocation: str) -> None:
    found = same(make("raw", preallocation=preallocation), "raw")
    assert (found.content, found.subformat) == ("", "")


def test_what_a_raw_disk_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    for start, content in [
        (b"LUKS\xba\xbe\0\1", "luks"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh9", "bzip2"),
        (b"\0" * 257 + b"ustar", "tar"),
        (b"\0" * 512 + b"EFI PART", "gpt"),
        (b"\0" * 4096 + b"EFI PART", "gpt"),
        (b"\0" * 446 + b"\x80\0\0\0\x83" + b"\0" * 59 + b"\x55\xaa", "mbr"),
        (b"\0" * 446 + b"\0\0\0\0\xee" + b"\0" * 59 + b"\x55\xaa", "gpt"),
        (b"\0" * 510 + b"\x55\xaa", ""),
    ]:
        path.write_bytes(start.ljust(8192, b"\0"))
        assert probe(path).content == content
        assert probe(path, "raw").content == content


PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>gone</body></html>\n"
FOREIGN = [
    (PAGE, "html"),
    (b"\xef\xbb\xbf\n  <HTML>\n", "html"),
    (b'<?xml version="1.0"?>\n<!-- a --><html xmlns="http://www.w3.org/1999/xhtml">', "html"),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "xml"),
    (b'<?xml version="1.0"?>\n<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1">', "ovf"),
    (b'{"message": "Not Found"}', "json"),
    (b'[\n  {"id": 1}]', "json"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n", "git-lfs"),
    (b"#!/bin/sh\nexit 0\n", "script"),
    (b"From: me\r\nTo: you\r\nSubject: a disk\r\n\r\nHi", "text"),
    ("grüße, 你好\n".encode() * 2000, "text"),
    (b"0", "text"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "pdf"),
    (b"\x7fELF\x02\x01\x01".ljust(9000, b"\0"), "elf"),
    (b"MZ".ljust(60, b"\0") + (128).to_bytes(4, "little") + bytes(64) + b"PE\0\0", "pe"),
    (b"\x89PNG\r\n\x1a\n\0\0", "png"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "jpeg"),
    (b"GIF89a\x01\0", "gif"),
    (b"PK\3\4\x14\0", "zip"),
    (b"7z\xbc\xaf\x27\x1c\0", "7z"),
    (b"MSWIM\0\0\0\xd0", "wim"),
    (b"!<arch>\ndebian-binary   ", "ar"),
    (b"EVF\x09\x0d\x0a\xff\0\1", "ewf"),
    (b"EVF2\r\n\x81\0\2\1", "ewf2"),
    (b"AFF10\r\n\0", "aff"),
]


@pytest.mark.parametrize(("start", "content"), FOREIGN, ids=[content for _, content in FOREIGN])
def test_what_is_plainly_no_disk(tmp_path: Path, start: bytes, content: str) -> None:
    """Regression: an HTML page named disk.qcow2 was reported as a disk without an operating system."""
    path = tmp_path / "disk.qcow2"
    path.write_bytes(start)
    assert probe(path).content == content
    with Guestfs() as g:
        with pytest.raises(Error, match=f"{path}: is no disk but .*[:;] ") as caught:
            g.open_disk(path, unpack=None)
        assert caught.value.cause == "not_a_disk"
        assert (caught.value.hint == "") == ("unpack the disk that is in it" in caught.value.message)
        assert g.open_disk(path, format="raw").content == content
    with pytest.raises(Error, match="is no valid qcow2 image: it is an? "):
        probe(path, "qcow2")
    # With a partition table it is a disk, whatever its first bytes: boot code may be anything.
    for sector, mark in ((512, b"EFI PART"), (4096, b"EFI PART"), (510, b"\x55\xaa")):
        disk = bytearray(start.ljust(8192, b"\0"))
        disk[sector : sector + len(mark)] = mark
        if sector == 510:
            disk[446:510] = b"\0\0\0\0\x83\0\0\0\1\0\0\0\7\0\0\0".ljust(64, b"\0")
        path.write_bytes(disk)
        assert probe(path).content == ("mbr" if sector == 510 else "gpt")


@pytest.mark.parametrize(("start", "content"), FOREIGN[-3:])
def test_who_had_a_forensic_image_was_told_to_state_that_it_is_raw(
    tmp_path: Path, start: bytes, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "affuse" if content == "aff" else "ewfmount"
    path = tmp_path / "disk.E01"
    path.write_bytes(start.ljust(4096, b"\xa5"))
    with Guestfs() as g, pytest.raises(Error) as caught:
        g.open_disk(path)
    assert caught.value.hint == f"{program} presents the disk in it"
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err.endswith(f"; {program} presents the disk in it\n")
    assert main(["info", str(path)]) == 0
    assert f"  holds           a disk, which {program} presents\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        (PAGE, 'is no disk but an HTML page, "404 Not Found": look at it: it may be what a server answered'),
        (b"\x1b[2Jboo\n", r'a text, "\\x1b[2Jboo": '),
        ("ä".encode() * 100, 'a text, "' + "ä" * 30 + '"…: '),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            '"version https://git-lfs.github.com/spec/v1": git lfs pull',
        ),
        (b"PK\3\4", "a ZIP archive: unpack the disk that is in it"),
    ],
)
def test_what_is_no_disk_is_shown(tmp_path: Path, start: bytes, shown: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(start)
    with Guestfs() as g, pytest.raises(Error) as caught:
        g.open_disk(path)
    assert shown.replace("\\\\", "\\") in caught.value.message


#: A filesystem of revision 0; the first way is that of e2fsprogs before 1.47.1.
OLD_EXT2 = [
    "sh", "-c", 'mkfs.ext2 -q -F -r 0 "$0" 2>/dev/null || mkfs.ext2 -q -F -E revision=0 "$0"',
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "room"),
    [
        (["mkfs.ext4", "-q", "-F"], 1024),
        (OLD_EXT2, 1024),
        (["mkfs.btrfs", "-q", "-f"], 8192),
        (["mkfs.xfs", "-q", "-f"], 0),
        (["mkfs.vfat"], 0),
        (["mkswap", "-q"], 1024),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
@pytest.mark.parametrize(
    "start", [b"%PDF-1.7\n", b"\x1f\x8b\x08", PAGE, b""], ids=["pdf", "gzip", "html", ""]
)
def test_a_filesystem_without_partitions_is_a_disk(
    tmp_path: Path, make: list[str], room: int, start: bytes
) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([*make, path], check=True, stdout=subprocess.DEVNULL)
    if room:
        with path.open("r+b") as file:
            file.write(start.ljust(room, b"\n") if start else bytes(room))
    assert probe(path).content == ""


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\1", b"x", b"disk"])
def test_a_disk_with_nothing_on_it_is_a_disk(tmp_path: Path, fill: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(fill * 102_400)
    assert probe(path).content == ""
    with Guestfs() as g:
        g.open_disk(path)


def test_a_description_of_a_vmdk_is_one(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_text('# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 1 FLAT "x" 0\n')
    assert probe(path).format == "vmdk"


def test_a_raw_disk_that_looks_like_a_qcow2_is_raw_where_that_is_stated(make: Make) -> None:
    path = make("qcow2")
    found = probe(path, "raw")
    assert (found.format, found.virtual_size, found.references) == ("raw", path.stat().st_size, ())


def test_a_format_that_guestkit_does_not_read_is_named(make: Make) -> None:
    for other in ("qed", "parallels"):
        path = make(other)
        with pytest.raises(Error, match=f"is a {other} image, which guestkit does not read: convert it"):
            probe(path)
    with pytest.raises(Error, match='does not read the format "qed"; it reads raw, qcow, '):
        probe(path, "qed")


def test_a_format_that_is_not_the_image_s_is_refused(make: Make) -> None:
    path = make("raw")
    for wrong in ("qcow", "qcow2", "vmdk", "vpc", "vhdx", "vdi"):
        with pytest.raises(Error, match=rf"is no valid {wrong} image: .* \(at offset \d+\)"):
            probe(path, wrong)


def test_names_of_every_kind(make: Make, tmp_path: Path) -> None:
    for name in ("a,b", 'a"b', "a\nb", "json:{}", "nbd:x", "caf\udce9"):
        os.rename(make("qcow2", name="plain"), os.fsencode(tmp_path / name))
        assert probe(os.fsencode(tmp_path / name)).format == probe(tmp_path / name).format == "qcow2"
        overlay = tmp_path / "overlay"
        qemu_img("create", "-q", "-u", "-f", "qcow2", overlay, "1M")
        subprocess.run(
            ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", os.fsencode(name), "-F", "qcow2", overlay],
            check=True,
        )
        assert probe(overlay).backing_file == name


def test_what_cannot_be_a_disk_is_refused_before_it_can_hang(tmp_path: Path) -> None:
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
    ]:
        with pytest.raises(Error) as caught:
            probe(tmp_path / name)
        assert (caught.value.op, caught.value.message) == ("probe", f"{tmp_path / name}: {reason}")


def test_wrong_arguments_are_python_s_own_errors(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"probe\(\) argument 'path' must be str, bytes or os\.PathLike, not int"
    ):
        probe(1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"argument 'format'"):
        probe(tmp_path, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NUL"):
        probe("a\0b")


# ---- sectors

GPT = b"EFI PART"
SIZE = 64 << 20


def _table(*, first: int = 0, count: int = 0, type: int = 0x83) -> bytes:
    entry = bytes(4) + bytes([type]) + bytes(3) + first.to_bytes(4, "little") + count.to_bytes(4, "little")
    return bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"


def _gpt(sector: int, alternate: int | None = None) -> tuple[int, bytes]:
    last = SIZE // sector - 1 if alternate is None else alternate
    return sector, GPT + bytes(16) + (1).to_bytes(8, "little") + last.to_bytes(8, "little")


EXT = (1024, bytes(56) + b"\x53\xef" + bytes(18) + b"\1")
FAT = (0, b"\xeb\x58\x90mkfs.fat".ljust(510, b"\0") + b"\x55\xaa")
LVM = (512, b"LABELONE")
BTRFS = (65600, b"_BHRfS_M")


def _at(sector: int, first: int, mark: tuple[int, bytes]) -> tuple[int, bytes]:
    return sector * first + mark[0], mark[1]


PROTECTIVE = {sector: (0, _table(first=1, count=SIZE // sector - 1, type=0xEE)) for sector in (512, 4096)}
SECTORS: dict[str, tuple[list[tuple[int, bytes]], int]] = {
    "nothing": ([], 512),
    "gpt": ([PROTECTIVE[512], _gpt(512)], 512),
    "gpt 4096": ([PROTECTIVE[4096], _gpt(4096)], 4096),
    "gpt 4096 without an MBR": ([_gpt(4096)], 4096),
    "gpt 4096 that was made when the disk was smaller": ([PROTECTIVE[4096], _gpt(4096, 1000)], 4096),
    "gpt 4096 over an old one": ([PROTECTIVE[4096], _gpt(512), _gpt(4096)], 4096),
    "gpt over an old one": ([PROTECTIVE[512], _gpt(512), _gpt(4096)], 512),
    "a header for a longer disk": ([_gpt(4096, SIZE)], 512),
    "the words alone": ([(4096, GPT)], 512),
    "mbr": ([(0, _table(first=2048, count=8192)), _at(512, 2048, EXT)], 512),
    "mbr that fills the disk": ([(0, _table(first=2048, count=129024)), _at(4096, 2048, EXT)], 512),
    "mbr 4096, ext": ([(0, _table(first=256, count=8192)), _at(4096, 256, EXT)], 4096),
    "mbr 4096, fat": ([(0, _table(first=256, count=8192)), _at(4096, 256, FAT)], 4096),
    "mbr 4096, lvm": ([(0, _table(first=256, count=8192)), _at(4096, 256, LVM)], 4096),
    "mbr 4096, btrfs": ([(0, _table(first=256, count=8192)), _at(4096, 256, BTRFS)], 4096),
    "mbr, both": ([(0, _table(first=256, count=8192)), _at(4096, 256, EXT), _at(512, 256, EXT)], 512),
    "mbr, empty partitions": ([(0, _table(first=256, count=8192))], 512),
    "mbr, extended": ([(0, _table(first=256, count=8192, type=5)), _at(4096, 256, EXT)], 512),
}


@pytest.fixture(params=SECTORS)
def partitioned(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    """A raw disk, and the size of its sectors."""
    path = tmp_path / "disk"
    pieces, expected = SECTORS[request.param]
    with path.open("wb") as file:
        file.truncate(SIZE)
        for offset, piece in pieces:
            file.seek(offset)
            file.write(piece)
    return path, expected


def test_the_partition_table_shows_the_size_of_sectors(
    partitioned: tuple[Path, int], tmp_path: Path, g: Guestfs
) -> None:
    path, expected = partitioned
    assert probe(path).blocksize == expected
    image = tmp_path / "image"
    for plain in ([], ["-o", "cluster_size=512"], ["-o", "cluster_size=2M"]):  # guestkit itself reads these
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *plain, path, image)
        assert probe(image).blocksize == expected
    for kind, *options in (["qcow2", "-c"], ["vmdk"], ["qcow2", "-o", "extended_l2=on"]):  # QEMU reads these
        qemu_img("convert", "-f", "raw", "-O", kind, *options, path, image)
        assert probe(image).blocksize is None or (kind == "qcow2" and expected == 512)
        assert g.open_disk(image, format=kind).blocksize == expected
        assert ("blocksize=4096" in g.debug_drives()[-1]) == (expected == 4096)


def test_sectors_of_a_chain_a_snapshot_and_as_they_are_stated(g: Guestfs, tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    with base.open("wb") as file:
        file.truncate(SIZE)
        file.seek(4096)
        file.write(_gpt(4096)[1])
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top)
    assert probe(top).blocksize is None
    assert g.open_disk(top, format="qcow2", backing="allow").blocksize == 4096
    assert g.open_disk(top, format="qcow2", backing="allow", blocksize=512).blocksize == 512
    assert g.open_disk(top, format="qcow2", backing="allow", readonly=False).blocksize == 4096
    qemu_img("snapshot", "-c", "before", top)
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -z 0 64k", top], check=True, stdout=subprocess.DEVNULL
    )
    assert g.open_disk(top, format="qcow2", backing="allow").blocksize == 512
    assert g.open_disk(top, format="qcow2", backing="allow", snapshot="before").blocksize == 4096
    stated = ["blocksize" in drive for drive in g.debug_drives()]
    assert stated == [True, True, True, False, True]
