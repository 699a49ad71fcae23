"""What users name a guest by: disks with snapshots, guests of libvirt, URLs; and single filesystems."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import resource
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import guestkit
from guestkit import (
    ApplianceKilled,
    AsyncGuestfs,
    CallTimeout,
    Domain,
    Error,
    Guestfs,
    _libvirt,
    _nbdkit,
    open_guest,
)
from guestkit._libvirt import disks_of_domain
from guestkit.cli import main
from guestkit.cli.options import _mount
from guestkit.disks import names_of
from guestkit.fs import GuestFileSystem
from guestkit.generated.structs import StatVFS
from guestkit.guest import mount_guest
from tests import domains


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A qcow2 with a snapshot."""
    path = tmp_path / "web.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    qemu_img("snapshot", "-c", "before", path)
    return path


# ---- single filesystems


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guestfs]:
    """A launched handle with two filesystems, and no operating system; the first one cannot be written."""
    folder = tmp_path_factory.mktemp("two")
    size = 4 << 20
    disk = bytearray(1 << 20)
    for number, label in enumerate(["one", "two"]):
        root = folder / label
        (root / "boot" / "efi").mkdir(parents=True)
        (root / label).touch()
        (root / "link").symlink_to("boot")
        part = folder / f"{label}.img"
        words = ["mke2fs", "-q", "-t", "ext2", "-L", label, "-d", str(root), str(part), f"{size >> 10}k"]
        subprocess.run(words, check=True)
        if label == "one":
            subprocess.run(["tune2fs", "-O", "read-only", part], check=True, stdout=subprocess.DEVNULL)
        place = (len(disk) >> 9, size >> 9)
        disk[446 + 16 * number : 462 + 16 * number] = struct.pack("<8xII", *place)
        disk[450 + 16 * number] = 0x83
        disk += part.read_bytes()
    disk[510:512] = b"\x55\xaa"
    (folder / "two.img").write_bytes(disk)
    with Guestfs() as g:
        g.open_disk(folder / "two.img")
        g.launch()
        yield g


def test_one_filesystem_where_there_is_no_operating_system(two: Guestfs) -> None:
    for name in ("sda2", "LABEL=two"):
        mounted = mount_guest(two, mounts={"/": name})
        assert (mounted.root, mounted.mountpoints) == ("/dev/sda2", {"/": "/dev/sda2"})
        assert two.exists("/two")
    assert mount_guest(two, root="sda1").root == "/dev/sda1"


def test_filesystems_are_mounted_where_it_is_said(two: Guestfs) -> None:
    mounted = mount_guest(two, mounts={"/boot/": "sda1", "/": "sda2"})
    assert mounted.mountpoints == {"/": "/dev/sda2", "/boot": "/dev/sda1"}
    assert two.exists("/boot/one")
    assert two.mountpoints() == {"/dev/sda2": "/", "/dev/sda1": "/boot"}


def test_a_filesystem_beside_the_root_that_cannot_be_written_refused_all(
    two: Guestfs, caplog: pytest.LogCaptureFixture
) -> None:
    mounted = mount_guest(two, mounts={"/": "sda2", "/boot": "sda1"}, readonly=False)
    (failure,) = mounted.failures
    assert failure.message.startswith("/dev/sda1: can ")
    assert failure.message.endswith(' (ext4); it is mounted read-only on "/boot"')
    assert (failure.part, failure.errno) == ("mountpoints", errno.EROFS)
    assert failure.message in caplog.text
    assert two.exists("/boot/one")
    two.touch("/new")
    with pytest.raises(Error, match="/dev/sda1: can ") as caught:
        mount_guest(two, mounts={"/": "sda1", "/boot": "sda2"}, readonly=False)
    assert caught.value.errno == errno.EROFS
    assert two.mountpoints() == {}


def test_a_filesystem_that_does_not_tell_whether_it_is_read_only_refused_all(
    two: Guestfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Guestfs.statvfs

    def statvfs(g: Guestfs, path: str) -> StatVFS:
        if path == damaged:
            raise Error("statvfs", "Input/output error", errno.EIO)
        return answers(g, path)

    monkeypatch.setattr(Guestfs, "statvfs", statvfs)
    damaged, unknown = "/lost+found", "whether it can be written to is unknown: Input/output error"
    mounted = mount_guest(two, mounts={"/": "sda2", damaged: "sda1"}, readonly=False)
    (failure,) = mounted.failures
    assert failure.message == f'/dev/sda1: {unknown}; it is mounted on "{damaged}"'
    assert failure.errno == errno.EIO
    damaged = "/"
    with pytest.raises(Error, match=f"/dev/sda2: {unknown}") as caught:
        mount_guest(two, mounts={"/": "sda2"}, readonly=False)
    assert (caught.value.op, caught.value.errno) == ("mount_guest", errno.EIO)
    assert two.mountpoints() == {}


@pytest.mark.parametrize(
    ("mounts", "kind", "reason"),
    [
        ({"/": "sda9"}, Error, r"has no partition 9; the filesystems are /dev/sda1 \(ext4\), /dev/sda2"),
        ({"/": "sda1", "/link": "sda2"}, Error, "/link: there is no such directory"),
        ({"/": "sda1", "/link/efi": "sda2"}, Error, "/link/efi: is a symlink, or lies below one"),
        ({"/boot": "sda1"}, ValueError, "needs a filesystem for /"),
        ({"/": "sda1", "/boot": "sda2", "/boot/": "sda2"}, ValueError, "each place only once"),
        ({"boot": "sda1"}, ValueError, "begins with /"),
    ],
)
def test_what_cannot_be_mounted_is_refused(
    two: Guestfs, mounts: dict[str, str], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        mount_guest(two, mounts=mounts)


def test_a_root_and_mounts_do_not_go_together(two: Guestfs) -> None:
    with pytest.raises(TypeError, match="not both"):
        mount_guest(two, root="sda1", mounts={"/": "sda1"})


def test_how_a_mount_is_typed() -> None:
    assert _mount("sda2") == ("/", "sda2")
    assert _mount("/dev/vg/lv:/srv//data/") == ("/srv/data", "/dev/vg/lv")
    assert _mount("LABEL=a:b:/boot") == ("/boot", "LABEL=a:b")
    assert _mount("btrfsvol:/dev/sda2/home") == ("/", "btrfsvol:/dev/sda2/home")
    assert _mount("btrfsvol:/dev/sda2/home:/home") == ("/home", "btrfsvol:/dev/sda2/home")
    for text in ("sda1:boot", "/dev/sda1:boot"):
        with pytest.raises(argparse.ArgumentTypeError, match="a mountpoint begins with /"):
            _mount(text)
    with pytest.raises(argparse.ArgumentTypeError, match="DEVICE:MOUNTPOINT"):
        _mount(":/boot")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-m", "sda1", "-m", "sda2"], "one filesystem goes to /"),
        (["-m", "sda1:/boot"], "one filesystem goes to /"),
        (["-m", ":/boot"], "not DEVICE or DEVICE:MOUNTPOINT"),
        (["-m", "sda1", "--root", "sda2"], "give one of them"),
    ],
)
def test_wrong_mounts_are_wrong_usage(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["ls", *words, "disk.img"])
    assert reason in capsys.readouterr().err


# ---- snapshots


def test_an_unknown_snapshot_is_told_with_those_that_there_are(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = 'has no snapshot "after", but "before"'
    with pytest.raises(Error, match=reason), open_guest(image, snapshot="after"):
        pass
    with pytest.raises(Error, match=reason):
        guestkit.inspect(image, snapshot="after")
    for words in (["ls", "--snapshot", "after", str(image)], ["inspect", "--snapshot", "after", str(image)]):
        assert main(words) == 1
        assert reason in capsys.readouterr().err


def test_an_unknown_option_is_refused(image: Path) -> None:
    calls: list[Callable[..., object]] = [
        guestkit.inspect,
        guestkit.inspect_many,
        Guestfs().open_disk,
        GuestFileSystem,
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"\(\) got an unexpected keyword argument 'snapshots'"):
            call(image, snapshots="before")


# ---- guests of libvirt


@pytest.fixture
def libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(*given: str) -> str:
        uri = domains.write(tmp_path / "libvirt.xml", *given)
        monkeypatch.setenv("LIBVIRT_DEFAULT_URI", uri)
        return uri

    return make


def asked(name: str, uri: str, *, readonly: bool = True) -> Sequence[tuple[str, str]]:
    return disks_of_domain("op", name, uri, lambda: None, readonly=readonly)


def test_a_running_guest_of_libvirt_at_a_snapshot(image: Path, libvirt: Callable[..., str]) -> None:
    libvirt(domains.domain("web", domains.disk(image), runs=True))
    qemu_img("resize", "-q", image, "2M")
    with Guestfs() as g:
        found = [*g.open_disks(Domain("web")), *g.open_disks(Domain("web"), snapshot="before")]
    assert [(info.format, info.virtual_size) for info in found] == [("qcow2", 2 << 20), ("qcow2", 1 << 20)]
    with Guestfs() as g, pytest.raises(Error, match='has no snapshot "after", but "before"'):
        g.open_disks(Domain("web"), snapshot="after")


def test_a_domain_s_disks_may_have_different_formats(
    demo_guest: Path, tmp_path: Path, libvirt: Callable[..., str]
) -> None:
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "data.qcow2", "1M")
    disks = (
        domains.disk(demo_guest, "raw"),
        domains.disk(tmp_path / "data.qcow2", target="vdb"),
        domains.disk(tmp_path / "cd.iso", "raw", "cdrom", "hda"),
        domains.disk(None, "raw", "cdrom", "hdb"),
    )
    libvirt(domains.domain("web", *disks))
    (report,) = guestkit.inspect_many([Domain("web")])
    assert report.inspection is not None, report.error
    assert (report.disk, len(report.inspection.disks)) == ("web", 2)
    assert report.inspection.operating_systems[0].hostname == "guestkit-demo"


def test_the_format_of_a_disk_was_taken_for_that_of_a_domain_s_disks(
    demo_guest: Path, tmp_path: Path, libvirt: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A raw disk of libvirt's was opened as the qcow2 beside it."""
    libvirt(domains.domain("web", domains.disk(demo_guest, "raw")))
    disk = tmp_path / "db.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", demo_guest, "-F", "raw", disk)
    words = ["--format", "qcow2", "--backing", str(demo_guest.parent), "-d", "web", str(disk)]
    assert main(["diff", *words]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("disks", "readonly", "state", "reason"),
    [
        (["raw"], False, {"runs": True}, "runs: its disks are only read meanwhile"),
        (["raw"], False, {"saved": True}, "has a saved state"),
        ([], True, {}, "has no disk"),
        (["rbd"], True, {}, "has a disk vdb on rbd, which guestkit does not open"),
    ],
)
def test_a_domain_that_is_not_opened(
    disks: list[str], readonly: bool, state: dict[str, bool], reason: str, libvirt: Callable[..., str]
) -> None:
    kinds = {
        "raw": domains.disk(Path("/disk.img"), "raw"),
        "rbd": domains.network_disk("rbd", "pool/image", "<host name='h' port='6789'/>"),
    }
    libvirt(domains.domain("web", *(kinds[kind] for kind in disks), **state))
    with pytest.raises(Error, match=f"the domain 'web' {reason}") as caught:
        Guestfs().open_disks(Domain("web"), readonly=readonly)
    assert caught.value.op == "open_disk"


def test_the_disks_of_a_domain(libvirt: Callable[..., str]) -> None:
    socket = "<host transport='unix' socket='/run/x'/>"
    uri = libvirt(
        domains.domain(
            "a b",
            domains.disk(Path("/images/a'b.img"), None),
            domains.network_disk("nbd", "export", "<host name='h' port='10809'/>"),
            domains.network_disk("nbd", "", socket).replace("vdb", "vdc"),
            domains.network_disk("https", "/a b.img", "<host name='h' port='443'/>").replace("vdb", "vdd"),
        )
    )
    assert list(asked("a b", uri, readonly=False)) == [
        ("/images/a'b.img", "raw"),  # as libvirt takes a disk whose format is not stated
        ("nbd://h:10809/export", "raw"),
        ("nbd+unix:///?socket=/run/x", "raw"),
        ("https://h:443/a%20b.img", "raw"),
    ]
    libvirt(domains.domain("nbd", domains.network_disk("nbd", "x", "<host name='h' port='1'/>")))
    with pytest.raises(Error, match="state protocols=nbd"):  # the policy holds for domains, too
        Guestfs().open_disks(Domain("nbd"))
    with pytest.raises(Error, match="'no' is unknown to libvirt; there are: nbd"):
        asked("no", uri)
    with pytest.raises(Error, match="'--all' is unknown"):
        asked("--all", uri)


def test_a_name_of_digits_was_taken_for_the_id_of_another_guest(libvirt: Callable[..., str]) -> None:
    web = domains.domain("web", domains.disk(Path("/web.img")), runs=True)
    one = domains.domain("1", domains.disk(Path("/one.img")))
    uuid = "db0a6fc9-3f72-405f-bdb1-781561c3382b"
    uri = libvirt(web, one.replace("<name>", f"<uuid>{uuid}</uuid><name>"))
    for name in ("1", uuid, uuid.upper()):
        assert list(asked(name, uri)) == [("/one.img", "qcow2")]
    with pytest.raises(Error, match="'1' is unknown to libvirt; there are: web"):
        asked("1", libvirt(web))


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in the place of virsh."""

    def write(script: str) -> None:
        virsh = tmp_path / "virsh"
        virsh.write_text(f"#!/bin/sh\n{script}\n")
        virsh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return write


def test_an_alias_of_another_host_was_taken_for_this_one(pretended: Callable[[str], None]) -> None:
    pretended("case $* in *'--connect=hail uri') echo qemu+ssh://hail/system;; esac")
    with pytest.raises(Error, match=r"is on another host, qemu\+ssh://hail/system"):
        asked("web", "hail")


def test_a_libvirt_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"is on another host, qemu\+ssh://h/system"):
        asked("web", "qemu+ssh://h/system")
    with pytest.raises(Error, match="'web' cannot be asked about: .*; start libvirt, or name the guest's"):
        asked("web", "test:///nowhere.xml")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="virsh is not installed"):
        asked("web", "")


@pytest.fixture
def without_children() -> Iterator[None]:
    """This program ignores SIGCHLD."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_libvirt_was_to_be_started_where_nobody_knows_how_virsh_ended(
    pretended: Callable[[str], None], without_children: None
) -> None:
    pretended("echo test:///default")
    with pytest.raises(Error, match="'web' cannot be asked about: it is not known how virsh ended") as caught:
        asked("web", "test:///default")
    assert (caught.value.errno, caught.value.hint) == (errno.ECHILD, "")


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("<!DOCTYPE d [<!ENTITY a 'b'>]><domain/>", "has a document type"),
        ("<domain>", "is no XML"),
        ("<domain>" + " " * (4 << 20) + "</domain>", "says more than 4194304 bytes"),
        ("<domain>" + "<a/>" * 20_001 + "</domain>", "is too large"),
    ],
)
def test_a_definition_that_is_not_read(
    definition: str, reason: str, tmp_path: Path, pretended: Callable[[str], None]
) -> None:
    (tmp_path / "definition").write_text(definition)
    pretended(f"exec cat {tmp_path}/definition")
    with pytest.raises(Error, match=reason):
        asked("web", "test:///default")


def test_all_that_virsh_says_was_kept_in_memory(
    pretended: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was measured when it had come to its end. What it says in an error is bounded, too."""
    monkeypatch.setattr(_libvirt, "_PATIENCE", 0.5)
    for script, reason in (
        ("exec yes", "says more than 4194304 bytes"),
        ("exec yes >&2", "has not answered for 0.5 seconds"),
    ):
        pretended(script)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(Error, match=reason):
            asked("web", "test:///default")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


@pytest.mark.parametrize("cache", [False, True])
def test_no_limit_held_while_virsh_hung(
    cache: bool, pretended: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each question took its 60 seconds, whatever the timeout was."""
    monkeypatch.setattr(_libvirt, "_PATIENCE", 5.0)
    pretended("exec sleep 20")
    with pytest.raises(CallTimeout) as caught:
        guestkit.inspect(Domain("web"), timeout=0.2, cache=tmp_path / "cache" if cache else False)
    assert caught.value.seconds == 0.2


@pytest.mark.parametrize("end", [Guestfs.cancel, Guestfs.terminate])
def test_no_cancel_ended_a_virsh_that_hung(
    end: Callable[[Guestfs], None],
    pretended: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(_libvirt, "_PATIENCE", 5.0)
    os.mkfifo(tmp_path / "alive")
    pretended(f"sleep 20 >{tmp_path}/alive & wait")
    with Guestfs() as g, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(g.open_disks, Domain("web"))
        with open(tmp_path / "alive", "rb") as alive:
            end(g)
            error = asking.exception()
            assert alive.read() == b""  # what virsh has started has ended, too
    assert isinstance(error, Error)
    assert error.errno == errno.EINTR or isinstance(error, ApplianceKilled), error


async def test_wait_for_waited_for_a_virsh_that_hung(
    pretended: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_libvirt, "_PATIENCE", 5.0)
    os.mkfifo(tmp_path / "alive")
    pretended(f"exec sleep 20 >{tmp_path}/alive")
    told: list[str] = []
    wrong = _libvirt._Libvirt.error

    def error(self: _libvirt._Libvirt, message: str, *given: Any) -> Error:
        told.append(message)
        return wrong(self, message, *given)

    monkeypatch.setattr(_libvirt._Libvirt, "error", error)
    async with AsyncGuestfs() as g:
        asking = asyncio.create_task(g.open_disks(Domain("web")))
        with await asyncio.to_thread(open, tmp_path / "alive", "rb") as alive:
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(alive.read) == b""
    assert told == []  # its patience did not end it


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ls", "-d", "web", "-d", "db"], "a second -d does not go with it"),
        (["ls", "-d", "web", "--add", "x"], "--add does not go with it"),
        (["ls", "--domain=web", "--member", "x"], "does not go with -d"),
        (["inspect", "--one-guest", "-d", "web"], "--one-guest does not go with it"),
        (["sbom", "--hashes", "-dweb"], "does not go with -d"),
        (["ls", "-d", "web", "--format", "raw"], "there is no DISK whose format"),
        (["report", "-o", "page.html", "-d", "web", "--format", "raw"], "there is no DISK whose format"),
        (["sbom", "-d", "web", "--format", "raw"], "there is no DISK whose format"),
        (["diff", "-d", "web", "-d", "db", "--format", "raw"], "there is no DISK whose format"),
        (["diff", "-d", "web", "disk.img", "--before-format", "raw"], "--before-format is of a DISK"),
        (["cat", "-d", "web"], "arguments are required: PATH"),
        (["cat", "--", "-d", "web"], ""),
        (["inspect", "--xml", "-d", "web", "disk.img"], "one DISK, one -d DOMAIN, or"),
    ],
)
def test_what_does_not_go_with_a_domain(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not reason:  # behind -- there are no options: the disk is "-d"
        assert main([*words[:-1], "/x"]) == 1
        assert "-d: no such file" in capsys.readouterr().err
        return
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "-d", "web", "disk.img"],
        ["cat", "-d", "web", "disk.img", "/etc/fstab"],
        ["cp", "-d", "web", "disk.img", ":/etc/fstab", "."],
        ["mount", "-d", "web", "disk.img", "mnt"],
        ["serve", "-d", "web", "disk.img"],
        ["shell", "disk.img", "--domain=web"],
    ],
    ids=lambda words: words[0],
)
def test_a_disk_beside_a_domain_was_taken_for_something_else(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The error was of a path, or of another word, and did not tell that no DISK is given."""
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "; -d DOMAIN stands in place of DISK\n" in capsys.readouterr().err


def test_a_guest_that_runs_is_not_written_to(
    libvirt: Callable[..., str], image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    libvirt(domains.domain("web", domains.disk(image), runs=True))
    assert main(["cp", "-d", "web", __file__, ":/tmp/x"]) == 1
    assert "the domain 'web' runs" in capsys.readouterr().err


def test_names() -> None:
    assert names_of(Domain("web")) == ("web",)
    assert names_of(["a", b"b", Path("c")]) == ("a", "b", "c")
    assert GuestFileSystem(Domain("web")) is GuestFileSystem(Domain("web"))
    assert GuestFileSystem(Domain("web")) is not GuestFileSystem(Domain("web", "qemu:///session"))


# ---- URLs


@pytest.mark.parametrize(
    "url", ["http:///a", "http://h/a b", "http://h/\x1b[2J", "https://h:x/a", "https://[h/a"]
)
def test_what_is_no_url_of_a_disk(url: str) -> None:
    with pytest.raises(Error, match="is no URL") as caught:
        Guestfs().open_disk(url, protocols=("http", "https"))
    assert "\x1b" not in str(caught.value)


def test_nbdkit_reads_a_disk_by_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbdkit = tmp_path / "nbdkit"
    nbdkit.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\necho "nbdkit: error: no host" >&2\n'
    )
    nbdkit.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Error, match="ssh://h:2022/a%20b: nbdkit does not start: no host"):
        Guestfs().open_disk("ssh://me@h:2022/a%20b", protocols=("ssh",))
    words = (tmp_path / "words").read_text().splitlines()
    assert {"-r", "ssh", "host=h", "path=/a b", "user=me", "port=2022"} <= set(words)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(Error, match="nbdkit, which opens it, is not installed"):
        Guestfs().open_disk("ssh://h/a", protocols=("ssh",))


def test_a_limit_ends_the_start_of_nbdkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbdkit = tmp_path / "nbdkit"
    nbdkit.write_text("#!/bin/sh\nexec sleep 20\n")
    nbdkit.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Guestfs(call_timeout=0.2) as g, pytest.raises(CallTimeout):
        g.open_disk("ssh://host/disk.img", protocols=("ssh",))


def test_a_server_that_says_nothing_was_waited_for_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nbdkit, "_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, Guestfs() as g:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/disk.img"
        with pytest.raises(Error) as caught:
            g.open_disk(url, protocols=("http",))
    silence = f"open_disk: {url}: the server has not answered for 0.5 s; see whether it is up, and try again"
    assert str(caught.value) == silence
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_disk_was_missing_where_nobody_knows_how_qemu_img_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_children: None
) -> None:
    for name, script in (("nbdkit", "echo /socket; exec cat >/dev/null"), ("qemu-img", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Guestfs() as g, pytest.raises(Error) as caught:
        g.open_disk("http://host/disk.img", protocols=("http",))
    assert "http://host/disk.img: it is not known how qemu-img ended" in str(caught.value)
    assert (caught.value.errno, caught.value.cause) == (errno.ECHILD, "unknown")


URLS = (
    "https://bob:s3cret@localhost:99999/x",
    "https://bob:s3cret@localhost:p/x",
    "https://bob:s3cret@[::1/x",
    "https://bob:s3@cret@localhost/x",
    "https://bob@localhost:99999/x?X-Amz-Signature=s1gned",
    "https://localhost:p/x?X-Amz-Signature=s1gned#y",
)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("protocols", [("file",), ("https",)], ids=["refused", "permitted"])
def test_a_password_in_a_url_was_told(
    url: str, protocols: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: in errors, their hints, the logs and the names of a fleet's reports."""
    caplog.set_level("DEBUG")
    steps: list[object] = []
    (report,) = guestkit.inspect_many(
        [url], protocols=protocols, cache=tmp_path / "kept", progress=steps.append, timeout=20
    )
    assert report.error is not None
    with Guestfs() as g, pytest.raises(Error) as caught:
        g.open_disk(url, protocols=protocols)
    told = repr([report, steps, caught.value, caplog.text])
    assert not any(part in told for part in ("s3cret", "cret@", "bob", "s1gned"))
    assert f"{report.disk}: {report.disk}" not in report.error.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://me@host/a.img?X-Amz-Signature=x", "https://host/a.img"),
        ("HTTPS://host?sig=x#y", "HTTPS://host"),
        ("nbd+unix:///?socket=/tmp/s", "nbd+unix:///?socket=/tmp/s"),
        ("/images/what?.img", "/images/what?.img"),
        ("what://is?", "what://is"),
        ("", ""),
    ],
)
def test_the_signature_in_a_url_was_part_of_the_disks_name(name: str, shown: str) -> None:
    assert names_of(name) == (shown,)


def test_a_password_in_a_url_was_told_where_another_backend_cannot_open_it() -> None:
    with Guestfs() as g:
        g.set_backend("libvirt")
        with pytest.raises(Error, match="https://localhost/x: is a URL, and the backend") as caught:
            g.open_disk("https://bob:s3cret@localhost/x", protocols=("https",))
    assert "s3cret" not in str(caught.value)
