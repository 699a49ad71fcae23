"""The lean appliance behaves like libguestfs' own, and is not used if anything about it is wrong."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from guestkit import AsyncGuestfs, Error, Guestfs, LaunchError, _initrd, appliance
from guestkit.appliance import Appliance, ApplianceError

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")  # longer, and other modules would launch what is built here
def lean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GUESTKIT_CACHEDIR", str(tmp_path_factory.mktemp("cache") / "appliance"))
        yield appliance.build(warm=False)


@contextmanager
def launched(
    where: Appliance | None, *disks: tuple[Path, Literal["raw", "qcow2"]], readonly: bool = False
) -> Iterator[Guestfs]:
    with Guestfs(appliance=where.directory if where else "system") as g:
        for path, image_format in disks:
            g.add_drive(path, format=image_format, readonly=readonly)
        g.launch()
        yield g


def blank(path: Path, megabytes: int = 64) -> tuple[Path, Literal["raw"]]:
    with open(path, "wb") as file:
        file.truncate(megabytes * MEGABYTE)
    return path, "raw"


def ext4(g: Guestfs) -> None:
    g.part_disk("/dev/sda", "mbr")
    g.mkfs("ext4", "/dev/sda1", label="data")


def vfat(g: Guestfs) -> None:
    g.mkfs("vfat", "/dev/sda")


def lvm(g: Guestfs) -> None:
    g.part_disk("/dev/sda", "gpt")
    g.pvcreate("/dev/sda1")
    g.vgcreate("vg", ["/dev/sda1"])
    g.lvcreate("lv", "vg", 32)
    g.mkfs("ext4", "/dev/vg/lv")


def luks(g: Guestfs) -> None:
    g.luks_format("/dev/sda", "secret", 0)


def md(g: Guestfs) -> None:
    g.md_create("r1", ["/dev/sda", "/dev/sdb"], level="raid1")
    g.mkfs("ext4", "/dev/md127" if "/dev/md127" in g.list_md_devices() else g.list_md_devices()[0])


def lvm_on_md(g: Guestfs) -> None:
    g.md_create("r1", ["/dev/sda", "/dev/sdb"], level="raid1")
    array = g.list_md_devices()[0]
    g.pvcreate(array)
    g.vgcreate("vg", [array])
    g.lvcreate("lv", "vg", 16)
    g.mkfs("ext4", "/dev/vg/lv")


def found(g: Guestfs) -> object:
    """Return what a handle sees of its disks."""
    filesystems = g.list_filesystems()
    mountable = [name for name, kind in filesystems.items() if kind in ("ext4", "vfat")]
    for name in mountable:
        g.mount_ro(name, "/")
        filesystems[name] += ":" + ",".join(g.ls("/"))
        g.umount("/")
    sizes = {name: g.blockdev_getsize64(name) for name in g.list_devices()}
    return sizes, g.list_partitions(), g.lvs(), g.list_md_devices(), filesystems


TABLE = [
    pytest.param(ext4, 1, id="ext4"),
    pytest.param(lvm, 2, id="lvm", marks=pytest.mark.full),
    pytest.param(vfat, 1, id="whole-disk vfat", marks=pytest.mark.full),
    pytest.param(luks, 1, id="luks", marks=pytest.mark.full),
    pytest.param(md, 3, id="md", marks=pytest.mark.full),
    pytest.param(lvm_on_md, 2, id="lvm on md", marks=pytest.mark.full),
    pytest.param(lambda g: None, 20, id="20 empty disks", marks=pytest.mark.full),
]


@pytest.mark.parametrize(("make", "count"), TABLE)
def test_both_appliances_see_the_same(
    make: Callable[[Guestfs], None], count: int, lean: Appliance, tmp_path: Path
) -> None:
    disks = [blank(tmp_path / f"{number}.img", 64 + number) for number in range(count)]
    with launched(lean, *disks) as g:
        make(g)
        g.shutdown()
    seen = []
    for where in (lean, None):
        with launched(where, *disks, readonly=True) as g:
            seen.append(found(g))
    assert seen[0] == seen[1]


def test_writes_are_read_back_and_a_readonly_disk_is_untouched(lean: Appliance, tmp_path: Path) -> None:
    raw = blank(tmp_path / "a.img")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "b.qcow2", "64M"], check=True)
    disks: list[tuple[Path, Literal["raw", "qcow2"]]] = [raw, (tmp_path / "b.qcow2", "qcow2")]
    with launched(lean, *disks) as g:
        for name in g.list_devices():
            g.mkfs("ext4", name)
            g.mount(name, "/")
            g.write("/file", name.encode())
            g.umount("/")
        g.shutdown()
    before = [hashlib.sha256(path.read_bytes()).digest() for path, _ in disks]
    with launched(lean, *disks, readonly=True) as g:
        for name in g.list_devices():
            g.mount(name, "/")
            assert g.read_file("/file") == name.encode()
            g.write("/file", b"changed")
            g.umount("/")
    assert [hashlib.sha256(path.read_bytes()).digest() for path, _ in disks] == before


@pytest.mark.full
def test_network_and_verbose_mode_boot_on_the_stock_init(lean: Appliance, tmp_path: Path) -> None:
    path, _ = blank(tmp_path / "a.img")
    with Guestfs(appliance=lean.directory) as g:
        g.set_network(True)
        g.set_verbose(True)
        g.add_drive(path, format="raw")
        g.launch()
        assert g.list_devices() == ["/dev/sda"]


def test_the_kernel_and_udev_report_no_error(lean: Appliance, tmp_path: Path) -> None:
    with launched(lean, blank(tmp_path / "a.img")) as g:
        assert not [line for line in g.dmesg().splitlines() if "BUG" in line or "Oops" in line]
        assert len(g.debug("sh", ["cat /etc/machine-id"]).strip()) == 32
        assert g.debug("sh", ["udevadm settle -E /dev/sda && udevadm info /dev/sda"]).startswith("P: ")


# ---- what a launch uses


@contextmanager
def launched_by_itself(disk: Path, **options: Any) -> Iterator[Guestfs]:
    with Guestfs(**options) as g:
        g.add_drive(disk, format="raw", readonly=True)
        g.launch()
        yield g


def test_it_is_used_by_itself_and_the_getters_tell_what_the_user_set(lean: Appliance, tmp_path: Path) -> None:
    disk, _ = blank(tmp_path / "a.img")
    with Guestfs(environment=False) as g:
        untouched = g.get_path(), g.get_hv()
    with Guestfs(accel="tcg") as g:
        backend = g.get_backend_settings()
        assert g.launch_info() is None
        g.set_append("user=1")
        for _ in range(2):
            g.add_drive(disk, format="raw", readonly=True)
            g.launch()
            info = g.launch_info()
            assert info
            assert (info.mode, info.accelerator) == ("lean", "tcg")
            assert 0 < info.seconds < 600
            line = g.debug("sh", ["cat /proc/cmdline"])
            assert line.split()[-1] == "user=1"
            assert ("norandmaps" in line) == (os.uname().machine == "x86_64")
            assert (g.get_path(), g.get_hv(), g.get_append()) == (*untouched, "user=1")
            assert g.get_backend_settings() == backend
            g.shutdown()
            assert (g.get_path(), g.get_hv(), g.get_append()) == (*untouched, "user=1")
            assert g.get_backend_settings() == backend
        g.set_append(None)
        assert g.get_append() is None


def test_a_backend_setting_that_came_too_late_was_told_as_a_failed_launch(
    lean: Appliance, tmp_path: Path
) -> None:
    with launched_by_itself(blank(tmp_path / "a.img")[0], accel="tcg") as g:
        for change in (
            lambda: g.set_backend_settings([]),
            lambda: g.set_backend_setting("a", "b"),
            lambda: g.clear_backend_setting("a"),
        ):
            with pytest.raises(Error, match="can only be called in the config state") as caught:
                change()
            assert type(caught.value) is Error
            assert caught.value.op in {"set_backend_settings", "set_backend_setting", "clear_backend_setting"}


def test_two_processors_stay_two_with_the_kernel_arguments(lean: Appliance, tmp_path: Path) -> None:
    with Guestfs(accel="tcg") as g:
        g.set_smp(2)
        g.add_drive(blank(tmp_path / "a.img")[0], format="raw", readonly=True)
        g.launch()
        assert g.debug("sh", ["nproc"]).strip() == "2"


@pytest.mark.parametrize(
    ("name", "getter", "mode"),
    [("LIBGUESTFS_HV", "get_hv", "system"), ("LIBGUESTFS_PATH", "get_path", "fixed")],
)
def test_it_is_never_used_with_a_path_or_hypervisor_of_the_user(
    name: str, getter: str, mode: str, lean: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Guestfs(environment=False) as g:
        monkeypatch.setenv(name, getattr(g, getter)())
    with launched_by_itself(blank(tmp_path / "a.img")[0], tuning="none") as g:
        info = g.launch_info()
        assert info
        assert info.mode == mode
        assert "the user's" in info.reason
        assert "norandmaps" not in g.debug("sh", ["cat /proc/cmdline"])


def test_with_a_spoilt_one_the_launch_still_works(
    lean: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.truncate(copy_of(lean, cache / "lean-0") / "root", MEGABYTE)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(cache))
    with launched_by_itself(blank(tmp_path / "a.img")[0]) as g:
        info = g.launch_info()
        assert info
        assert info.mode == "system"
        assert "root has changed" in info.reason


async def test_the_async_handle_uses_it_too(lean: Appliance, tmp_path: Path) -> None:
    async with AsyncGuestfs() as g:
        assert await g.launch_info() is None
        await g.add_drive(blank(tmp_path / "a.img")[0], format="raw", readonly=True)
        await g.launch()
        info = await g.launch_info()
        assert info
        assert info.mode == "lean"


def test_a_damaged_appliance_that_was_asked_for_is_an_error(lean: Appliance, tmp_path: Path) -> None:
    place = copy_of(lean, tmp_path / "copy")
    os.truncate(place / "initrd", 5)
    for directory, reason in ((place, "initrd has changed"), (tmp_path / "none", "no README.fixed")):
        with Guestfs(appliance=directory) as g:
            g.add_drive(blank(tmp_path / "a.img")[0], format="raw")
            with pytest.raises(LaunchError, match=reason):
                g.launch()


# ---- the cache


def copy_of(source: Appliance, place: Path) -> Path:
    """Copy a good appliance, sparse and with the same times, for a test to damage."""
    subprocess.run(["cp", "-a", "--sparse=always", source.directory, place], check=True)
    assert appliance.check(place) == ""
    return place


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: os.truncate(d / "root", MEGABYTE), "has changed"),
        (lambda d: (d / "initrd").unlink(), "No such file"),
        (lambda d: (d / "kernel").chmod(0o666), "only this user can write"),
        (lambda d: d.chmod(0o777), "not a directory of this user alone"),
        (lambda d: d.parent.chmod(0o777), "can be written by other users"),
        (lambda d: (d / "manifest").write_text("guestkit-appliance 2\nfile x\n"), "manifest is damaged"),
        (lambda d: (d / "manifest").write_text("guestkit-appliance 2\n"), "manifest lacks"),
        (lambda d: (d / "manifest").write_text("guestkit-appliance 0\n"), "another version"),
        (lambda d: (d / "manifest").unlink(), "manifest cannot be read"),
    ],
    ids=["truncated", "missing", "writable file", "writable", "parent", "garbled", "short", "old", "none"],
)
def test_a_spoilt_appliance_is_refused_with_a_reason(
    spoil: Callable[[Path], object], reason: str, lean: Appliance, tmp_path: Path
) -> None:
    (tmp_path / "inner").mkdir(mode=0o700)
    place = copy_of(lean, tmp_path / "inner" / "copy")
    spoil(place)
    assert reason in appliance.check(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_the_appliance_was_in_no_manifest(lean: Appliance) -> None:
    """Who changed it, as the one that tells the host, was not noticed."""
    rows = (lean.directory / "manifest").read_text().splitlines()
    listed = {row.split(maxsplit=3)[3] for row in rows if row.startswith("file ")}
    files = {path.name for path in lean.directory.iterdir() if path.is_file()}
    assert files - listed <= {"manifest", appliance.FAILURE}


def test_a_foreign_appliance_is_refused(lean: Appliance, tmp_path: Path) -> None:
    place = copy_of(lean, tmp_path / "copy")
    os.chown(place / "root", 12345, -1)
    assert "only this user can write" in appliance.check(place)


@pytest.mark.full
def test_ten_processes_build_one_appliance(tmp_path: Path) -> None:
    program = "from guestkit import appliance; print(appliance.build(warm=False).directory)"
    environment = {**os.environ, "GUESTKIT_CACHEDIR": str(tmp_path / "cache")}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    answers = {process.communicate()[0] for process in running}
    assert len(answers) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("new-")] == []
    assert all(process.returncode == 0 for process in running)


def test_what_was_built_for_other_packages_is_pruned_and_remove_removes(
    lean: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    monkeypatch.setenv("GUESTKIT_CACHEDIR", str(cache))
    copy_of(lean, cache / lean.directory.name)
    (cache / "lean-old").mkdir(mode=0o700)
    assert appliance.build(warm=False).directory == cache / lean.directory.name
    assert [one.directory.name for one in appliance.appliances()] == [lean.directory.name]
    appliance.remove()
    assert appliance.appliances() == []


def test_without_a_home_python_and_a_launch_look_in_the_same_place() -> None:
    program = (
        "from guestkit import Guestfs, appliance\n"
        "try: print(appliance.cache_directory())\n"
        "except appliance.ApplianceError as error: print(error)\n"
        "print(*appliance.search_path())"
    )
    own = f"{pwd.getpwuid(os.geteuid()).pw_dir}/.cache/guestkit/appliance"
    shared = str(appliance.SYSTEM_CACHE)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH")}
    for home, told, places in (
        ({}, own, f"{own} {shared}"),
        ({"HOME": "/nonexistent"}, "set GUESTKIT_CACHEDIR", shared),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**kept, **home}, capture_output=True, text=True, check=True
        )
        first, second = done.stdout.splitlines()
        assert told in first
        assert second == places


def test_a_cache_that_cannot_be_written_is_an_error_of_guestkit(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("/proc/guestkit", "/dev/null/cache"):
        monkeypatch.setenv("GUESTKIT_CACHEDIR", place)
        with pytest.raises(ApplianceError, match=f"{place} cannot be made"):
            appliance.build()


# Regression: supermin's temporary directory was in /tmp, where nothing ever removed it.
def test_a_build_that_is_killed_leaves_nothing_after_the_next_one(tmp_path: Path) -> None:
    tools, temporary, cache = (tmp_path / name for name in ("tools", "tmp", "cache"))
    for directory in (tools, temporary):
        directory.mkdir()
    started, released = tmp_path / "started", tmp_path / "released"
    for fifo in (started, released):
        os.mkfifo(fifo)
    supermin = tools / "supermin"
    supermin.write_text(
        f"#!/bin/sh\nmkdir $TMPDIR/supermin0.tmpdir\necho >'{started}'\nread line <'{released}'\n"
        "touch $TMPDIR/supermin0.tmpdir/late\nexit 1\n"
    )
    supermin.chmod(0o755)
    environment = {**os.environ, "TMPDIR": str(temporary), "GUESTKIT_CACHEDIR": str(cache)}
    slow = {**environment, "PATH": f"{tools}:{os.environ['PATH']}"}
    program = [sys.executable, "-c", "from guestkit import appliance; appliance.build(warm=False)"]
    with subprocess.Popen(program, env=slow) as build, started.open() as told:
        assert told.read() == "\n"  # closing it earlier would kill the script by SIGPIPE
        build.kill()
    supermin.write_text("#!/bin/sh\nexit 1\n")  # the next build sweeps, then fails
    with subprocess.Popen(program, env=slow, stderr=subprocess.DEVNULL) as build:
        released.write_text("\n")  # the first build's supermin, which still runs, goes on
        assert build.wait() == 1
    assert list(temporary.iterdir()) == []
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_an_initrd_of_unknown_form_is_an_error(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"\x1f\x8b" + bytes(200))
    with pytest.raises(ApplianceError, match="supermin's initrd: it is not a cpio archive"):
        appliance._rewrite(initrd, _initrd.slim)
