"""Results that are kept for disks that have not changed; what would launch an appliance is replaced."""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import guestkit
from guestkit import Domain, Error, Guestfs, Inspection, Key, _identity, _native, cache, under
from guestkit.cli import main
from guestkit.demo import DEMO_SYSTEM
from guestkit.disks import PlainDisk
from guestkit.inspection import Layer, PartFailure, UnopenedFilesystem, json_schema
from guestkit.opening import OpenDiskOptions
from tests import schemas
from tests.images.naming import overlay, with_data_file, with_extent
from tests.images.writer import written_to
from tests.inspections import NOTHING_FOUND

#: What the inspections that run would have found, with texts that only bytes or surrogates can express.
FOUND = replace(
    NOTHING_FOUND,
    layers=(Layer(kind="lvm", name="vg\udcff", uuid="", level="", members=("/dev/sda1",), devices=()),),
    operating_systems=(replace(DEMO_SYSTEM, hostname="\ud800\x1b", icon=b"\x89PNG\0"),),
)
SIZE = 1 << 20


class Inspections:
    """Counts the inspections that really run; `found` is what each returns, after doing `meanwhile`."""

    def __init__(self) -> None:
        self.count = 0
        self.found = FOUND
        self.meanwhile: Callable[[], object] = lambda: None

    def run(self, disks: Sequence[Path], options: object) -> Inspection:
        self.count += 1
        self.meanwhile()
        return self.found


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Inspections:
    """Replace what inspects, and let all files be older than a moment."""
    counter = Inspections()
    monkeypatch.setattr(Guestfs, "_inspect_disks", counter.run)
    monkeypatch.setattr(_identity, "_MOMENT", 0)
    monkeypatch.delenv("GUESTKIT_INSPECTION_CACHE", raising=False)
    return counter


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(SIZE))
    return path


def put_back(path: Path, before: os.stat_result) -> None:
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# ---- a disk that has not changed


def test_an_unchanged_disk_is_inspected_once(ran: Inspections, disk: Path, kept: Path) -> None:
    first, second = (guestkit.inspect(disk, cache=kept) for _ in range(2))
    assert ran.count == 1
    assert first == FOUND
    assert not first.provenance.cached
    assert second == replace(FOUND, provenance=replace(FOUND.provenance, cached=True))
    assert schemas.faults(json.loads(json.dumps(second.to_dict())), json_schema()) == []


def test_a_word_was_taken_for_a_directory(ran: Inspections, disk: Path) -> None:
    with pytest.raises(Error, match="a directory that begins with /, not 'auto'"):
        guestkit.inspect(disk, cache="auto")


def test_off_by_default(
    ran: Inspections, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for _ in range(2):
        assert guestkit.inspect(disk) == FOUND
    assert ran.count == 2
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("stated", "asked", "place"),
    [
        ("", True, "home/guestkit/inspections"),
        ("1", None, "home/guestkit/inspections"),
        ("DIR/stated", None, "stated"),
        ("DIR/stated", True, "stated"),
        ("DIR/stated", "DIR/given", "given"),
        ("DIR/stated", False, None),
        ("0", None, None),
    ],
)
def test_the_environment_and_the_argument_say_where(
    ran: Inspections,
    disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stated: str,
    asked: bool | str | None,
    place: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GUESTKIT_INSPECTION_CACHE", stated.replace("DIR", str(tmp_path)))
    guestkit.inspect(disk, cache=asked.replace("DIR", str(tmp_path)) if isinstance(asked, str) else asked)
    made = {one for one in ("home/guestkit/inspections", "stated", "given") if (tmp_path / one).exists()}
    assert made == ({place} if place else set())
    if place:
        assert len(os.listdir(tmp_path / place)) == 1


def test_a_user_without_a_home_directory_is_told(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    with pytest.raises(Error, match="no home directory for kept results: name a directory, or set XDG_CACHE"):
        guestkit.inspect(disk, cache=True)


def test_a_wrong_environment_is_told(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUESTKIT_INSPECTION_CACHE", "yes")
    with pytest.raises(guestkit.Error, match="GUESTKIT_INSPECTION_CACHE must be 1, 0 or a directory"):
        guestkit.inspect(disk)


def test_fleets_and_the_async_twins_use_it(ran: Inspections, disk: Path, kept: Path) -> None:
    async def asynchronously() -> list[Inspection | None]:
        one = await guestkit.aio.inspect(disk, cache=kept)
        return [one, *[report.inspection async for report in guestkit.aio.inspect_many([disk], cache=kept)]]

    first = [report.inspection for report in guestkit.inspect_many([disk], cache=kept)]
    found = [*first, *asyncio.run(asynchronously()), guestkit.inspect(disk, cache=kept)]
    assert [one is not None and one.provenance.cached for one in found] == [False, True, True, True]
    assert ran.count == 1


@pytest.mark.parametrize("command", [["inspect"], ["sbom"], ["df"], ["diff", "--json"]])
def test_the_commands_use_it_and_tell(
    ran: Inspections, disk: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("GUESTKIT_INSPECTION_CACHE", str(kept))
    disks = [str(disk)] * (2 if command[0] == "diff" else 1)
    for options in ([], ["--cache"]):
        assert main([*command, *options, "--concurrency", "1", *disks]) == 0
    assert ran.count == 1
    main([*command, "--no-cache", "--concurrency", "1", *disks])
    assert ran.count == 1 + len(disks)


def test_json_tells_a_kept_result(
    ran: Inspections,
    disk: Path,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GUESTKIT_INSPECTION_CACHE", str(kept))
    told = []
    for _ in range(2):
        main(["inspect", "--json", "--cache", str(disk)])
        (report,) = json.loads(capsys.readouterr().out)
        told.append(report["inspection"]["provenance"]["cached"])
    assert told == [False, True]


# ---- a disk that has changed


def _write(path: Path, offset: int = SIZE // 2, content: bytes = b"other") -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _write_mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[SIZE // 2] ^= 1


def _replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


def _replace_through_a_link(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(other)


def _write_over(path: Path) -> None:
    path.write_bytes(os.urandom(SIZE))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte in the middle": _write,
    "the header": lambda path: _write(path, 0),
    "through mapped memory": _write_mapped,
    "appended": lambda path: _write(path, SIZE),
    "cut": lambda path: os.truncate(path, SIZE // 2),
    "punched": lambda path: subprocess.run(
        ["fallocate", "-p", "-l", "4096", "-o", "65536", path], check=True
    ),
    "written anew": _write_over,
    "replaced by a copy": _replace,
    "replaced by a link to a copy": _replace_through_a_link,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_disk_is_inspected_again_though_mtime_is_put_back(
    ran: Inspections, disk: Path, kept: Path, change: Callable[[Path], object]
) -> None:
    before = disk.stat()
    guestkit.inspect(disk, cache=kept)
    change(disk)
    put_back(disk, before)
    assert disk.stat().st_mtime_ns == before.st_mtime_ns
    assert disk.stat().st_ctime_ns - before.st_ctime_ns < 1e9, "this was to happen within one second"
    assert not guestkit.inspect(disk, cache=kept).provenance.cached
    assert ran.count == 2


def test_the_header_tells_where_no_time_does(
    ran: Inspections, disk: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guestkit.inspect(disk, cache=kept)
    before, real = disk.stat(), os.fstat
    _write(disk, 0)
    unmoved = lambda number: before if real(number).st_ino == before.st_ino else real(number)  # noqa: E731
    monkeypatch.setattr("os.fstat", unmoved)
    assert not guestkit.inspect(disk, cache=kept).provenance.cached


CHAINS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "backing file": ("qcow2", overlay),
    "backing file of the backing file": (
        "qcow2",
        lambda disk, part: overlay(disk, overlay(disk.with_suffix(".between"), part), "qcow2"),
    ),
    "data file": ("qcow2", with_data_file),
    "extent": ("vmdk", with_extent),
}


@pytest.mark.parametrize(("kind", "make"), CHAINS.values(), ids=CHAINS)
def test_a_change_in_a_file_that_the_disk_refers_to(
    ran: Inspections, disk: Path, kept: Path, tmp_path: Path, kind: str, make: Callable[[Path, Path], object]
) -> None:
    top = tmp_path / "top"
    make(top, disk)
    options: dict[str, Any] = {"format": kind, "backing": under(tmp_path), "cache": kept}
    guestkit.inspect(top, **options)
    assert guestkit.inspect(top, **options).provenance.cached
    before = disk.stat()
    _write(disk)
    put_back(disk, before)
    assert not guestkit.inspect(top, **options).provenance.cached
    assert ran.count == 2
    # What may not be opened is not answered from the cache either.
    assert not guestkit.inspect(top, format=kind, cache=kept).provenance.cached


def test_a_long_chain_is_answered(ran: Inspections, disk: Path, kept: Path, tmp_path: Path) -> None:
    below, kind = disk, "raw"
    for number in range(10):  # more than QEMU's description in an overlay holds
        below, kind = overlay(tmp_path / f"layer{number}", below.name, kind), "qcow2"
    for _ in range(2):
        found = guestkit.inspect(below, format="qcow2", backing="allow", cache=kept)
    assert found.provenance.cached


def test_a_packed_disk(ran: Inspections, tmp_path: Path, kept: Path) -> None:
    for name, pack in (("disk.img.gz", gzip.compress), ("disk.img.xz", lzma.compress)):
        packed = tmp_path / name
        packed.write_bytes(pack(bytes(SIZE)))
        assert [guestkit.inspect(packed, cache=kept).provenance.cached for _ in range(2)] == [False, True]
        packed.write_bytes(pack(b"\1" * SIZE))
        assert not guestkit.inspect(packed, cache=kept).provenance.cached


def test_a_guest_of_several_disks(ran: Inspections, disk: Path, kept: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE))
    for asked, cached in (
        ((disk, other), False),
        ((other, disk), False),
        ((disk,), False),
        ((disk, other), True),
    ):
        assert guestkit.inspect(asked, cache=kept).provenance.cached == cached


@pytest.mark.parametrize(
    "other",
    [{"parts": ["users"]}, {"mode": "libguestfs"}, {"format": "raw"}, {"blocksize": 4096}, {"unpack": None}],
)
def test_another_question_has_another_answer(
    ran: Inspections, disk: Path, kept: Path, other: dict[str, Any]
) -> None:
    guestkit.inspect(disk, cache=kept)
    assert not guestkit.inspect(disk, cache=kept, **other).provenance.cached
    assert guestkit.inspect(disk, cache=kept, **other).provenance.cached


def test_the_order_of_the_parts_does_not_matter(ran: Inspections, disk: Path, kept: Path) -> None:
    guestkit.inspect(disk, cache=kept, parts=["users", "network"])
    assert guestkit.inspect(disk, cache=kept, parts=("network", "users")).provenance.cached


def test_another_version_inspects_again(
    ran: Inspections, disk: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "rules.so"
    module.write_bytes(b"other rules")
    newer = {"major": 1, "minor": 99, "release": 0, "extra": ""}
    guestkit.inspect(disk, cache=kept)
    changes: tuple[tuple[object, str, Any], ...] = (
        (_native, "__file__", str(module)),
        (Guestfs, "version", lambda handle: newer),
    )
    for place, name, value in changes:
        with monkeypatch.context() as patched:
            patched.setattr(place, name, value)
            assert not guestkit.inspect(disk, cache=kept).provenance.cached
        assert guestkit.inspect(disk, cache=kept).provenance.cached


# ---- what is not kept


def is_kept(disk: Any, kept: Path, **options: Any) -> bool:
    """Return whether a second inspection is answered from the cache; nothing may be left otherwise."""
    found = [guestkit.inspect(disk, cache=kept, **options).provenance.cached for _ in range(2)]
    assert found[1] == any(kept.glob("*"))
    return found[1]


def test_keys_are_neither_kept_nor_answered(ran: Inspections, disk: Path, kept: Path) -> None:
    assert not is_kept(disk, kept, keys=[Key("secret")])
    assert is_kept(disk, kept)
    assert not guestkit.inspect(disk, cache=kept, keys=[Key("secret")]).provenance.cached


def test_verifying_inspects(ran: Inspections, disk: Path, kept: Path) -> None:
    assert not is_kept(disk, kept, verify=True)
    assert not is_kept(disk, kept, verify=1.0)
    assert is_kept(disk, kept, verify=0.0)


FAILURE = PartFailure(part="users", message="it broke", op="", errno=0)
SHUT = UnopenedFilesystem(device="/dev/sda1", type="crypto_LUKS", uuid="", reason="encrypted", message="")
HOSTILE = replace(FAILURE, message="/etc/\x1b[31mpasswd: it broke")


@pytest.mark.parametrize(
    "doubt",
    [
        {"failures": (FAILURE,)},
        {"operating_systems": (replace(DEMO_SYSTEM, failures=(HOSTILE,)),)},
        {"unopened": (SHUT,)},
    ],
    ids=["failure", "of a system", "encrypted"],
)
def test_results_with_doubts(
    ran: Inspections, disk: Path, kept: Path, caplog: pytest.LogCaptureFixture, doubt: dict[str, Any]
) -> None:
    ran.found = replace(FOUND, **doubt)
    caplog.set_level("INFO", "guestkit")
    assert not is_kept(disk, kept)
    assert "the inspection is not cached: " in caplog.text
    assert not any("\x1b" in message for message in caplog.messages)


def test_a_disk_that_changes_meanwhile(ran: Inspections, disk: Path, kept: Path) -> None:
    before = disk.stat()

    def change() -> None:
        _write(disk)
        put_back(disk, before)

    ran.meanwhile = change
    assert not is_kept(disk, kept)


def test_a_disk_that_has_changed_a_moment_ago(
    ran: Inspections, disk: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = disk.stat().st_ctime_ns
    monkeypatch.setattr(_identity, "_MOMENT", 2_000_000_000)
    for ago in (1_000_000_000, -1_000_000_000):  # the clock may have been put back
        monkeypatch.setattr("time.time_ns", lambda ago=ago: now + ago)
        assert not is_kept(disk, kept)
    monkeypatch.setattr("time.time_ns", lambda: now + 2_000_000_000)
    assert is_kept(disk, kept)


def test_a_disk_that_a_virtual_machine_writes_to(ran: Inspections, disk: Path, kept: Path) -> None:
    with written_to(disk, "raw"):
        assert not is_kept(disk, kept)
    assert is_kept(disk, kept)
    with written_to(disk, "raw"):
        assert not guestkit.inspect(disk, cache=kept).provenance.cached


def test_a_disk_that_a_program_has_open_for_writing(ran: Inspections, disk: Path, kept: Path) -> None:
    with disk.open("r+b"):
        assert not is_kept(disk, kept)
    assert is_kept(disk, kept)


def test_opening_a_disk_for_writing_in_the_same_moment_ends_nothing(disk: Path) -> None:
    write = "import os, sys\nfor _ in range(20000): os.close(os.open(sys.argv[1], os.O_RDWR))"
    look = (
        "import subprocess, sys; from guestkit import _identity\n"
        "file = open(sys.argv[1], 'rb')\n"
        "with subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]) as writer:\n"
        "    seen = {_identity._has_writer(file.fileno()) for _ in iter(writer.poll, 0)}\n"
        "print(seen)"
    )
    command = [sys.executable, "-c", look, str(disk), write]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "{False, True}\n"), done.stderr


def test_a_filesystem_whose_ctime_cannot_be_relied_on(
    ran: Inspections, disk: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = os.open(disk, os.O_RDONLY)
    command = ["findmnt", "-n", "-o", "FSTYPE", "-T", str(disk)]
    here = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert _identity._filesystem(descriptor) == here.strip()
    os.close(descriptor)
    monkeypatch.setattr(_identity, "_RELIABLE", frozenset(("nfs4",)))
    assert not is_kept(disk, kept)


def test_network_disks_and_devices(ran: Inspections, kept: Path) -> None:
    assert not is_kept("nbd://localhost/disk", kept, protocols=["nbd"], format="raw")
    device = next((one for one in ("/dev/vda", "/dev/sda", "/dev/loop0") if os.access(one, os.R_OK)), None)
    if device is not None:
        assert not is_kept(device, kept)
    with pytest.raises(_identity.Unidentified):
        _identity.identify([PlainDisk("/dev/null", OpenDiskOptions())])


def test_a_disk_in_memory_was_taken_for_a_file_of_guestkits_own(ran: Inspections, kept: Path) -> None:
    memory = os.memfd_create("guestkit")
    os.truncate(memory, SIZE)
    assert not is_kept(f"/proc/self/fd/{memory}", kept)
    os.close(memory)


# ---- the directory


def test_nobody_else_can_read_it(ran: Inspections, disk: Path, kept: Path) -> None:
    before = os.umask(0)
    try:
        guestkit.inspect(disk, cache=kept / "deeper")
    finally:
        os.umask(before)
    assert (kept / "deeper").stat().st_mode & 0o777 == 0o700
    assert [one.stat().st_mode & 0o777 for one in (kept / "deeper").iterdir()] == [0o600]


def test_a_directory_that_others_can_read_or_own_is_refused(ran: Inspections, disk: Path, kept: Path) -> None:
    kept.mkdir(0o755)
    with pytest.raises(guestkit.Error, match="cache of inspections cannot be used: .* of this user alone"):
        guestkit.inspect(disk, cache=kept)
    if os.geteuid() == 0:
        kept.chmod(0o700)
        os.chown(kept, 12345, 12345)
        with pytest.raises(
            guestkit.Error, match="cache of inspections cannot be used: .* of this user alone"
        ):
            guestkit.inspect(disk, cache=kept)
    (report,) = guestkit.inspect_many([disk], cache=kept)
    assert report.error is not None
    assert report.error.message.startswith(f"{disk}: the cache of inspections cannot be used: {kept}")
    assert ran.count == 0


def _damaged(text: bytes) -> list[bytes]:
    middle = len(text) // 2
    other = gzip.compress(json.dumps({"schema": "guestkit.inspection/2"}).encode())
    flipped = text[:middle] + bytes([text[middle] ^ 0x10]) + text[middle + 1 :]
    return [
        b"",
        text[:middle],
        text[:-4],
        flipped,
        other,
        gzip.compress(b"[]"),
        gzip.compress(b"\xff"),
        b"{}",
    ]


def test_a_damaged_entry_is_inspected_again(ran: Inspections, disk: Path, kept: Path) -> None:
    guestkit.inspect(disk, cache=kept)
    (entry,) = kept.iterdir()
    for text in _damaged(entry.read_bytes()):
        entry.write_bytes(text)
        assert guestkit.inspect(disk, cache=kept) == FOUND
        assert guestkit.inspect(disk, cache=kept).provenance.cached


def test_what_was_not_used_for_longest_makes_room(
    ran: Inspections, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = [tmp_path / f"{number}.img" for number in range(4)]
    for number, disk in enumerate(disks):
        disk.write_bytes(os.urandom(SIZE))
        if number < 3:
            guestkit.inspect(disk, cache=kept)
    for age, entry in enumerate(sorted(kept.iterdir(), key=lambda one: one.stat().st_mtime_ns)):
        os.utime(entry, (1000 + age, 1000 + age))
    left_behind = kept / ".guestkit-0123456789abcdef.inspection"  # by a process that was killed
    left_behind.write_bytes(b"x")
    os.utime(left_behind, (1, 1))
    assert guestkit.inspect(disks[0], cache=kept).provenance.cached  # now the one that was used last
    size = sum(one.stat().st_blocks * 512 for one in kept.glob("[0-9a-f]*"))
    monkeypatch.setattr(cache, "LARGEST", size)
    guestkit.inspect(disks[3], cache=kept)
    assert not left_behind.exists()
    assert sum(one.stat().st_blocks * 512 for one in kept.iterdir()) <= size
    left = [guestkit.inspect(disks[number], cache=kept).provenance.cached for number in (0, 2, 3, 1)]
    assert left == [True, True, True, False]


def test_room_was_made_by_removing_files_of_the_users(
    ran: Inspections, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: any private directory can be named, and whatever was oldest in it was removed."""
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "thesis.txt").write_bytes(bytes(1 << 16))
    os.utime(home / "thesis.txt", (1, 1))
    monkeypatch.setattr(cache, "LARGEST", 0)
    guestkit.inspect(disk, cache=home)
    assert sorted(os.listdir(home)) == ["sub", "thesis.txt"]


def test_what_libvirt_calls_the_disks_meanwhile_was_taken_for_the_same(
    ran: Inspections, disk: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the result of the new disks was kept for the old ones."""
    other = tmp_path / "other.img"
    other.write_bytes(os.urandom(SIZE))
    told = iter([disk, other])
    monkeypatch.setattr("guestkit._libvirt.disks_of_domain", lambda *_, **__: [(str(next(told)), "raw")])
    guestkit.inspect(Domain("web"), cache=kept)
    assert list(kept.iterdir()) == []


def test_a_full_disk_costs_the_entry_alone(
    ran: Inspections,
    disk: Path,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert not is_kept(disk, kept)
    assert "No space left on device" in caplog.text


def test_ten_processes_at_once(kept: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from guestkit import cache\n"
        "from tests.inspections import NOTHING_FOUND\n"
        "cache.LARGEST = 12 << 10\n"
        "store = cache._Store(Path(sys.argv[1]))\n"
        "for turn in range(40):\n"
        "    key = f'{turn % 5:064x}'\n"
        "    found = store.get(key)\n"
        "    assert found is None or found.provenance.cached\n"
        "    store.put(key, NOTHING_FOUND)"
    )
    command = [sys.executable, "-c", program, str(kept)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(10)]
    assert [(one.communicate(timeout=120)[1], one.returncode) for one in processes] == [("", 0)] * 10
    assert 0 < sum(one.stat().st_blocks * 512 for one in kept.iterdir()) <= 12 << 10
