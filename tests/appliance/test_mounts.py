"""What an inspection, mount_guest and open_guest mount, and where: never outside the guest."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guestkit import Error, Event, Guestfs, open_guest
from guestkit.guest import Mounted, mount_guest
from guestkit.inspection import Mode
from tests.images.corpus import ATTACKED, images


@contextmanager
def launched(name: str) -> Iterator[Guestfs]:
    (path,) = images([name]).values()
    with Guestfs(appliance="inspection") as g:
        g.open_disk(path, format="raw")
        g.launch()
        yield g


def outside(g: Guestfs) -> set[str]:
    """Return the mountpoints in the appliance that are not below the guest's root."""
    lines = g.debug("sh", ["cat /proc/mounts"]).splitlines()
    places = {line.split()[1] for line in lines}
    return {place for place in places if place != "/sysroot" and not place.startswith("/sysroot/")}


def has_run(g: Guestfs) -> bool:
    """Return whether the guest's program ran outside the guest: it makes /owned in the appliance."""
    return g.debug("sh", ["ls -d /owned 2>/dev/null | wc -l"]).strip() == "1"


def test_a_guest_mounts_nothing_outside_of_its_root_and_runs_no_program() -> None:
    """Regression: fstab's `/../usr/bin` hid the appliance's programs: the guest's `umount` ran as root."""
    with launched("attack") as g:
        before = outside(g)
        modes: tuple[Mode, ...] = ("auto", "libguestfs")
        for mode in modes:
            (system,) = g.inspect(mode=mode).operating_systems
            told = " ".join(failure.message for failure in system.failures)
            assert all(f'is not mounted on "{place}": ' in told for place in ATTACKED)
            assert dict(system.mountpoints) == {"/": "/dev/sda1", "/safe": "/dev/sda2"}
            assert outside(g) == before
        for root in (None, "/dev/sda1"):
            mounted = mount_guest(g, root=root)
            assert dict(mounted.mountpoints) == {"/": "/dev/sda1", "/safe": "/dev/sda2"}
            assert g.exists("/safe/umount")  # an allowed mountpoint is mounted
            told = " ".join(failure.message for failure in mounted.failures)
            assert all(f'is not mounted on "{place}": ' in told for place in ATTACKED)
            assert outside(g) == before
            g.umount_all()
        assert outside(g) == before
        assert not has_run(g)

        # The checks above can fail: libguestfs itself does mount there, and the program does leave its mark.
        g.mount_ro("/dev/sda2", "/")
        g.mount_ro("/dev/sda1", "/../usr/share")
        assert outside(g) == before | {"/usr/share"}
        g.debug("sh", ["umount /usr/share; /sysroot/umount"])
        assert has_run(g)


def test_a_chosen_root_is_looked_at_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Regression: one odd line in fstab made the guest's files inaccessible, with or without `--root`."""
    with launched("odd lines") as g:
        calls: list[str] = []
        g.set_event_callback(lambda event, handle, text, numbers: calls.append(str(text)), Event.TRACE)
        g.set_trace(True)
        mounted = mount_guest(g, root="/dev/sda1")
        g.set_trace(False)
        assert not [call for call in calls if "inspect_os" in call]
        assert [call for call in calls if call.startswith('mount_ro "')] == [
            'mount_ro "/dev/sda1" "/"',
            'mount_ro "/dev/sda2" "/srv"',
        ]
        assert dict(mounted.mountpoints) == {"/": "/dev/sda1", "/srv": "/dev/sda2"}
        assert mounted.system is not None
        assert (mounted.system.distro, mounted.system.hostname) == ("debian", "debian12")
        assert [failure.message.split(":")[0] for failure in mounted.failures] == [
            f"/etc/fstab, line {line}" for line in (2, 3, 5)
        ]
        assert "line 2: cannot be read" in caplog.text
        assert g.read_file("/srv/a") == b"b"

        alone = mount_guest(g, root="LABEL=data")
        assert alone == Mounted(root="/dev/sda2", system=None, mountpoints={"/": "/dev/sda2"}, failures=())
        assert g.read_file("/a") == b"b"
        with pytest.raises(Error) as caught:
            mount_guest(g, root="UUID=none")
        assert caught.value.errno == errno.ENOENT
        assert "the filesystems are /dev/sda1 (ext4), /dev/sda2 (ext4)" in caught.value.message
        assert caught.value.cause == "root_unclear"


def test_what_cannot_be_mounted_is_not_said_to_be() -> None:
    """Regression: `mountpoints` listed all of fstab, even what could not be mounted."""
    with launched("broken beside") as g:
        for root in (None, "/dev/sda1"):
            mounted = mount_guest(g, root=root)
            assert mounted.mountpoints == {"/": "/dev/sda1"}
            assert mounted.system is not None
            assert mounted.system.mountpoints == {"/": "/dev/sda1", "/broken": "/dev/sda2"}
            (failure,) = mounted.failures
            assert failure.message.startswith('/dev/sda2 is not mounted on "/broken": ')
            assert g.mountpoints() == {"/dev/sda1": "/"}


def test_fstab_may_name_a_root_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Regression: inspect() worked, but ls, cat, cp and open_guest failed, even with an explicit root."""
    caplog.set_level(logging.WARNING, "guestkit")
    (path,) = images(["root not there"]).values()
    for root in (None, "/dev/sda1"):
        with open_guest(path, format="raw", root=root) as g:
            assert g.read_file("/etc/hostname") == b"debian12\n"
        assert "/dev/sda1, where the system was found, is mounted instead" in caplog.text
        caplog.clear()


def test_a_windows_with_fast_startup_was_opened_for_writing_read_only(tmp_path: Path) -> None:
    """Regression: it was mounted "for writing", and the first write failed with a bare EROFS."""
    disk = tmp_path / "disk.img"
    with Guestfs() as g:
        g.disk_create(disk, "raw", 64 << 20)
        g.open_disk(disk, readonly=False, format="raw")
        g.launch()
        g.mkfs("ntfs", "/dev/sda")
        for kind in ({"root": "/dev/sda"}, {"mounts": {"/": "sda"}}):
            mount_guest(g, readonly=False, **kind)
        g.write("/hiberfil.sys", b"hibr".ljust(4096, b"\0"))
        for kind in ({"root": "/dev/sda"}, {"mounts": {"/": "sda"}}):
            with pytest.raises(Error, match="can only be mounted read-only: Windows is hibernated") as caught:
                mount_guest(g, readonly=False, **kind)
            assert caught.value.errno == errno.EROFS
            assert caught.value.hint.startswith("shut Windows down fully (no Fast Startup, no hibernation)")
            assert g.mountpoints() == {}
            mount_guest(g, **kind)


@pytest.mark.full
def test_a_guest_with_usr_on_a_filesystem_of_its_own_is_whole() -> None:
    (path,) = images(["ubuntu usr"]).values()
    with open_guest(path, format="raw") as g:
        assert g.read_file("/etc/os-release").startswith(b"PRETTY_NAME=")
        assert g.is_file("/bin/bash", followsymlinks=True)


def test_a_disk_without_a_system_is_mounted_alone() -> None:
    with launched("no system") as g:
        assert mount_guest(g).system is None
        assert g.read_file("/photos/1.jpg") == b"jpeg"
