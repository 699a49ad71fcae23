"""Attacks on the host: names of its files, bombs, archives, hands in the cache, looks for secrets."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import io
import logging
import lzma
import os
import resource
import select
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from guestkit import Error, Guestfs, Key, UnpackLimits, appliance, inspect, probe, under
from guestkit.opening import Backing
from tests.images import naming
from tests.images.archives import Drive, extended, header, ovf, padded, tar
from tests.images.corpus import PASSPHRASE, images
from tests.soak import mutate
from tests.soak.case import Case, Skipped, expect
from tests.soak.leftovers import arguments, children, environment
from tests.soak.running import ROOT

ABOUT = "images that name the host's files, bombs, archives, hands in the cache, looks for secrets"
LIMIT = 900.0
MIB = 1 << 20


def run(case: Case) -> None:
    """Attack."""
    kinds = (_names, _bomb, _archive, _names, _tampering, _secrets)
    kind = kinds[(case.number + case.seed) % len(kinds)]
    case.tried(kind.__name__.lstrip("_"))
    kind(case)


# ---- images that name files


class Watch:
    """Tells whether somebody has opened a file, by inotify(7)."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        opened_or_read = 0x20 | 0x01
        name = os.fsencode(path)
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, name, opened_or_read) < 0:
            raise Skipped("this host has no inotify")

    def close(self) -> bool:
        """Return whether it was opened."""
        ready, _, _ = select.select([self._descriptor], [], [], 0)
        os.close(self._descriptor)
        return bool(ready)


def _spellings(secret: Path) -> dict[str, str]:
    """Return names that lead to the file, or would if somebody followed them."""
    up = "../" * 30
    return {
        "absolute": str(secret), "up": f"{up}{secret}", "dots": f"/./{secret}", "slashes": f"////{secret}",
        "file:": f"file:{secret}", "file://": f"file://{secret}", "host_device": f"host_device:{secret}",
        "json file": f'json:{{"driver":"file","filename":"{secret}"}}',
        "json raw": f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}',
        "json dotted": f'json:{{"file.driver":"file","file.filename":"{secret}"}}',
        "json offset": f'json:{{"driver":"raw","offset":0,"file":{{"driver":"file","filename":"{secret}"}}}}',
        "blkdebug": f"blkdebug::{secret}", "blkverify": f"blkverify:{secret}:{secret}",
        "raw:": f"raw:{secret}",
        "fat:": f"fat:{secret.parent}", "vvfat": f"fat:rw:{secret.parent}", "copy": f"copy-on-read:{secret}",
        "nbd": "nbd://127.0.0.1:1/", "nbd unix": f"nbd+unix:///?socket={secret}", "http": "http://127.0.0.1:1/a",
        "ssh": f"ssh://127.0.0.1{secret}", "fd": "/proc/self/fd/0", "dev fd": "/dev/fd/3",
        "fdset": "/dev/fdset/0",
        "environ": "/proc/self/environ", "nul": f"{secret}\0.img", "long": f"{'/.' * 490}{secret}",
    }  # fmt: skip


def _named(case: Case, folder: Path, secret: Path) -> tuple[Path, str]:
    """Make an image that names the secret; return it and its format."""
    chance = case.random
    path = folder / "disk"
    if chance.random() < 0.4:
        make = chance.choice(naming.HOSTILE)
        case.tried(make.__name__)
        make(path, secret)
        kind = naming.format_of(make)
    else:
        spelling, name = chance.choice(list(_spellings(secret).items()))
        way = chance.choice(("backing", "backing without format", "extent", "changed in place"))
        case.tried(f"{way}, {spelling}")
        kind = "qcow2"
        if way == "extent":
            kind = "vmdk"
            extent = chance.choice(("FLAT", "VMFS", "SPARSE", "ZERO"))
            path.write_bytes(
                b"# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\n"
                b'createType="monolithicFlat"\n' + os.fsencode(f'RW 2048 {extent} "{name}" 0\n')
            )
        else:
            name = name[:1000]
            naming.overlay(path, "x" * len(name), None if "without" in way else "raw")
            # qemu-img refuses some of these names, but an attacker does not ask it.
            path.write_bytes(path.read_bytes().replace(b"x" * len(name), os.fsencode(name), 1))
    for level in range(chance.choice((0, 0, 1, 3))):
        below = path.with_name(f"below-{level}")
        path.rename(below)
        naming.overlay(path, below.name, kind)
        kind = "qcow2"
        case.tried("beneath a qcow2")
    if chance.random() < 0.2:
        content = path.read_bytes()
        changed, how = mutate.bits(chance, content[: 64 << 10])
        path.write_bytes(changed + content[64 << 10 :])
        case.tried(how)
    return path, kind


def _names(case: Case) -> None:
    """Open images that name a file: nobody opens that file, or the content is not the guest's."""
    host = case.folder / "host"
    host.mkdir()
    secret = host / "secret"
    token = case.secret()
    secret.write_bytes(f"\0{token}".encode().ljust(MIB, b"."))
    for number in range(12):
        folder = case.input / str(number)
        folder.mkdir()
        if _is_opened(case, folder, secret, token.encode()):
            break  # a launch takes longer than all else


def _is_opened(case: Case, folder: Path, secret: Path, token: bytes) -> bool:
    """Make such an image, and open it; return whether an appliance had it."""
    path, kind = _named(case, folder, secret)
    policies: tuple[Backing, ...] = ("refuse", "refuse", under(folder))
    policy = case.random.choice(policies)
    if (folder / "parent.vmdk").exists():  # a copy of the secret, where files may be followed
        policy = "refuse"
    stated = case.random.choice((kind, None))
    case.tried(f"backing {policy if policy == 'refuse' else 'under'}, format {stated}")
    watch = Watch(secret)
    launched = False
    try:
        with suppress(Error):
            probe(path, stated)
        with Guestfs(appliance="inspection", call_timeout=120) as g:
            g.open_disk(path, format=stated, backing=policy)
            launched = True
            g.launch()
            seen = b"".join(g.pread_device(device, 4096, 0) for device in g.list_devices())
        expect(token not in seen, "the guest has none of the host's files", "it has the secret")
        case.tried("opened")
    except Error as error:
        case.tried(error.cause if error.cause != "unknown" else error.message[-60:])
    finally:
        opened = watch.close()
    expect(not opened or policy != "refuse", "nobody opens the file that the image names", "somebody did")
    return launched


# ---- bombs and archives


def _room(place: str) -> int:
    """Return how many bytes the directory's files take, and this process' open files without a name."""
    found: dict[tuple[int, int], int] = {}

    def add(file: os.stat_result) -> None:
        if stat.S_ISREG(file.st_mode):
            found[file.st_dev, file.st_ino] = file.st_blocks * 512

    for directory, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                add(os.lstat(os.path.join(directory, name)))
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            # By its path: ThreadSanitizer takes fstat(2) for a race with the thread that closes it.
            file = os.stat(f"/proc/self/fd/{descriptor}")
            if file.st_nlink == 0:
                add(file)
    return sum(found.values())


@contextmanager
def bounded(case: Case, size: int, seconds: float) -> Iterator[None]:
    """Check that the block takes no more room, memory and time than that, or a bit."""
    place = os.environ.get("TMPDIR", "/tmp")  # the case's own
    most = [0]
    over = threading.Event()

    def look() -> None:
        ended = False
        while not ended:
            ended = over.wait(0.01)
            most[0] = max(most[0], _room(place))

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join()
        took = time.monotonic() - begun
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    case.tried(f"{most[0] // MIB} MB of room, {grown // 1024} MB of memory, {took:.1f} s")
    expect(most[0] < size + 32 * MIB, f"at most {size // MIB} MB of room", f"{most[0] // MIB} MB")
    expect(grown < 600 << 10, "at most 600 MB of memory", f"{grown // 1024} MB")
    expect(took < seconds + 60, f"at most {seconds} s", f"{took:.0f} s")


def _packed(size: int, pack: str, byte: bytes) -> bytes:
    """Return that many bytes, packed, without having them in memory. Zeros would become holes."""
    block = byte * MIB
    if pack == "gz":
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
            for _ in range(size // MIB):
                file.write(block)
        return out.getvalue()
    packer: lzma.LZMACompressor | bz2.BZ2Compressor
    packer = lzma.LZMACompressor(preset=0) if pack == "xz" else bz2.BZ2Compressor(1)
    return b"".join([*(packer.compress(block) for _ in range(size // MIB)), packer.flush()])


#: Kinds of bombs, and what of guestkit's error tells that the limit was met which they are to exceed.
BOMBS = {
    **dict.fromkeys(("gz", "xz", "bz2", "nested", "member"), "becomes larger than"),
    "dictionary": "Memory usage limit",
    "sparse": "the map of a sparse file is damaged",
    "many members": "it has more than 10000 headers",
    "huge header": "is too long",
    "entities": "the descriptor has a document type",
}


def _bomb(case: Case) -> None:
    """Open what becomes gigabytes when it is unpacked."""
    set_off(case, case.random.choice(tuple(BOMBS)))


def set_off(case: Case, kind: str) -> None:
    """Open a bomb of that kind: guestkit refuses it, by the limit that it exceeds."""
    case.tried(kind)
    path = case.input / "disk"
    byte = bytes([case.random.randrange(1, 256)])
    content: bytes
    if kind == "nested":
        content = gzip.compress(gzip.compress(_packed(4096 * MIB, "gz", byte)))
    elif kind == "member":
        size = 1024 * MIB
        content = gzip.compress(header(b"disk.raw", size)) + _packed(size, "gz", byte)
    elif kind == "sparse":
        real_size = b"\x80" + struct.pack(">xxxQ", 1 << 60)
        content = header(b"disk.raw", 0, b"S", {386: b"%011o\0" % 0, 483: real_size}) + bytes(1024)
    elif kind == "many members":
        content = (header(b"a", 0) * 200_000) + bytes(1024)
    elif kind == "huge header":
        content = header(b"x", 1 << 32, b"x") + bytes(4096)
    elif kind == "dictionary":
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
        content = lzma.compress(b"x" * 100, filters=filters)
    elif kind == "entities":
        lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
        text = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "x">{lines}]><Envelope>&a11;</Envelope>'
        content = tar({"a.ovf": text.encode(), "a.vmdk": b"KDMV" + bytes(MIB)})
    else:
        content = _packed(1024 * MIB, kind, byte)
    path.write_bytes(content)
    limits = UnpackLimits(size=64 * MIB, seconds=20.0)
    with bounded(case, 64 * MIB, 20.0):
        told = _open(case, path, limits)
    expect(BOMBS[kind] in told, f"an error of {BOMBS[kind]!r}", told or "it was opened")


def _open(case: Case, path: Path, limits: UnpackLimits) -> str:
    """Open what is packed; return guestkit's error, or nothing."""
    try:
        with Guestfs() as g:
            case.tried(f"opened: {[info.format for info in g.open_disks(path, unpack=limits)]}")
    except Error as error:
        case.tried(error.message.rpartition(": ")[2][:80])
        return error.message
    return ""


def _archive(case: Case) -> None:
    """Open archives whose names and links lead elsewhere, or that are damaged: nothing is written there."""
    elsewhere = case.folder / "elsewhere"
    elsewhere.mkdir()
    victim = elsewhere / "victim"
    token = case.secret()
    victim.write_text(token, encoding="utf-8")
    for number in range(20):
        path = case.input / f"{number}.ova"
        path.write_bytes(_hostile_archive(case, victim))
        _open(case, path, UnpackLimits(size=64 * MIB, seconds=20.0))
        there = os.listdir(elsewhere)
        expect(there == ["victim"], "nothing is written elsewhere", there)
        expect(victim.read_text(encoding="utf-8") == token, "no file is changed", "the victim was")
        path.unlink()


def _hostile_archive(case: Case, victim: Path) -> bytes:
    chance = case.random
    disk = b"KDMV".ljust(MIB, b"\0") if chance.random() < 0.5 else bytes(510) + b"\x55\xaa" + bytes(MIB)
    names = ("disk.img", f"../../../../{victim}", f"{victim}", "a/../../disk.raw", "a\n.img", "\x1b[2J.raw")
    pieces = []
    told = []
    for _ in range(chance.choice((1, 2, 5))):
        name = chance.choice(names)
        letter = chance.choice("001234567LKxgS")
        kind = letter.encode()
        told.append(f"{letter} {name}")
        body = disk if kind == b"0" else b""
        linked = {157: os.fsencode(victim)[:99]} if kind in b"12" else None
        pieces.append(header(name.encode()[:99], len(body), kind, linked) + padded(body))
    if chance.random() < 0.3:
        number = str(chance.choice((0, 5, 1 << 40)))
        pieces.insert(0, extended(path=str(victim), linkpath=str(victim), size=number))
    if chance.random() < 0.4:
        drive = Drive(chance.choice(names), attributes=f'ovf:size="{chance.choice(mutate.NUMBERS)}"')
        pieces.append(tar({"guest.ovf": ovf([drive])}))
    content = b"".join(pieces) + bytes(1024)
    if chance.random() < 0.5:
        content, how = mutate.bits(chance, content)
        told.append(how)
    if chance.random() < 0.3:
        content = gzip.compress(content)
    case.tried(", ".join(told))
    return content


# ---- hands in the cache


def _copied_cache(case: Case) -> Path:
    """Return a copy of the appliances' cache, which launches then use."""
    found = [one.directory for one in appliance.appliances() if not one.fault]
    warm = [path for path in found if path.name.startswith("warm-")]
    if not warm:
        raise Skipped("no warm appliance has been built")
    lean = warm[0].parent
    cache = case.folder / "cache"
    cache.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", "--sparse=always", lean, cache], check=True)
    os.environ["GUESTKIT_CACHEDIR"] = str(cache)
    return cache / lean.name / warm[0].name


#: What another user could have done to a file; only root can give one away, to try that.
HANDS = (*(("owner",) if os.geteuid() == 0 else ()), "mode", "content", "link", "gone", "fifo")


def _tampering(case: Case) -> None:
    """Change the cache as another user could who had got hold of it: what is changed is not used."""
    chance = case.random
    warm = _copied_cache(case)
    files = [path for folder in (warm, warm.parent) for path in sorted(folder.iterdir()) if path.is_file()]
    for victim in files:
        for how in HANDS:
            with _tampered(case, victim, how):
                fault = appliance.check(victim.parent)
            expect(bool(fault), "a changed file is noticed", f"{victim.relative_to(warm.parent)}: {how}")
    expect(not appliance.check(warm), "all is as it was", appliance.check(warm))
    victim = chance.choice((warm, warm.parent, warm.parent.parent, *files, *files))
    how = chance.choice([how for how in HANDS if how != "content" or victim.is_file()])
    case.tried(f"{victim.relative_to(case.folder)}: {how}")
    with _tampered(case, victim, how):
        _launch(case, warm)


def _launch(case: Case, warm: Path) -> None:
    """Launch with the changed cache: by what has not been changed."""
    fault = appliance.check(warm)
    (disk,) = images(["debian"]).values()
    with Guestfs(accel="tcg") as g:
        g.open_disk(disk)
        g.launch()
        info = g.launch_info()
        assert info is not None
        case.tried(f"{info.mode}: {info.reason[:100]}")
        expect(g.list_devices() == ["/dev/sda"], "the appliance works", g.list_devices())
        expect(info.mode != "warm" or not fault, "a changed appliance is not used", fault)


@contextmanager
def _tampered(case: Case, victim: Path, how: str) -> Iterator[None]:
    """Change a file or directory for the duration of the context."""
    moved = case.folder / "moved"
    before = victim.stat()
    if how == "owner":
        os.chown(victim, 12345, 12345)
    elif how == "mode":
        victim.chmod(0o777)
    else:
        victim.rename(moved)
        if how == "content":
            subprocess.run(["cp", "--sparse=always", moved, victim], check=True)
            with victim.open("r+b") as file:
                file.seek(case.random.randrange(max(1, before.st_size)))
                file.write(case.random.randbytes(64))
        elif how == "link":
            victim.symlink_to(moved)
        elif how == "fifo":
            os.mkfifo(victim)
    try:
        yield
    finally:
        if moved.exists():
            if victim.is_dir() and not victim.is_symlink():  # a launch has made it anew
                shutil.rmtree(victim)
            else:
                victim.unlink(missing_ok=True)
            moved.rename(victim)
        os.chown(victim, before.st_uid, before.st_gid)
        victim.chmod(before.st_mode & 0o7777)


# ---- secrets


def _secrets(case: Case) -> None:
    """Open an encrypted disk, with all of it logged: no command, environment, file or message has the key."""
    chance = case.random
    name = chance.choice(("luks", "lvm in luks"))
    (disk,) = images([name]).values()
    key = case.hide(PASSPHRASE)
    wrong = case.secret()
    log = case.output / "log"
    handler = logging.FileHandler(log, errors="backslashreplace")
    logging.getLogger("guestkit").addHandler(handler)
    logging.getLogger("guestkit").setLevel(logging.DEBUG)
    seen: set[str] = set()
    over = threading.Event()
    secrets = (key.encode(), wrong.encode())

    def look() -> None:
        while not over.wait(0.02):
            for pid in children(os.getpid()):
                words = b"\0".join(arguments(pid)) + environment(pid)
                if any(secret in words for secret in secrets):
                    seen.add(f"of {arguments(pid)[0]!r}")
            for path in _written(os.environ.get("TMPDIR", "/tmp")):
                with suppress(OSError):
                    if any(secret in path.read_bytes() for secret in secrets):
                        seen.add(str(path))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        _open_encrypted(case, disk, [Key(wrong), Key(key)], log)
    finally:
        over.set()
        looker.join()
        handler.close()
        logging.getLogger("guestkit").removeHandler(handler)
    expect(not seen, "no command, environment or file has a key", seen)
    expect("cryptsetup_open" in log.read_text(encoding="utf-8"), "the calls are traced", "they are not")


def _written(folder: str) -> list[Path]:
    """Return the small regular files below the folder."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            with suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < 4 * MIB:
                    found.append(path)
    return found


def _report(case: Case, text: str) -> None:
    (case.output / "report").write_text(text, encoding="utf-8", errors="backslashreplace")


def _open_encrypted(case: Case, disk: Path, keys: list[Key], log: Path) -> None:
    chance = case.random
    way = chance.choice(("inspect", "verbose handle", "command line", "error"))
    case.tried(way)
    if way == "inspect":
        found = inspect(disk, keys=keys)
        _report(case, repr(found) + str(found.to_dict()))
        expect(len(found.operating_systems) == 1, "the disk is opened", found.unopened)
    elif way == "verbose handle":
        with Guestfs() as g:
            g.set_verbose(True)
            g.set_trace(True)
            g.open_disk(disk)
            g.launch()
            g.inspect(keys=keys)
    elif way == "error":
        with Guestfs() as g:
            g.open_disk(disk)
            g.launch()
            for device in ("/dev/sda", "/dev/nothing", "/dev/sda1"):
                with suppress(Error):
                    g.cryptsetup_open(device, str(keys[0].passphrase), "name")
            _report(case, repr(g.inspect(keys=keys[:1])))
            g.inspect(keys=keys)
    else:
        file = case.folder / "key"
        file.write_text(f"{PASSPHRASE}\n", encoding="utf-8")
        words = ["inspect", "-vv", "--json", "--key", f"all:file:{file}", str(disk)]
        command = [sys.executable, "-m", "guestkit", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        _report(case, done.stdout.decode(errors="backslashreplace"))
        expect(done.returncode == 0, "status 0", (done.returncode, done.stderr[-500:]))
        log.write_bytes(done.stderr)
