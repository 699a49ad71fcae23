"""Archives of disks: which files are the guest's disks, and their order."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from guestkit import AsyncGuestfs, DiskConverter, Error, Guestfs, UnpackLimits
from guestkit._unpacking import unpacked
from guestkit.archives import ArchivedDisk, disks_in_archive
from guestkit.unpack import UNPACK
from tests.images.archives import Drive, extended, header, ovf, padded, tar

MIB = 1 << 20
A, B, C = (bytes([65 + number]) * (MIB + 512 * number) for number in range(3))
ISO = bytes(32768) + b"\1CD001" + b"x" * 1000


@contextmanager
def opened(path: Path, limits: UnpackLimits = UNPACK) -> Iterator[Mapping[str, bytes]]:
    """Unpack; yield the content of the disks in order, by their names in messages."""
    folder = path.parent
    with unpacked(path, folder, limits, lambda: None, op="open_disk", one=False) as disks:
        yield {disk.inside: Path(disk.path).read_bytes() for disk in disks}


def disks_of(folder: Path, content: bytes, limits: UnpackLimits = UNPACK) -> Mapping[str, bytes]:
    path = folder / "machine.ova"
    path.write_bytes(content)
    with opened(path, limits) as disks:
        return disks


@pytest.mark.parametrize("place", [0, 1, 3], ids=["first", "behind the descriptor", "last"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_the_disk_lies_anywhere_in_the_archive(tmp_path: Path, place: int, pack: type[bytes]) -> None:
    others = {"m.ovf": ovf([Drive("disk1.vmdk")]), "m.mf": b"SHA256(m.ovf)= 0\n", "m.cert": b"-----BEGIN"}
    members = list(others.items())
    members.insert(place, ("disk1.vmdk", pack(A)))
    assert disks_of(tmp_path, tar(dict(members))) == {"'disk1.vmdk'": A}


def test_an_iso_in_the_cd_rom_drive_is_no_disk(tmp_path: Path) -> None:
    drives = [Drive("tools.iso", type=15), Drive("other.img", type=15, address=1), Drive("a.vmdk", address=2)]
    members = {"m.ovf": ovf(drives), "tools.iso": ISO, "other.img": ISO, "a.vmdk": A}
    assert disks_of(tmp_path, tar(members)) == {"'a.vmdk'": A}


def test_an_iso_beside_a_disk_that_no_descriptor_names_is_no_disk(tmp_path: Path) -> None:
    assert disks_of(tmp_path, tar({"cloud-init.iso": ISO, "a.vmdk": A})) == {"'a.vmdk'": A}


@pytest.mark.parametrize(
    ("drives", "order"),
    [
        ([Drive("x.vmdk", 3, 0), Drive("y.vmdk", 3, 1), Drive("z.vmdk", 3, 2)], "xyz"),
        ([Drive("x.vmdk", 3, 2), Drive("y.vmdk", 3, 10), Drive("z.vmdk", 3, 0)], "zxy"),
        ([Drive("x.vmdk", 4, 0), Drive("y.vmdk", 3, 5), Drive("z.vmdk", 4, 1)], "yxz"),
        ([Drive("z.vmdk", 3, 0), Drive("", 3, 1), Drive("y.vmdk", 3, 2), Drive("x.vmdk", 9, 0)], "zyx"),
    ],
    ids=["as listed", "by address", "by controller", "one that is to be made, and an unknown controller"],
)
def test_disks_come_in_the_guest_s_order(tmp_path: Path, drives: list[Drive], order: str) -> None:
    content = {"x": A, "y": B, "z": C}
    members = {"m.ovf": ovf(drives), **{f"{name}.vmdk": content[name] for name in "yzx"}}
    assert list(disks_of(tmp_path, tar(members)).items()) == [
        (f"'{name}.vmdk'", content[name]) for name in order
    ]


def test_without_drives_the_list_of_disks_is_the_order(tmp_path: Path) -> None:
    text = ovf([Drive("y.vmdk"), Drive("x.vmdk")], listed=["y.vmdk", "x.vmdk"])
    text = text.replace(b"<rasd:ResourceType>17<", b"<rasd:ResourceType>1<")
    members = {"x.vmdk": A, "y.vmdk": B, "m.ovf": text}
    assert list(disks_of(tmp_path, tar(members))) == ["'y.vmdk'", "'x.vmdk'"]


@pytest.mark.parametrize("named", [True, False], ids=["by a descriptor", "by names alone"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_a_disk_in_chunks(tmp_path: Path, named: bool, pack: type[bytes]) -> None:
    plain = os.urandom(MIB)
    content = pack(plain)
    size = len(content) // 3 + 1
    chunks = {f"d.vmdk.{n:09d}": content[n * size : (n + 1) * size] for n in (2, 0, 1)}
    attributes = f'ovf:chunkSize="{size}" ovf:size="{len(content)}"'
    members = {**chunks, **({"m.ovf": ovf([Drive("d.vmdk", attributes=attributes)])} if named else {})}
    assert list(disks_of(tmp_path, tar(members)).values()) == [plain]

    for missing in range(3):
        if missing == 2 and not named:  # nothing shows that the last one is missing
            continue
        left = {name: text for name, text in members.items() if name != f"d.vmdk.{missing:09d}"}
        what = "the last chunks of 'd.vmdk'" if missing == 2 else f"'d.vmdk.{missing:09d}'"
        with pytest.raises(Error, match=f"the archive does not hold {what}"):
            disks_of(tmp_path, tar(left))


@pytest.mark.parametrize("name", ["a b.vmdk", "ä.vmdk", "100%.vmdk", "&quot;.vmdk", "sub/d.vmdk"])
def test_names_of_files(tmp_path: Path, name: str) -> None:
    plain = name.replace("&quot;", '"')
    for stored in (plain, f"./{plain}", f"/{plain}"):
        assert disks_of(tmp_path, tar({stored: A, "m.ovf": ovf([Drive(name)])})) == {repr(plain): A}
    url = plain.replace(" ", "%20").replace("ä", "%C3%A4").replace("%.", "%25.").replace('"', "%22")
    assert disks_of(tmp_path, tar({plain: A, "m.ovf": ovf([Drive(url)])})) == {repr(plain): A}
    assert disks_of(tmp_path, tar({f"box/{plain}": A, "box/m.ovf": ovf([Drive(name)])})) == {
        repr(f"box/{plain}"): A
    }


def test_what_macos_puts_beside_a_file_is_no_disk(tmp_path: Path) -> None:
    fork = b"\0\5\x16\7" + bytes(100)
    members = {"._m.ovf": fork, "m.ovf": ovf([Drive("a.vmdk")]), "._a.vmdk": fork, "a.vmdk": A}
    assert disks_of(tmp_path, tar(members)) == {"'a.vmdk'": A}
    assert disks_of(tmp_path, tar({"._a.vmdk": fork, "a.vmdk": A})) == {"'a.vmdk'": A}


def test_a_compressed_archive(tmp_path: Path) -> None:
    """As in Google's cloud, and in Vagrant."""
    assert disks_of(tmp_path, gzip.compress(tar({"disk.raw": A}))) == {"'disk.raw'": A}
    box = {"metadata.json": b"{}", "Vagrantfile": b"", "box.img": A}
    assert disks_of(tmp_path, gzip.compress(tar(box))) == {"'box.img'": A}


@pytest.mark.parametrize("form", ["oldgnu", "gnu", "pax", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("holes", ["many", "all", "end"])
def test_a_disk_with_holes_as_tar_writes_it(tmp_path: Path, form: str, holes: str) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(64 * MIB)
        for place in range(60 if holes == "many" else 0):
            file.seek(place * MIB + 4096 * place)
            file.write(bytes([place + 1]) * 8192)
        if holes == "end":
            file.seek(0)
            file.write(A)
    options = [f"--format={form}"] if form[0].isalpha() else ["--format=pax", f"--sparse-version={form}"]
    subprocess.run(["tar", *options, "-C", tmp_path, "-Scf", tmp_path / "a.tar", "disk.raw"], check=True)
    assert (tmp_path / "a.tar").stat().st_size < 4 * MIB
    with opened(tmp_path / "a.tar") as disks:
        assert disks["'disk.raw'"] == disk.read_bytes()


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_a_long_name(tmp_path: Path, form: str) -> None:
    name = "d" * 120 + "/" + "n" * 90 + ".vmdk"
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(A)
    subprocess.run(["tar", f"--format={form}", "-C", tmp_path, "-cf", tmp_path / "a.tar", name], check=True)
    with opened(tmp_path / "a.tar") as disks:
        assert list(disks.values()) == [A]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"one.vmdk": A, "two.vmdk": B}, "several disks, 'one.vmdk', 'two.vmdk', without a descriptor"),
        ({"m.ovf": ovf([Drive("a.vmdk")])}, "the archive does not hold 'a.vmdk', but 'm.ovf'"),
        ({"m.ovf": ovf([Drive("../../etc/passwd")])}, "does not hold 'etc/passwd', but"),
        ({"m.ovf": ovf([Drive("file:///etc/passwd")])}, "does not hold 'file:/etc/passwd', but"),
        ({"m.ovf": ovf([]), "readme": b""}, "an archive without a disk: it holds 'm.ovf', 'readme'"),
        ({"m.ovf": ovf([Drive("cd.iso", type=15)]), "cd.iso": ISO}, "an archive without a disk"),
        ({"1.ovf": b"", "2.ovf": b"", "a.vmdk": A}, "several descriptors: '1.ovf', '2.ovf'; choose"),
        ({"m.ovf": b"<not XML", "a.vmdk": A}, "the descriptor is no XML"),
        ({"m.ovf": b"", "a.vmdk": A}, "the descriptor is no XML"),
        ({"m.ovf": b"<a>" * 100, "a.vmdk": A}, "the descriptor is too large"),
        ({"m.ovf": b"<a>" + b"<b/>" * 30_000, "a.vmdk": A}, "the descriptor is too large"),
        ({"m.ovf": bytes(2 * MIB), "a.vmdk": A}, "the descriptor 'm.ovf' is longer than 1048576 bytes"),
        ({"m.ovf": b'<?xml version="1.0" encoding="x-evil"?><a/>', "a.vmdk": A}, "the descriptor is no XML"),
        (
            {
                "m.ovf": b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><Envelope>&c;</Envelope>',
                "a.vmdk": A,
            },
            "the descriptor has a document type",
        ),
        (
            {"m.ovf": b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Envelope/>', "a.vmdk": A},
            "the descriptor has a document type",
        ),
        (
            {"m.ovf": ovf([Drive("a.vmdk")]).replace(b"ovf:fileRef", b'ovf:parentRef="x" ovf:fileRef')},
            "holds changes of another one",
        ),
        (
            {"m.ovf": ovf([Drive("a.vmdk")]).replace(b'ovf:id="f-', b'ovf:id="g-'), "a.vmdk": A},
            "the descriptor names no file for the disk 'd-a.vmdk'",
        ),
        (
            {
                "m.ovf": b'<Envelope><VirtualSystem id="w&#x1f600;b"/><VirtualSystem id="db"/></Envelope>',
                "a.vmdk": A,
            },
            "several virtual machines, 'w😀b', 'db'; choose one with",
        ),
        ({"a\x1b[31m.vmdk": A, "b.vmdk": B}, r"several disks, 'a\\x1b\[31m.vmdk', 'b.vmdk'"),
    ],
    ids=range(19),
)
def test_what_does_not_tell_the_disks_is_told(
    g: Guestfs, tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    (tmp_path / "m.ova").write_bytes(tar(members))
    with pytest.raises(Error, match=message) as caught:
        g.open_disk(tmp_path / "m.ova")
    assert caught.value.message.startswith(f"{tmp_path / 'm.ova'}: ")
    assert g.debug_drives() == []


def test_one_of_several_is_chosen(tmp_path: Path, g: Guestfs) -> None:
    members = {"m.ovf": ovf([Drive("a.vmdk"), Drive("b.vmdk", address=1)]), "a.vmdk": A, "./b.vmdk": B}
    content = tar(members)
    for name in ("b.vmdk", b"./b.vmdk", Path("b.vmdk")):
        assert disks_of(tmp_path, content, UnpackLimits(member=name)) == {"'b.vmdk'": B}
    with pytest.raises(Error, match=r"the archive does not hold 'c\.vmdk', but 'm\.ovf', 'a\.vmdk', 'b"):
        disks_of(tmp_path, content, UnpackLimits(member="c.vmdk"))
    (tmp_path / "disk.gz").write_bytes(gzip.compress(A))
    (tmp_path / "disk.img").write_bytes(A)
    for disk in ("disk.gz", "disk.img"):
        with pytest.raises(Error, match=rf"{disk}: is no archive: there is no member to choose"):
            g.open_disk(tmp_path / disk, unpack=UnpackLimits(member="disk"))
    with pytest.raises(Error, match="missing: no such file"):
        g.open_disk(tmp_path / "missing", unpack=UnpackLimits(member="disk"))


@pytest.fixture
def two_disks(tmp_path: Path) -> Path:
    members = {"a.vmdk": A, "b.vmdk": B, "m.ovf": ovf([Drive("b.vmdk"), Drive("a.vmdk", address=1)])}
    path = tmp_path / "two.ova"
    path.write_bytes(tar(members))
    return path


def test_a_guest_of_two_disks(tmp_path: Path, two_disks: Path, g: Guestfs) -> None:
    with pytest.raises(Error, match=r"two\.ova: is a guest of 2 disks, 'b\.vmdk', 'a\.vmdk'; .*member=") as e:
        g.open_disk(two_disks)
    assert "open_disks" in e.value.hint
    assert g.debug_drives() == []
    assert [info.virtual_size for info in g.open_disks(two_disks)] == [len(B), len(A)]
    assert len(g.debug_drives()) == 2
    (tmp_path / "c.gz").write_bytes(gzip.compress(C))
    sizes = [info.virtual_size for info in g.open_disks([tmp_path / "c.gz", two_disks, tmp_path / "c.gz"])]
    assert sizes == [len(C), len(B), len(A), len(C)]

    async def run() -> list[int]:
        async with AsyncGuestfs() as g:
            return [info.virtual_size for info in await g.open_disks(two_disks)]

    assert asyncio.run(run()) == [len(B), len(A)]


def test_an_error_names_the_disk_in_the_archive(tmp_path: Path, g: Guestfs) -> None:
    subprocess.run(
        ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/x", "-F", "raw", tmp_path / "b", "1M"],
        check=True,
    )
    drives = [Drive("a.vmdk"), Drive("b.vmdk", address=1)]
    members = {"m.ovf": ovf(drives), "a.vmdk": A, "b.vmdk": (tmp_path / "b").read_bytes()}
    (tmp_path / "m.ova").write_bytes(tar(members))
    with pytest.raises(Error, match=r"m\.ova \('b\.vmdk'\): refers to another file of this host, \"/etc/x\""):
        g.open_disks(tmp_path / "m.ova")


def test_the_size_is_that_of_all_disks_together(two_disks: Path, g: Guestfs) -> None:
    g.open_disks(two_disks, unpack=UnpackLimits(size=len(A) + len(B)))
    with pytest.raises(Error, match="two.ova: becomes larger than"):
        g.open_disks(two_disks, unpack=UnpackLimits(size=len(A) + len(B) - 1))


def test_an_archive_is_not_said_to_be_a_disk(two_disks: Path, g: Guestfs) -> None:
    """The hint for a .gz, format=raw, would make users open the archive itself."""
    with pytest.raises(Error, match=r"is no disk but an archive \(tar\): unpack the disk that is in it") as e:
        g.open_disks(two_disks, unpack=None)
    assert "format=raw" not in e.value.message


def test_a_packed_disk_is_converted(two_disks: Path, tmp_path: Path) -> None:
    converter = DiskConverter()
    refused = converter.convert(two_disks, tmp_path / "new.raw", "raw")
    assert refused["error"] is not None
    assert refused["error"].endswith("is a guest of 2 disks, 'b.vmdk', 'a.vmdk'")
    assert not (tmp_path / "new.raw").exists()
    for name, content in (("a.vmdk", A), ("b.vmdk", B)):
        unpack = UnpackLimits(member=name)
        result = converter.convert(two_disks, tmp_path / "new.raw", "raw", unpack=unpack, replace=True)
        assert (result["error"], result["source_path"]) == (None, str(two_disks))
        assert (tmp_path / "new.raw").read_bytes() == content
    (tmp_path / "c.gz").write_bytes(gzip.compress(C))
    assert converter.get_info(tmp_path / "c.gz")["virtual-size"] == len(C)
    converter.convert(tmp_path / "c.gz", tmp_path / "new.raw", "raw", replace=True)
    assert (tmp_path / "new.raw").read_bytes() == C
    refused = converter.convert(tmp_path / "c.gz", tmp_path / "new.raw", "raw", unpack=None, replace=True)
    assert "is no disk but a file that gzip made" in (refused["error"] or "")


def test_headers_of_other_makers(tmp_path: Path) -> None:
    """A binary number, values for all later files, and links and devices in between."""
    size = {124: b"\x80" + len(A).to_bytes(11, "big")}
    content = (
        header(b"g", len(b"18 comment=abcdef\n"), b"g")
        + padded(b"18 comment=abcdef\n")
        + header(b"dir/", 5, b"5")
        + header(b"link.vmdk", 7, b"2")
        + header(b"node", 9, b"3")
        + header(b"strange", 600, b"Z")
        + bytes(1024)
        + extended(path="ü.vmdk", mtime="1.5")
        + header(b"wrong.vmdk", 0, more=size)
        + padded(A)
    )
    assert disks_of(tmp_path, content + bytes(1024)) == {"'ü.vmdk'": A}


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_archive_is_an_error_or_a_disk(tmp_path: Path, seed: int) -> None:
    """Whatever the bytes are, no other exception is raised, and the output stays within the limit."""
    random = Random(seed)
    sparse = tmp_path / "disk.raw"
    with sparse.open("wb") as file:
        file.write(b"x" * 4096)
        file.seek(65536)
        file.write(b"y" * 4096)
        file.truncate(131072)
    originals = [
        tar({"m.ovf": ovf([Drive("a.vmdk"), Drive("b.vmdk", address=1)]), "a.vmdk": b"a", "b.vmdk": b"b"})
    ]
    for options in (["--format=oldgnu"], ["--format=pax"], ["--format=pax", "--sparse-version=0.1"]):
        subprocess.run(["tar", *options, "-C", tmp_path, "-Scf", tmp_path / "a.tar", "disk.raw"], check=True)
        originals.append((tmp_path / "a.tar").read_bytes())
    digits = b"0123456789 \n=,\0\x80\xff/."
    opened_well = 0
    for _ in range(250):
        content = bytearray(random.choice(originals))
        for _ in range(random.randint(1, 4)):
            place = random.randrange(min(len(content), 3072))
            content[place] = random.choice((random.randrange(256), random.choice(digits)))
        for block in range(0, min(len(content), 3072), 512):  # or only the checksum would be checked
            if content[block + 257 : block + 262] == b"ustar":
                content[block + 148 : block + 156] = b" " * 8
                content[block + 148 : block + 156] = b"%06o\0 " % sum(content[block : block + 512])
        if random.random() < 0.1:
            del content[random.randrange(len(content)) :]
        try:
            disks = disks_of(tmp_path, bytes(content), UnpackLimits(size=MIB))
            opened_well += 1
            assert sum(map(len, disks.values())) <= MIB
        except Error:
            pass
    assert opened_well > 10


# ---- the list of them


def test_the_disks_are_listed_in_the_order_of_the_guest(tmp_path: Path) -> None:
    path = tmp_path / "machine.ova"
    drives = [Drive("b\x7f.vmdk"), Drive("a.vmdk", address=1)]
    path.write_bytes(tar({"a.vmdk": A, "b\x7f.vmdk": B, "m.ovf": ovf(drives)}))
    assert disks_in_archive(path) == (ArchivedDisk("b\x7f.vmdk", len(B)), ArchivedDisk("a.vmdk", len(A)))


@pytest.mark.parametrize(
    ("content", "number", "reason"),
    [
        (tar({"readme": b""}), errno.EINVAL, "is an archive without a disk: it holds 'readme'"),
        (tar({"a.vmdk": A, "b.vmdk": B}), errno.EINVAL, "is an archive of several disks"),
        (b"no archive", errno.EINVAL, "is no archive that can be read"),
        (gzip.compress(tar({"a.vmdk": A})), errno.EINVAL, "is no archive that can be read"),
        (None, errno.ENOENT, "No such file or directory"),
    ],
)
def test_an_archive_that_cannot_be_listed_is_an_error_that_names_it(
    content: bytes | None, number: int, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "machine.ova"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Error) as caught:
        disks_in_archive(os.fsencode(path))
    assert caught.value.message.startswith(f"{path}: {reason}")
    assert (caught.value.op, caught.value.errno) == ("probe", number)


def test_a_fifo_in_place_of_an_archive_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "machine.ova")
    with pytest.raises(Error, match="is no file"):
        disks_in_archive(tmp_path / "machine.ova")
