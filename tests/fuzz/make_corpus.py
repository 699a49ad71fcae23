"""Rebuild corpus/ and its neighbours: `python -m tests.fuzz.make_corpus`.

An image is the non-zero bytes in the first 4 MiB of a small one made by qemu-img.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

from tests.images import archives, hives, registry, rpm

CORPUS = Path(__file__).parent / "corpus"
IMAGES = {
    "qcow": ("qcow", ""),
    "qcow2-v2": ("qcow2", "compat=0.10,backing_file=base,backing_fmt=raw"),
    "qcow2-v3": ("qcow2", "cluster_size=4k,extended_l2=off,lazy_refcounts=on"),
    "qcow2-data": ("qcow2", "data_file=data,data_file_raw=on"),
    "qcow2-zstd": ("qcow2", "compression_type=zstd,extended_l2=on"),
    "vmdk-sparse": ("vmdk", "subformat=monolithicSparse"),
    "vmdk-flat": ("vmdk", "subformat=monolithicFlat"),
    "vmdk-split": ("vmdk", "subformat=twoGbMaxExtentSparse"),
    "vmdk-stream": ("vmdk", "subformat=streamOptimized"),
    "vpc-fixed": ("vpc", "subformat=fixed"),
    "vpc-dynamic": ("vpc", "subformat=dynamic"),
    "vhdx": ("vhdx", "subformat=dynamic"),
    "vdi": ("vdi", ""),
}
RPM_CORPUS = CORPUS.with_name("corpus-rpm")
REGISTRY_CORPUS = CORPUS.with_name("corpus-registry")
LVM_CORPUS = CORPUS.with_name("corpus-lvm")
TEXTS_CORPUS = CORPUS.with_name("corpus-texts")
PYTHON_CORPUS = CORPUS.with_name("corpus-untrusted")
BLOCK, LARGEST, MOST = 128, 4 << 20, 24


def pack(image: bytes) -> bytes:
    """Return the image in the form that probe.cpp reads: its non-zero blocks, and its last byte."""
    pieces = bytearray(b"\0")  # states no format
    image = image[:LARGEST]
    starts = [at for at in range(0, len(image), BLOCK) if image[at : at + BLOCK].strip(b"\0")][:MOST]
    for at in starts:
        block = image[at : at + BLOCK].rstrip(b"\0")
        pieces += struct.pack("<IH", at, len(block)) + block
    return bytes(pieces + struct.pack("<IH", len(image) - 1, 1) + image[-1:])


def main() -> None:
    """Rebuild the corpus."""
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "base").write_bytes(bytes(1 << 20))
        for name, (form, options) in IMAGES.items():
            words = ["-o", options] if options else []
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", form, *words, name, "1M"], cwd=folder, check=True
            )
            if name == "qcow2-v3":
                subprocess.run(["qemu-img", "snapshot", "-c", "one", name], cwd=folder, check=True)
            (CORPUS / name).write_bytes(pack((Path(folder) / name).read_bytes()))
    (CORPUS / "vmdk-parent").write_bytes(pack(b"# Disk DescriptorFile\ncreateType=\"vmfs\"\n"
                                              b'parentFileNameHint="up"\nRW 9 VMFS "a" 0\n'))  # fmt: skip
    empty_lines = b'# Disk DescriptorFile\ncreateType="vmfs"\n' + b"\n" * 2000 + b'RW 9 VMFS "a" 0\n'
    (CORPUS / "vmdk-empty-lines").write_bytes(pack(empty_lines))
    (CORPUS / "qcow2-long-names").write_bytes(pack(qcow2_with_long_names()))
    (CORPUS / "vhdx-parents").write_bytes(pack(vhdx_with_parents()))

    entry = b"\0\0\0\0\x83\0\0\0" + struct.pack("<II", 16, 64)
    mbr = bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"
    gpt = b"EFI PART" + bytes(16) + struct.pack("<QQ", 1, 200)
    ext = bytes(1080) + b"\x53\xef" + bytes(18) + b"\1"
    disks = {
        "raw-gpt": mbr + gpt,
        "raw-gpt-4096": mbr.ljust(4096, b"\0") + gpt,
        "raw-mbr-4096": mbr.ljust(16 * 4096, b"\0") + ext,
        "raw-html": b"<!DOCTYPE html>\n<title>404</title>\n",
        "raw-pdf": b"%PDF-1.7\n",
    }
    for name, start in disks.items():
        (CORPUS / name).write_bytes(pack(start.ljust(1 << 20, b"\0")))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "raw").write_bytes((mbr + ext).ljust(1 << 20, b"\0"))
        words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "qcow2"]
        subprocess.run(words, cwd=folder, check=True)
        (CORPUS / "qcow2-mbr").write_bytes(pack((Path(folder) / "qcow2").read_bytes()))
    make_rpm_corpus()
    make_registry_corpus()
    make_lvm_corpus()
    make_texts_corpus()
    make_untrusted_corpus()


def qcow2_with_long_names() -> bytes:
    """Return a disk with snapshots whose IDs and names are as long as possible."""
    snapshots = 12
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 9, 512, 0, 1, 1024, 512, 1, snapshots, 2048)
    snapshot = struct.pack(">QIHH", 1024, 1, 65535, 65535).ljust(40 + 2 * 65535 + 2, b"\0")
    return header.ljust(2048, b"\0") + snapshot * snapshots


def vhdx_with_parents() -> bytes:
    """Return a differencing disk whose parent locator has one key in each of its entries."""
    parameters, size, sector, parent = (
        bytes.fromhex(guid)
        for guid in (
            "3767a1ca36fa434db3b633f0aa44e76b", "2442a52f1bcd7648b2115dbed83bf4b8",
            "1dbf41816fa90947ba47f233a8faab5f", "2d5fd3a80bb34d45abf7d3d84834ab0c",
        )
    )  # fmt: skip
    regions = (
        bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e"),
        bytes.fromhex("6677c22d23f600429d64115e9bfd4a08"),
    )
    key, name = "volume_path".encode("utf-16-le"), "up".encode("utf-16-le")
    entry = struct.pack("<IIHH", 212, 212 + len(key), len(key), len(name))
    items = {
        parameters: struct.pack("<II", 32 << 20, 2),
        size: struct.pack("<Q", 1 << 20),
        sector: struct.pack("<I", 512),
        parent: struct.pack("<18xH", 16) + entry * 16 + key + name,
    }
    table, content = struct.pack("<8s2xH20x", b"metadata", len(items)), b""
    for guid, item in items.items():
        table += guid + struct.pack("<IIQ", 65536 + len(content), len(item), 0)
        content += item.ljust(64, b"\0")
    places = zip(regions, (1 << 20, 2 << 20), strict=True)
    pieces = {
        0: b"vhdxfile",
        64 << 10: struct.pack("<4s4xQ50xH", b"head", 1, 1),
        192 << 10: struct.pack("<4s4xII", b"regi", len(regions), 0)
        + b"".join(guid + struct.pack("<QII", at, 1 << 20, 1) for guid, at in places),
        1 << 20: table,
        (1 << 20) + 65536: content,
    }
    image = bytearray(3 << 20)
    for at, piece in pieces.items():
        image[at : at + len(piece)] = piece
    return bytes(image)


def make_rpm_corpus() -> None:
    """Rebuild the databases of rpm, in the form that rpm.cpp reads."""
    RPM_CORPUS.mkdir(exist_ok=True)
    small = [
        rpm.package("bash", "5.2", epoch=1, arch="x86_64", url="u", summary=["a", "b"], description="c"),
        rpm.package("zlib", "1", padding=600),
    ]
    many = [rpm.package(f"package{number}", "1") for number in range(20)]
    bare = rpm.sqlite(small, page_size=512, indexes=())
    log = rpm.logged(bare, many[:2])[:6000]
    databases = {
        "header": b"h" + small[0],
        "header-v3": b"h" + rpm.header({rpm.NAME: (rpm.STRING, "old")}, region=False),
        "sqlite": b"s" + bare,
        "sqlite-tree": b"s" + rpm.sqlite(many, page_size=512, indexes=("Name",)),
        "sqlite-log": b"l" + struct.pack("<H", len(bare)) + bare + log,
        "ndb": b"n" + rpm.ndb(small),
        "bdb": b"b" + rpm.bdb(small, page_size=512, buckets=2),
        "bdb-big-endian": b"b" + rpm.bdb(many, page_size=1024, order=">"),
    }
    for name, content in databases.items():
        assert len(content) <= 16384, f"{name}: the fuzzer cuts it off"
        (RPM_CORPUS / name).write_bytes(content)


def make_registry_corpus() -> None:
    """Rebuild the hives and programs of Windows, in the form that registry.cpp reads."""
    REGISTRY_CORPUS.mkdir(exist_ok=True)
    drives = {
        "C": registry.mounted_in_gpt("01234567-89ab-cdef-0123-456789abcdef"),
        "D": registry.mounted_in_mbr(b"SIGN", 1 << 20),
    }
    hives_by_name = {
        "software": hives.write(registry.software()),
        "software-lists": hives.write(registry.software(), list_size=3),
        "software-hivex": registry.hive(registry.SOFTWARE),
        "system": hives.write(registry.system(drives)),
        "system-hivex": registry.hive(registry.SYSTEM),
    }
    inputs = {name: b"h" + hive[36:40] + hive[4096:] for name, hive in hives_by_name.items()}
    inputs["program"] = b"p" + registry.program()
    inputs["program-32"] = b"p" + registry.program_of_32_bits()
    for name, content in inputs.items():
        assert len(content) <= 16384, f"{name}: the fuzzer cuts it off"
        (REGISTRY_CORPUS / name).write_bytes(content)


def lvm_text(name: str, *members: str, seqno: int = 1, segment: str = "striped") -> bytes:
    """Return the metadata of a group as LVM writes it; its members' UUIDs repeat the disks' numbers."""
    volumes = "".join(
        f'\npv{i} {{\nid = "{uuid * 32}"\ndevice = "/dev/sda{i}"\t# Hint only\n\nstatus = ["ALLOCATABLE"]\n'
        f"flags = []\ndev_size = 20480\npe_start = 2048\npe_count = 2\n}}\n"
        for i, uuid in enumerate(members)
    )
    return (
        f'{name} {{\nid = "6dq8OB-4ehs-{name}"\nseqno = {seqno}\nformat = "lvm2"\t\t\t# informational\n'
        'status = ["RESIZEABLE", "READ", "WRITE"]\nflags = []\nextent_size = 8192\t\t# 4 Megabytes\n'
        f"max_lv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n{volumes}}}\n\nlogical_volumes {{\n\n"
        'root {\nid = "Xc1qfW"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\ncreation_time = 1700000000'
        '\t# 2023-11-14\ncreation_host = "localhost"\nsegment_count = 1\n\nsegment1 {\nstart_extent = 0\n'
        f'extent_count = 2\n\ntype = "{segment}"\nstripe_size = 128\nstripe_count = 1\t# linear\n\n'
        'stripes = [\n"pv0", 0\n]\n}\n}\n}\n}\n'
        '# Generated by LVM2\n\ncontents = "Text Format Volume Group"\nversion = 1\n\n'
        'description = "a \\"quoted\\" word"\n'
    ).encode()


def lvm_volume(text: bytes, offset: int = 512, area: int = 8192) -> bytes:
    """Return a physical volume in the form that lvm.cpp reads, its text at that place of a ring."""
    label = b"LABELONE" + struct.pack("<QII8s", 1, 0, 32, b"LVM2 001") + b"0" * 32
    label += struct.pack("<9Q", 20 << 20, 1 << 20, 0, 0, 0, 4096, area, 0, 0)
    header = struct.pack("<I16sIQQ", 0, b" LVM2 x[5A%r0N*>", 1, 4096, area)
    header += struct.pack("<QQII", offset, len(text), 0, 0)
    ring = bytearray(area - 512)
    for i, byte in enumerate(text):
        ring[(offset - 512 + i) % len(ring)] = byte
    return label.ljust(512, b"\0") + header.ljust(512, b"\0") + bytes(ring).rstrip(b"\0")


def make_lvm_corpus() -> None:
    """Rebuild the metadata of LVM, in the form that lvm.cpp reads."""
    LVM_CORPUS.mkdir(exist_ok=True)
    text = lvm_text("vg", "0")
    inputs = {
        "text": b"t" + text,
        "text-thin": b"t" + lvm_text("vg", "0", segment="thin-pool"),
        "groups": b"g" + lvm_text("one", "0") + b"\0" + lvm_text("other", "1"),
        "group-of-two": b"g" + lvm_text("vg", "0", "1") + b"\0" + lvm_text("vg", "0", "1", seqno=2),
        "group-with-a-gap": b"g" + lvm_text("vg", "0", "9"),
        "volume": b"v" + lvm_volume(text),
        "volume-around-the-end": b"v" + lvm_volume(text, offset=8192 - 300),
        "volume-of-no-group": b"v" + lvm_volume(b"", offset=0),
    }
    for name, content in inputs.items():
        assert len(content) <= 16384, f"{name}: the fuzzer cuts it off"
        (LVM_CORPUS / name).write_bytes(content)


def make_texts_corpus() -> None:
    """Rebuild the small texts and structures, in the form that texts.cpp reads."""
    sector = b"\0" * 510 + b"\x55\xaa"
    md = struct.pack("<II", 0xA92B4EFC, 1).ljust(32, b"\0") + b"host:0".ljust(40, b"\0")
    qemu = (
        b"-machine", b"accel=tcg", b"-m", b"1280", b"-device", b"virtio-scsi-pci,id=scsi",
        b"-drive", b"file=/a/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw",
        b"-device", b"scsi-hd,drive=appliance", b"-chardev", b"socket,path=/tmp/1/g.sock,id=channel0",
        b"-append", b"panic=1 root=UUID=1 quiet TERM=xterm", b"-name", b"guestkit-1-1",
        b"-sandbox", b"on,spawn=deny",
    )  # fmt: skip
    disk = (b"-drive", b"file=/x,,id=b.img,format=qcow2,id=hd0,if=none", b"-device", b"scsi-hd,drive=hd0")
    overlay = b"file.file.filename=/o,file.driver=qcow2,file.backing.file.locking=off,id=hd1,if=none"
    command = b"\0".join(qemu)
    write_corpus(
        TEXTS_CORPUS,
        {
            "os-release": b'oPRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n'
            b"# x\nHOME_URL='u'\n",
            "os-release-crlf": b"oID=ubuntu\r\nVERSION_ID=22.04\r\n",
            "release-file": b"rCentOS Linux release 7.9.2009 (Core)\n",
            "hostname": b"r# a comment\nweb.example\n",
            "fstab": b"fUUID=1-2 / ext4 defaults,subvol=@ 0 1\n/dev/sda1\t/b\\040c auto ro\n"
            b"LABEL=x none swap sw 0 0\r\n",
            "fstab-odd": b"f/dev/nvme0n1p2 /../x/./y xfs a 0 x\n/dev/mapper/a-b /a//b\n#\n\0 / a\n",
            "dpkg": b"dPackage: a\nStatus: install ok installed\nVersion: 1:2-3\nArchitecture: amd64\n"
            b"Homepage: h\nSource: s (1)\nDescription: d\n one\n two\n\nPackage: b\nVersion: 1\n\n",
            "apk": b"aC:Q1=\nP:musl\nV:1.2-r3\nA:x86_64\nT:the libc\nU:https://x\n\n",
            "pacman": b"p%NAME%\nbash\n\n%VERSION%\n1:5.2-1\n\n%DESC%\nthe shell\n%ARCH%\nx86_64\n",
            "ifupdown": b"nauto lo\niface eth0 inet static\n address 1.2.3.4/24\n gateway 1.2.3.1\n"
            b" hwaddress ether 02:00\n dns-nameservers 1.1.1.1 ::1\n",
            "ifcfg": b"nDEVICE=eth0\nBOOTPROTO=none\nIPADDR=1.2.3.4\nPREFIX=24\nDNS1='9.9.9.9'\n"
            b"HWADDR=02:00\n",
            "networkd": b"n[Match]\nName=en*\n[Network]\nDHCP=yes\nDNS=1.1.1.1 ::1\nAddress=1.2.3.4/24\n",
            "network-manager": b"n[connection]\nid=a\ninterface-name=eth0\n[ipv4]\nmethod=manual\n"
            b"address1=1.2.3.4/24,1.2.3.1\ndns=9.9.9.9;8.8.8.8;\n[ethernet]\nmac-address=02:00\n",
            "passwd": b"nroot:x:0:0:root,,,:/root:/bin/bash\nd:x:-1:65534::/:\n",
            "blkid": b"broot\\ part M-CM-$M-^@^A M-\\ \\\\",
            "md": b"s" + md + struct.pack("<iQII", 1, 2048, 0, 0).ljust(40, b"\0") + bytes(32),
            "elf": b"s\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0",
            "console": b"m\x20[    0.1] Kernel panic - secret\r\n\x1b[2J secr\netsecret\n" + b"x" * 300,
            "command": b"q" + command + b"\0\0" + command + b"\0" + b"\0".join(disk),
            "command-overlay": b"q" + command + b"\0\0" + command + b"\0-drive\0" + overlay + b"\0-device\0"
            b"scsi-hd,drive=hd1,serial=s,physical_block_size=4096",
            "device": b"e" + struct.pack("<QH", 1 << 20, 1024) + sector + b"LABELONE" + md,
            "device-end": b"e" + struct.pack("<QH", 1 << 20, 0) + (b"\xfc\x4e\x2b\xa9" + bytes(508)) * 16,
        },
    )


def make_untrusted_corpus() -> None:
    """Rebuild what Python reads, in the form that untrusted.py reads."""
    drives = [archives.Drive("a.vmdk"), archives.Drive("b.vmdk", address=1), archives.Drive("c.iso", type=15)]
    ova = archives.tar({"m.ovf": archives.ovf(drives[:1]), "a.vmdk": b"KDMV" + bytes(600)})
    sparse = archives.extended(GNU_sparse_size="4096", GNU_sparse_map="0,512,2048,512", path="s.img")
    old = archives.header(b"o.img", 512, b"S", {386: b"%011o\0%011o\0" % (0, 512), 483: b"%011o\0" % 2048})
    write_corpus(
        PYTHON_CORPUS,
        {
            "tar": b"t" + archives.tar({"disk.img": b"content", "./b/x.vmdk": b"1"}),
            "tar-long": b"t"
            + archives.extended(path="n" * 300)
            + archives.header(b"n", 1)
            + archives.padded(b"x"),
            "tar-sparse": b"t" + sparse + archives.header(b"s", 1024) + bytes(1024),
            "tar-sparse-old": b"t" + old + bytes(512),
            "ova": b"t" + ova,
            "ovf": b"v" + archives.ovf(drives),
            "gzip": b"g" + gzip.compress(b"content" * 99, mtime=0),
            "bzip2": b"b" + bz2.compress(b"content" * 99),
            "xz": b"x" + lzma.compress(b"content" * 99),
            "zstd": b"z" + zstandard.compress(b"content" * 99),
            "ova-packed": b"w" + gzip.compress(ova, mtime=0),
            "disk-packed": b"w" + lzma.compress(bytes(5000) + b"x"),
            "key": b"aall:file:/k",
            "path": b"a/etc/../x//y",
            "number": b"a1e3",
            "text": "cü\x1b[2J\u202e\tx\ny".encode() + b"\xff",
            "report": "r/dev/sda1\nwéb\x1b\t<&>\"'\r".encode() + b"\xff",
        },
    )


def write_corpus(folder: Path, inputs: Mapping[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in inputs.items():
        assert len(content) <= 16384, f"{name}: the fuzzer cuts it off"
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
