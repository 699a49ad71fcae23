"""A guest's files in a directory of this host: `guestkit mount` and `guestkit unmount`."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestkit import Error, fuse, open_guest
from guestkit.demo import DEMO_SYSTEM

GUESTKIT = [sys.executable, "-m", "guestkit"]
PATIENCE = 60

pytestmark = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="this host has no /dev/fuse")


def long_form(value: object) -> object:
    return pytest.param(value, marks=pytest.mark.full)


def guestkit(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GUESTKIT, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def wait_until_gone(server: int, number: int) -> None:
    assert select.select([server], [], [], PATIENCE)[0], f"process {number} goes on"


@contextlib.contextmanager
def sitting_in(directory: Path) -> Iterator[int]:
    """A program whose current directory that is; yields its number."""
    with subprocess.Popen(["sleep", "1000"], cwd=directory) as program:
        try:
            yield program.pid
        finally:
            program.kill()


@contextlib.contextmanager
def foreground(disk: Path, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """`guestkit mount --foreground`, once the directory can be used."""
    with subprocess.Popen(
        [*GUESTKIT, "mount", "--foreground", disk, directory], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            assert any("has the files of" in line for line in server.stderr)
            yield server
        finally:
            server.kill()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a directory"
    path.mkdir()
    yield path
    if fuse.mount_at(str(path)):
        fuse.unmount(str(path), force=True)


@pytest.fixture
def mounted(demo_guest: Path, directory: Path) -> Path:
    done = guestkit("mount", demo_guest, directory)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return directory


def server_of(directory: Path) -> int:
    mount = fuse.mount_at(str(directory))
    assert mount is not None
    assert mount.server is not None
    return mount.server


def child_of(server: int, is_it: Callable[[str], bool]) -> int:
    children = [
        child
        for task in Path(f"/proc/{server}/task").iterdir()
        for child in (task / "children").read_text(encoding="ascii").split()
    ]
    for child in children:
        if is_it(child):
            return int(child)
    raise AssertionError(f"it is not among {children}")


def hypervisor_of(server: int) -> int:
    return child_of(server, lambda child: "qemu" in os.readlink(f"/proc/{child}/exe"))


def watcher_of(server: int) -> int:
    """The process that unmounts the directory if the server is killed."""
    return child_of(server, lambda child: "guestkit-unmount" in Path(f"/proc/{child}/cmdline").read_text())


def wait_until_unmounted(directory: Path) -> None:
    """Wait, as long as patience lasts; the kernel tells by poll(2) when the mounts change."""
    with open("/proc/self/mountinfo", "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI | select.POLLERR)
        while fuse.mount_at(str(directory)):
            assert changes.poll(PATIENCE * 1000), "it is still mounted"


def test_any_program_reads_a_guests_files(mounted: Path, demo_guest: Path) -> None:
    assert {"etc", "usr", "var"} <= set(os.listdir(mounted))
    with open_guest(demo_guest) as g:
        release = g.read_file("/etc/os-release")
    assert (mounted / "etc/os-release").read_bytes() == release
    assert subprocess.run(["cp", mounted / "etc/fstab", mounted / "etc/copy"], check=False).returncode != 0
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "new").touch()


def test_the_disk_is_free_when_unmount_returns(mounted: Path) -> None:
    server = server_of(mounted)
    gone, hypervisor = os.pidfd_open(server), os.pidfd_open(hypervisor_of(server))
    done = guestkit("unmount", mounted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert select.select([hypervisor], [], [], 0)[0], "the hypervisor goes on"
    os.close(hypervisor)
    assert select.select([gone], [], [], 0)[0], "the server goes on"
    os.close(gone)
    assert os.listdir(mounted) == []


def test_a_directory_in_use_is_told_with_the_program_and_can_be_forced(mounted: Path) -> None:
    with sitting_in(mounted / "etc") as program:
        done = guestkit("unmount", mounted)
        assert done.returncode == 1
        assert f"is in use by sleep ({program}); end these programs, or --force" in done.stderr
        assert "etc" in os.listdir(mounted)
        server = server_of(mounted)
        gone = os.pidfd_open(server)
        assert guestkit("unmount", "--force", mounted).returncode == 0
        assert os.listdir(mounted) == []
        wait_until_gone(gone, server)
    os.close(gone)


@pytest.mark.parametrize("number", [long_form(signal.SIGINT), signal.SIGTERM, long_form(signal.SIGHUP)])
def test_a_signal_ends_the_foreground_even_if_a_program_sits_in_the_directory(
    demo_guest: Path, directory: Path, number: signal.Signals
) -> None:
    with foreground(demo_guest, directory) as server, sitting_in(directory / "etc"):
        server.send_signal(number)
        assert server.wait(PATIENCE) == -number
        assert os.listdir(directory) == []


def test_a_killed_server_leaves_no_dead_directory(mounted: Path) -> None:
    server = server_of(mounted)
    hypervisor = os.pidfd_open(hypervisor_of(server))
    os.kill(server, signal.SIGKILL)
    assert select.select([hypervisor], [], [], PATIENCE)[0]
    os.close(hypervisor)
    wait_until_unmounted(mounted)
    assert os.listdir(mounted) == []


def test_a_killed_server_left_a_directory_that_somebody_looked_at(mounted: Path) -> None:
    """Regression: libfuse's auto_unmount tries once, and gives up if the directory is in use."""
    with sitting_in(mounted / "etc"):
        os.kill(server_of(mounted), signal.SIGKILL)
        wait_until_unmounted(mounted)
        assert os.listdir(mounted) == []


def test_unmount_clears_a_dead_directory_although_a_program_sits_in_it(mounted: Path) -> None:
    server = server_of(mounted)
    os.kill(watcher_of(server), signal.SIGKILL)
    with sitting_in(mounted / "etc"):
        gone = os.pidfd_open(server)
        os.kill(server, signal.SIGKILL)
        wait_until_gone(gone, server)
        os.close(gone)
        with pytest.raises(OSError, match="not connected"):
            os.listdir(mounted)
        done = guestkit("unmount", mounted)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert os.listdir(mounted) == []


def test_a_killed_hypervisor_is_an_error_and_no_deadlock(mounted: Path) -> None:
    os.kill(hypervisor_of(server_of(mounted)), signal.SIGKILL)
    with pytest.raises(OSError, match="Invalid argument|Input/output error"):
        (mounted / "etc/hosts").read_bytes()
    assert guestkit("unmount", mounted).returncode == 0


def test_what_is_written_is_on_the_disk_when_unmount_returns(
    demo_guest: Path, directory: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copy(demo_guest, disk)
    assert "--format has to be stated" in guestkit("mount", "--rw", disk, directory).stderr
    assert guestkit("mount", "--rw", "--format", "raw", disk, directory).returncode == 0
    (directory / "etc/motd").write_text("hello\n")
    assert guestkit("unmount", directory).returncode == 0
    with open_guest(disk) as g:
        assert g.read_file("/etc/motd") == b"hello\n"


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")
def test_an_ordinary_user_mounts_and_nobody_else_looks(open_checkout: None, demo_guest: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="guestkit-user-", dir="/var/tmp"))
    disk, directory = home / "disk.img", home / "mnt"

    def as_user(*words: str | Path) -> str:
        done = subprocess.run(
            ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *words],
            cwd=home, env={**os.environ, "HOME": str(home)},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        shutil.copy(demo_guest, disk)
        directory.mkdir()
        for path in (home, disk, directory):
            shutil.chown(path, "nobody")
        as_user(*GUESTKIT, "mount", disk, directory)
        assert as_user("cat", directory / "etc/hostname") == f"{DEMO_SYSTEM.hostname}\n"
        with pytest.raises(PermissionError):
            os.listdir(directory)  # root neither
        as_user(*GUESTKIT, "unmount", directory)
        assert os.listdir(directory) == []
    finally:
        if fuse.mount_at(str(directory)):
            fuse.unmount(str(directory), force=True)
        shutil.rmtree(home)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.write_text(""), "Not a directory"),
        (lambda path: (path / "file").mkdir(parents=True), "is not empty: what is in it would be hidden"),
    ],
)
def test_a_bad_directory_is_refused_before_the_launch(make, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "mnt")
    done = guestkit("mount", "/there/is/no/disk", tmp_path / "mnt")
    assert (done.returncode, done.stderr) == (1, f"guestkit: error: {tmp_path / 'mnt'}: {message}\n")


def test_a_mounted_directory_is_no_place_for_another_guest(mounted: Path, demo_guest: Path) -> None:
    done = guestkit("mount", demo_guest, mounted)
    assert done.returncode == 1
    assert "something is mounted there already" in done.stderr


def test_a_disk_that_cannot_be_opened_is_told_and_nothing_stays(directory: Path) -> None:
    done = guestkit("mount", "/there/is/no/disk", directory)
    assert done.returncode == 1
    assert re.search(r"guestkit: error: /there/is/no/disk: no such file", done.stderr)
    assert fuse.mount_at(str(directory)) is None


def test_unmount_leaves_alone_what_guestkit_did_not_mount_and_goes_on(mounted: Path, tmp_path: Path) -> None:
    """Regression: the first directory that could not be unmounted kept the others mounted."""
    done = guestkit("unmount", tmp_path, "/proc", mounted)
    told = [f"guestkit: error: {place}: no guest is mounted there\n" for place in (tmp_path, "/proc")]
    assert (done.returncode, done.stderr) == (1, "".join(told))
    assert os.listdir(mounted) == []


@pytest.mark.parametrize("force", [long_form(True), False], ids=["unmount --force", "Ctrl-C"])
def test_a_guest_that_does_not_answer_held_its_mount(demo_guest: Path, directory: Path, force: bool) -> None:
    """Regression: unmount waited for the guest, and only SIGKILL ended it."""
    with foreground(demo_guest, directory) as server:
        os.kill(hypervisor_of(server.pid), signal.SIGSTOP)
        with subprocess.Popen(["cat", directory / "etc/passwd"], stderr=subprocess.DEVNULL) as reader:
            if force:
                assert guestkit("unmount", "--force", directory).returncode == 0
            else:
                server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) != 0
            assert reader.wait(PATIENCE) != 0
    assert os.listdir(directory) == []


@pytest.mark.parametrize("number", [long_form(signal.SIGINT), signal.SIGTERM])
def test_a_signal_to_the_command_alone_left_the_guest_mounted(
    demo_guest: Path, directory: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [*GUESTKIT, "mount", "-v", demo_guest, directory],
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stderr is not None
        command.stderr.readline()  # of the launch
        command.send_signal(number)
        told = command.stderr.read()  # of its server, too
        assert command.wait(PATIENCE) == -number
        assert told.count("interrupted") == 1
    assert fuse.mount_at(str(directory)) is None


def test_a_module_in_the_current_directory_was_imported(
    demo_guest: Path, directory: Path, tmp_path: Path
) -> None:
    """Regression: the server ran what a guest had in the directory where it was started."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "argparse.py").write_text("raise SystemExit('PWNED')\n")
    program = "import sys; sys.path.pop(0); from guestkit.cli import program; program()"
    words = [sys.executable, "-P", "-c", program, "mount", str(demo_guest), str(directory)]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_lost_writes_are_told(demo_guest: Path, directory: Path, tmp_path: Path) -> None:
    """Regression: unmount said that all was well after the hypervisor had died."""
    disk = tmp_path / "disk.img"
    shutil.copy(demo_guest, disk)
    assert guestkit("mount", "--rw", "--format", "raw", disk, directory).returncode == 0
    (directory / "etc/motd").write_text("hello\n")
    os.kill(hypervisor_of(server_of(directory)), signal.SIGKILL)
    done = guestkit("unmount", directory)
    assert done.returncode == 1
    assert "the hypervisor has ended: what was written last may be lost" in done.stderr
    assert os.listdir(directory) == []


def test_lost_writes_of_a_guest_that_does_not_answer_are_told(
    demo_guest: Path, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: unmounting by force killed the hypervisor and said nothing."""
    monkeypatch.setattr(fuse, "_GRACE", 1)
    disk = tmp_path / "disk.img"
    shutil.copy(demo_guest, disk)
    assert guestkit("mount", "--rw", "--format", "raw", disk, directory).returncode == 0
    os.kill(hypervisor_of(server_of(directory)), signal.SIGSTOP)
    with pytest.raises(Error, match="what was written last may be lost"):
        fuse.unmount(str(directory), force=True)
    assert os.listdir(directory) == []


def test_a_mount_that_names_a_process_of_others_does_not_end_it(directory: Path) -> None:
    mount = fuse.Mount(str(directory), os.getpid(), True, os.getuid(), True)
    with contextlib.ExitStack() as stack:
        assert fuse._server(mount, stack) is None  # this process serves nothing
