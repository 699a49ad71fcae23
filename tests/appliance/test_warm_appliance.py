"""The warm appliance behaves like libguestfs' own. Where it does not fit, it boots and reports why."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guestkit import Error, Event, Guestfs, LaunchError, LaunchInfo, _native, _template, appliance
from guestkit.appliance import Appliance
from guestkit.doctor import diagnose
from tests.images.corpus import Part, _make
from tests.images.trees import File

MEGABYTE = 1 << 20

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="not tried on other processors")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GUESTKIT_CACHEDIR", str(tmp_path_factory.mktemp("warm") / "appliance"))
        built = appliance.build()
        assert built.directory.name.startswith("warm-"), "there is no warm appliance: the log says why"
        yield built


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return blank(tmp_path / "disk.img")


def blank(path: Path, megabytes: int = 64) -> Path:
    with path.open("wb") as file:
        file.truncate(megabytes * MEGABYTE)
    return path


@contextmanager
def launched(*disks: Path, readonly: bool = False, **options: Any) -> Iterator[Guestfs]:
    with Guestfs(accel="tcg", **options) as g:
        for path in disks:
            g.add_drive(path, format="qcow2" if path.suffix == ".qcow2" else "raw", readonly=readonly)
        g.launch()
        yield g


def how(g: Guestfs) -> LaunchInfo:
    info = g.launch_info()
    assert info
    return info


def shell(g: Guestfs, command: str) -> str:
    return g.debug("sh", [command]).strip()


def content(directory: Path) -> dict[str, str]:
    """Return the checksums of a template's files, by name."""
    sums = subprocess.run(
        ["sha256sum", *(path for path in sorted(directory.iterdir()) if path.is_file())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.split()[1]: line.split()[0] for line in sums.stdout.splitlines()}


def make_storage(g: Guestfs) -> None:
    """Make one of each kind of storage that init has to find, on /dev/sda to /dev/sdd."""
    g.part_disk("/dev/sda", "gpt")
    g.pvcreate("/dev/sda1")
    g.vgcreate("vg", ["/dev/sda1"])
    g.lvcreate("lv", "vg", 32)
    g.mkfs("ext4", "/dev/vg/lv", label="on-lvm")
    g.md_create("r1", ["/dev/sdb", "/dev/sdc"], level="raid1")
    array = g.list_md_devices()[0]
    g.mkfs("ext2", array)
    g.mkfs("vfat", "/dev/sdd")
    for number, name in enumerate(("/dev/vg/lv", array, "/dev/sdd")):
        g.mount(name, "/")
        g.write("/file", f"content {number}".encode())
        g.umount("/")


def found(g: Guestfs) -> object:
    filesystems = g.list_filesystems()
    for name, kind in filesystems.items():
        if kind in ("ext2", "ext4", "vfat"):
            g.mount_ro(name, "/")
            filesystems[name] += ":" + g.read_file("/file").decode()
            g.umount("/")
    sizes = {name: g.blockdev_getsize64(name) for name in g.list_devices()}
    return sizes, g.list_partitions(), g.pvs(), g.lvs(), g.list_md_devices(), filesystems


# ---- the same as a boot


@pytest.mark.full
def test_what_a_restored_appliance_writes_all_three_read(warm: Appliance, tmp_path: Path) -> None:
    disks = [blank(tmp_path / f"{number}.img", 64 + number) for number in range(3)]
    disks.append(tmp_path / "3.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disks[-1], "80M"], check=True)
    before = content(warm.directory)
    with launched(*disks) as g:
        assert (how(g).mode, how(g).accelerator, how(g).reason) == ("warm", "tcg", "")
        make_storage(g)
        g.shutdown()
    sums = [hashlib.sha256(path.read_bytes()).digest() for path in disks]
    seen = []
    for choice in ("auto", warm.directory.parent, "system"):
        with launched(*disks, readonly=True, appliance=choice) as g:
            seen.append(
                (found(g), shell(g, "ls /dev/disk/by-path | grep -v part | wc -l; ls /sys/block | grep sd"))
            )
            if choice == "auto":
                assert how(g).mode == "warm"
    (warmly, names), (leanly, _), (plainly, _) = seen
    assert warmly == leanly == plainly
    assert names.split()[1:] == ["sda", "sdb", "sdc", "sdd"]
    assert [hashlib.sha256(path.read_bytes()).digest() for path in disks] == sums
    assert content(warm.directory) == before


@pytest.mark.full
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "ntfs"])
def test_file_systems_made_warm_are_read_by_libguestfs_own_appliance(
    kind: str, warm: Appliance, tmp_path: Path
) -> None:
    path = blank(tmp_path / "disk.img", 512)
    with launched(path) as g:
        tools = {"xfs": "xfs", "btrfs": "btrfs", "ntfs": "ntfsprogs"}.get(kind)
        if not g.filesystem_available(kind) or (tools and not g.feature_available([tools])):
            pytest.skip(f"the appliance cannot make {kind}")
        g.part_disk("/dev/sda", "mbr")
        g.mkfs(kind, "/dev/sda1", label="data")
        g.mount("/dev/sda1", "/")
        g.write("/file", b"content")
        g.shutdown()
    with launched(path, readonly=True, appliance="system") as g:
        assert g.list_filesystems() == {"/dev/sda1": kind}
        assert g.vfs_label("/dev/sda1") == "data"
        g.mount_ro("/dev/sda1", "/")
        assert g.read_file("/file") == b"content"


@pytest.mark.full
def test_luks(warm: Appliance, disk: Path) -> None:
    with launched(disk) as g:
        g.luks_format("/dev/sda", "secret", 0)
        g.cryptsetup_open("/dev/sda", "secret", "opened")
        g.mkfs("ext4", "/dev/mapper/opened")
        g.shutdown()
    with launched(disk, readonly=True) as g:
        assert how(g).mode == "warm"
        g.cryptsetup_open("/dev/sda", "secret", "opened", readonly=True)
        assert g.vfs_type("/dev/mapper/opened") == "ext4"


@pytest.mark.parametrize(
    "count", [1, pytest.param(20, marks=pytest.mark.full), pytest.param(40, marks=pytest.mark.full)]
)
def test_every_disk_has_its_name(count: int, warm: Appliance, tmp_path: Path) -> None:
    disks = [blank(tmp_path / f"{number}.img", 1 + number) for number in range(count)]
    with launched(*disks, readonly=True) as g:
        assert how(g).mode == "warm"
        assert [g.blockdev_getsize64(name) // MEGABYTE for name in g.list_devices()] == list(
            range(1, count + 1)
        )


@pytest.mark.full
def test_labels_and_sectors_of_4096_bytes(warm: Appliance, tmp_path: Path) -> None:
    path = blank(tmp_path / "disk.img")
    for choice in ("auto", "system"):
        with Guestfs(accel="tcg", appliance=choice) as g:
            g.add_drive(path, format="raw", label="named", blocksize=4096)
            g.launch()
            if choice == "auto":
                assert how(g).mode == "warm"
                g.part_init("/dev/sda", "gpt")
                g.part_add("/dev/sda", "p", 256, 8191)
                g.mkfs("ext4", "/dev/sda1")
            assert g.blockdev_getss("/dev/sda") == 4096
            assert g.list_disk_labels() == {"named": "/dev/sda", "named1": "/dev/sda1"}
            assert g.part_list("/dev/sda")[0]["part_start"] == 256 * 4096
            assert g.list_filesystems() == {"/dev/sda1": "ext4"}


def test_a_disk_whose_name_looks_like_options(warm: Appliance, tmp_path: Path) -> None:
    path = blank(tmp_path / "x,id=appliance,b.img", 7)
    with launched(path, blank(tmp_path / "y.img", 3)) as g:
        assert how(g).mode == "warm"
        assert [g.blockdev_getsize64(name) // MEGABYTE for name in g.list_devices()] == [7, 3]


def test_the_inspection_appliance_gives_the_same_answers(warm: Appliance, demo_guest: Path) -> None:
    answers = []
    for choice in ("inspection", "system"):
        with launched(demo_guest, readonly=True, appliance=choice) as g:
            roots = g.inspect_os()
            answers.append(
                [
                    (
                        root,
                        g.inspect_get_product_name(root),
                        g.inspect_get_hostname(root),
                        g.inspect_get_mountpoints(root),
                        g.inspect_get_filesystems(root),
                    )
                    for root in roots
                ]
            )
            if choice == "inspection":
                assert how(g).mode == "warm"
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1


LENSES = "/usr/share/augeas/lenses/dist"
SPOIL_A_LENS = f"mv {LENSES}/access.aug /run; echo 'no lens' > {LENSES}/access.aug"


@pytest.mark.parametrize("flags", [{}, {"sandbox": "strict"}], ids=["warm", "lean"])
def test_a_guest_without_fstab_had_all_its_files_read(
    warm: Appliance, tmp_path: Path, flags: dict[str, Any]
) -> None:
    """Of no file that it may read, libguestfs' daemon makes an expression that Augeas does not understand."""
    disk = tmp_path / "disk.img"
    files: dict[str, File] = {"bin/sh": b"", "etc/hosts": b"127.0.0.1 web\n", "etc/debian_version": b"12.5\n"}
    _make([Part(files)], disk)
    with launched(disk, readonly=True, **flags) as g:
        (root,) = g.inspect_os()  # a booted daemon has its notes of the first one
        shell(g, SPOIL_A_LENS)
        assert g.inspect_os() == [root]
        assert g.inspect_get_mountpoints(root) == {"/": root}


def test_an_inspection_compiled_all_lenses_of_augeas(warm: Appliance, demo_guest: Path) -> None:
    """That took more than half of inspect_os. What the caller does with Augeas has all of them."""
    with launched(demo_guest, readonly=True) as g:
        shell(g, SPOIL_A_LENS)
        (root,) = g.inspect_os()
        assert g.inspect_get_mountpoints(root) == {"/": root, "/var": "/dev/sda2"}
        g.mount_ro(root, "/")
        flags = 16 + 32  # those of an inspection
        with pytest.raises(Error, match="Syntax error in lens"):
            g.aug_init("/", flags)
        shell(g, f"mv /run/access.aug {LENSES}")
        g.aug_init("/", flags)
        assert len(g.aug_match("/augeas/load/*")) > 200
        g.aug_rm("/augeas/load/*[label() != 'Fstab']")
        g.aug_load()
        assert g.aug_get("/files/etc/fstab/1/file") == "/"
        assert g.aug_match("/augeas//error") == []


# ---- separate appliances


def test_two_at_once_share_nothing_that_must_differ(warm: Appliance, disk: Path) -> None:
    asked = (
        "cat /proc/sys/kernel/random/boot_id",
        "cat /etc/machine-id",
        "head -c 16 /dev/urandom | od -An -tx1",
    )
    with launched(disk, readonly=True) as one, launched(disk, readonly=True) as other:
        assert how(one).mode == how(other).mode == "warm"
        for question in asked:
            answers = {shell(g, question) for g in (one, other)}
            assert len(answers) == 2, question
            assert all(re.fullmatch(r"[0-9a-f -]{32,}", answer) for answer in answers)
        for g in (one, other):
            before = time.time()
            clock = float(shell(g, "date +%s.%N"))
            assert before - 2 < clock < time.time() + 1  # the machine's clock counts whole seconds
            g.mkfs("ext4", "/dev/sda")
        assert one.vfs_uuid("/dev/sda") != other.vfs_uuid("/dev/sda")
        # Not "Correctable Errors collector initialized", as Linux 6.12 says.
        bad = re.compile(r"BUG|Oops|\b[Ee]rror\b")
        assert not [line for line in one.dmesg().splitlines() if bad.search(line)]


def test_verbose_mode(warm: Appliance, disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Guestfs(accel="tcg") as g:
        g.set_verbose(True)
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        assert how(g).mode == "warm"
        assert shell(g, "grep -l -e --verbose /proc/[0-9]*/cmdline")
    assert "guestfsd: <= " in capfd.readouterr().err


def test_the_getters_tell_what_the_user_set(warm: Appliance, disk: Path) -> None:
    with Guestfs(accel="tcg", environment=False) as g:
        before = g.get_hv(), g.get_path(), g.get_cachedir(), g.get_append()
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        assert how(g).mode == "warm"
        assert (g.get_hv(), g.get_path(), g.get_cachedir(), g.get_append()) == before


def test_a_killed_parent_leaves_no_qemu(warm: Appliance, disk: Path) -> None:
    program = (
        "import sys, time; from guestkit import Guestfs; g = Guestfs(accel='tcg')\n"
        "g.add_drive(sys.argv[1], format='raw', readonly=True); g.launch()\n"
        "print(g.launch_info().mode, g.get_pid(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, disk], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        mode, pid = parent.stdout.readline().split()
        assert mode == "warm"
        qemu = os.pidfd_open(int(pid))
        parent.kill()
    assert wait_for_end(qemu), "QEMU outlives its parent"


def wait_for_end(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], 60)
    return bool(ready)


# ---- launches that the template does not fit


def test_what_the_template_does_not_fit_is_a_normal_boot(warm: Appliance, disk: Path) -> None:
    with Guestfs(accel="tcg") as g:
        g.set_memsize(1500)
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        assert how(g).mode == "lean"
        assert "-m 1500" in how(g).reason
        assert int(shell(g, "grep MemTotal /proc/meminfo").split()[1]) > 1300 * 1024


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: g.set_smp(2), "-smp 2"),
        (lambda g: g.set_network(True), "the template has no"),
        (lambda g: g.set_append("user=1"), "user=1"),
        (lambda g: g.config("-device", "virtio-balloon-pci"), "virtio-balloon-pci"),
        (lambda g: g.add_drive_scratch(1 << 20, name="x"), ""),
        (lambda g: g.add_drive("/dev/null", iface="virtio", format="raw", readonly=True), "virtio"),
    ],
    ids=["smp", "network", "append", "config", "scratch", "virtio-blk"],
)
def test_another_machine(change: Callable[[Guestfs], None], reason: str, warm: Appliance, disk: Path) -> None:
    with Guestfs(accel="tcg") as g:
        g.add_drive(disk, format="raw", readonly=True)
        if reason == "virtio":
            g.add_drive(blank(disk.with_name("blk.img")), iface="virtio", format="raw", readonly=True)
        else:
            change(g)
        g.launch()
        assert how(g).mode == ("lean" if reason else "warm")
        assert reason in how(g).reason
        assert "/dev/sda" in g.list_devices()


def test_a_disk_that_another_process_writes_is_refused(warm: Appliance, disk: Path) -> None:
    with launched(disk) as g:
        assert how(g).mode == "warm"
        with Guestfs(accel="tcg") as other:
            other.add_drive(disk, format="raw")
            with pytest.raises(LaunchError) as caught:
                other.launch()
        assert caught.value.cause == "disk_locked"
        g.mkfs("ext4", "/dev/sda")


# ---- a busy host


def restoring_qemu() -> int:
    """Wait for the restored QEMU of this process."""
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread or a program has ended in between
                for child in children.read_text().split():
                    if b"\0-incoming\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)


# Regression: the restore gave up after half a minute and booted, which loaded a busy host even more.
@pytest.mark.full
def test_a_restore_that_the_host_holds_up_is_waited_for(warm: Appliance, disk: Path) -> None:
    with Guestfs(accel="tcg") as g, ThreadPoolExecutor(1) as threads:
        g.add_drive(disk, format="raw", readonly=True)
        launch = threads.submit(g.launch)
        qemu = restoring_qemu()
        os.kill(qemu, signal.SIGSTOP)
        ended = wait([launch], timeout=40).done  # longer than the limit for a restore that can run
        os.kill(qemu, signal.SIGCONT)
        assert not ended
        launch.result()
        assert (how(g).mode, how(g).reason) == ("warm", "")


# ---- damaged templates


@pytest.fixture
def copy(warm: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A template for a test to damage, with its lean appliance, in its own cache."""
    lean = warm.directory.parent
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    place = cache / lean.name
    place.mkdir(mode=0o700)
    for file in filter(Path.is_file, lean.iterdir()):
        subprocess.run(["cp", "-a", "--sparse=always", file, place / file.name], check=True)
    subprocess.run(["cp", "-a", "--sparse=always", warm.directory, place / warm.directory.name], check=True)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(cache))
    template = place / warm.directory.name
    assert appliance.check(template) == ""
    return template


def keep_times(path: Path, change: Callable[[], object]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: os.truncate(d / "mem", MEGABYTE), "mem has changed"),
        (lambda d: (d / "state").write_bytes(b"garbage"), "state has changed"),
        (lambda d: (d / "root").unlink(), "No such file"),
        (lambda d: (d / "mem").chmod(0o666), "only this user can write"),
        (lambda d: d.chmod(0o775), "not a directory of this user alone"),
        (lambda d: (d / "manifest").unlink(), "manifest cannot be read"),
        (lambda d: (d / "manifest").write_text("guestkit-appliance 2\n"), "manifest lacks"),
        (lambda d: os.utime(d / "manifest", (0, 0)), "older than a day"),
        (lambda d: (d / "hypervisor").chmod(0o600), "nothing can be executed"),
        (lambda d: os.chown(d / "mem", 12345, -1), "only this user can write"),
    ],
    ids=["truncated", "garbled", "missing", "writable", "open", "none", "short", "old", "noexec", "foreign"],
)
def test_a_spoilt_template_is_refused_with_a_reason(
    spoil: Callable[[Path], object], reason: str, copy: Path, request: pytest.FixtureRequest
) -> None:
    if "foreign" in request.node.name and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    spoil(copy)
    assert reason in appliance.check(copy)


def test_with_a_spoilt_template_the_launch_still_works(copy: Path, disk: Path) -> None:
    os.truncate(copy / "mem", MEGABYTE)
    with launched(disk, readonly=True) as g:
        assert how(g).mode == "lean"
        assert "mem has changed" in how(g).reason
        assert g.list_devices() == ["/dev/sda"]


def test_a_build_while_a_launch_waited_for_memory_took_its_appliance_away(copy: Path, disk: Path) -> None:
    """Regression: "launch: set_cachedir: …/warm-1/probes: realpath: No such file or directory"."""

    def renew(event: Event, _: int, text: str, __: object) -> None:
        if text == "get_memsize":  # by which the launch knows what to wait for: it has chosen
            shutil.rmtree(copy, ignore_errors=True)

    with Guestfs(accel="tcg") as g:
        g.add_drive(disk, format="raw", readonly=True)
        g.set_event_callback(renew, Event.ENTER)
        g.launch()
        assert not copy.exists()
        assert (how(g).mode, how(g).reason) == ("lean", "no template has been built")


# ---- restores that fail


@pytest.fixture
def unloadable(warm: Appliance, tmp_path: Path) -> Iterator[None]:
    """Damage the template's state in a way that shows only when it is loaded."""
    state = warm.directory / "state"
    kept = state.read_bytes()
    keep_times(state, lambda: state.write_bytes(b"\0" * len(kept)))
    yield
    keep_times(state, lambda: state.write_bytes(kept))


def test_a_restore_that_fails_is_repeated_as_a_boot_with_all_that_was_set(
    unloadable: None, disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []
    with Guestfs(accel="tcg") as g:
        g.set_event_callback(lambda event, number, text, numbers: events.append(event.name or ""))
        g.set_identifier("mine")
        g.set_autosync(False)
        g.set_program("test")
        g.add_drive(disk, format="raw", label="one")
        g.shutdown()  # before a launch it does nothing, yet it had cost the first disk
        g.add_drive_ro(blank(tmp_path / "b.img", 3))
        with caplog.at_level("WARNING", logger="guestkit"):
            g.launch()
        assert how(g).mode == "lean"
        assert "the warm appliance failed" in how(g).reason
        assert any("launching again without it" in record.message for record in caplog.records)
        assert [g.blockdev_getsize64(name) // MEGABYTE for name in g.list_devices()] == [64, 3]
        assert g.list_disk_labels() == {"one": "/dev/sda"}
        assert (g.get_identifier(), g.get_autosync(), g.get_program()) == ("mine", False, "test")
        g.shutdown()
        assert "CLOSE" not in events
        # The disks of the first launch are not added again.
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        assert "the warm appliance failed" in how(g).reason
        assert g.list_devices() == ["/dev/sda"]
    assert events.count("CLOSE") == 1


def test_a_hypervisor_that_dies_in_the_restore_leaves_no_process(unloadable: None, disk: Path) -> None:
    def processes() -> set[str]:
        listing = subprocess.run(
            ["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True
        ).stdout
        return {line.split()[0] for line in listing.splitlines() if f"guestkit-{os.getpid()}-" in line}

    with launched(disk, readonly=True) as g:
        assert processes() == {str(g.get_pid())}
    assert processes() == set()


# ---- the cache


def test_a_template_is_renewed_when_it_is_old(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def fail(lean: Path, *_: Any) -> Any:
        made.append(lean)
        raise OSError("not now")

    monkeypatch.setattr(appliance, "build_template", fail)
    assert appliance.build().directory == copy
    assert made == []
    # Regression: who built it each day found it good, and had none from some minutes later on.
    half_a_day_ago = time.time() - 12.1 * 3600
    os.utime(copy / "manifest", (half_a_day_ago, half_a_day_ago))
    assert appliance.build().directory == copy
    assert made == [copy.parent]
    os.utime(copy / "manifest", (0, 0))
    assert appliance.build().directory == copy.parent
    assert made == [copy.parent] * 2


def test_why_there_is_no_warm_appliance_stood_only_in_the_log_of_its_build(
    copy: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: with QEMU 10 none could be made, and launches took twice as long without a word."""

    def fail(*_: Any) -> Any:
        raise _template.TemplateError("appliance", "x" * 5000 + " QEMU ends:\n\x1b[31mno such property")

    shutil.rmtree(copy)
    with monkeypatch.context() as qemu:
        qemu.setattr(appliance, "build_template", fail)
        assert appliance.build().directory == copy.parent
    with launched(disk, readonly=True) as g:
        mode, reason = how(g).mode, how(g).reason
    assert mode == "lean"
    assert reason.startswith("the warm appliance could not be built: xxx")
    assert reason.endswith("xxx QEMU ends: [31mno such property")
    assert len(reason) < 1100
    monkeypatch.setattr(_native, "kvm_status", lambda qemu: (False, "not here"))
    (told,) = [one for one in diagnose() if one.name == "appliance"]
    assert (told.level, told.remedy) == ("warning", "guestkit appliance build")
    assert told.message.endswith(reason)


def test_no_template_was_made_with_a_hypervisor_without_its_directory(
    warm: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: with libguestfs 1.60, whose get_hv tells a name to look for in PATH, it was no input."""
    with Guestfs(environment=False) as g:
        path = Path(g.get_hv())
    monkeypatch.setattr(Guestfs, "get_hv", lambda _: path.name)
    command = _template._launched_command(warm.directory.parent)
    assert Path(os.fsdecode(command[0])) == _template.hypervisor_file(g) == Path(shutil.which(path) or "")


@pytest.mark.full
def test_without_shared_memory_the_state_holds_it(
    warm: Appliance, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = _template._snapshot

    def without(made: Path, lean: Path, memory: int, *, shared: bool) -> None:
        if shared:
            raise _template.TemplateError("appliance", "x-ignore-shared is not known")
        snapshot(made, lean, memory, shared=False)

    monkeypatch.setattr(_template, "_snapshot", without)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(tmp_path / "cache"))
    built = appliance.build()
    assert not (built.directory / "mem").exists()
    with launched(disk, readonly=True) as g:
        assert how(g).mode == "warm"
        assert g.list_devices() == ["/dev/sda"]


LAUNCH = (
    "import sys; from guestkit import Guestfs, appliance\n"
    "g = Guestfs(accel='tcg'); g.add_drive(sys.argv[1], format='raw'); g.launch()\n"
    "print(g.launch_info().mode, g.list_devices())"
)


def as_an_ordinary_user(program: str, disk: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    for name in Path("/boot").glob("vmlinu*"):
        if not name.stat().st_mode & 0o004:
            pytest.skip("only root can read this distribution's kernel")
    return subprocess.run(
        ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", sys.executable, "-c", program, disk],
        env={**os.environ, "GUESTKIT_CACHEDIR": str(cache), "HOME": str(disk.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def user_s_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="guestkit-user-", dir="/var/tmp"))
    os.chown(home, 12345, 12345)
    yield home
    shutil.rmtree(home)


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")
def test_an_ordinary_user_builds_and_uses_one(open_checkout: None, user_s_home: Path) -> None:
    disk = blank(user_s_home / "disk.img")
    os.chown(disk, 12345, 12345)
    program = f"from guestkit import appliance; appliance.build()\n{LAUNCH}"
    done = as_an_ordinary_user(program, disk, user_s_home / "cache")
    assert done.stdout.split() == ["warm", "['/dev/sda']"], done.stderr


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")
def test_what_root_has_built_for_all_serves_an_ordinary_user(
    open_checkout: None, user_s_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = blank(user_s_home / "disk.img")
    os.chown(disk, 12345, 12345)
    with tempfile.TemporaryDirectory(prefix="guestkit-system-", dir="/var/tmp") as place:
        os.chmod(place, 0o755)
        monkeypatch.setattr(appliance, "SYSTEM_CACHE", Path(place) / "appliance")
        built = appliance.build(system=True)
        assert built.directory.parent.parent == Path(place) / "appliance"
        done = as_an_ordinary_user(LAUNCH, disk, Path(place) / "appliance")
        assert done.stdout.split() == ["warm", "['/dev/sda']"], done.stderr
        refused = as_an_ordinary_user(
            "from guestkit import appliance; appliance.build()", disk, Path(place) / "appliance"
        )
        assert "cannot be written by this user" in refused.stderr
        appliance.remove(system=True)
        assert appliance._lean_ones(Path(place) / "appliance") == []
